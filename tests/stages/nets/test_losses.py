"""Losses: against brute force, at their known values, and where nothing is labelled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from stages.nets.heads import HEADS
from stages.nets.losses import Criterion, class_weights, cross_entropy, lovasz_softmax
from stages.nets.settings import HeadConfig


def batch(seed: int, classes: int = 3, size: int = 4) -> tuple[Tensor, Tensor]:
    """Random logits and labels with some ignored pixels."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, size, size, generator=rng)
    labels = torch.randint(0, classes, (2, size, size), generator=rng)
    labels[torch.rand(2, size, size, generator=rng) < 0.2] = 255
    return logits, labels


def certain(prediction: Tensor, classes: int) -> Tensor:
    return 60 * functional.one_hot(prediction, classes).permute(0, 3, 1, 2).float()


def lovasz_by_definition(logits: Tensor, labels: Tensor) -> float:
    """Sum over sorted errors of m_i (loss of the first i pixels wrong - of the first i-1)."""
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[labels != 255].double().numpy()
    truth = labels[labels != 255].numpy()
    losses = []
    for c in np.unique(truth):
        member = truth == c
        errors = np.abs(member - probabilities[:, c])
        order = np.argsort(-errors, kind="stable")
        total = 0.0
        for i, at in enumerate(order):
            total += errors[at] * (jaccard(member, order[: i + 1]) - jaccard(member, order[:i]))
        losses.append(total)
    return float(np.mean(losses))


def jaccard(member: np.ndarray, wrong: np.ndarray) -> float:
    """1 - IoU of a class whose pixels `wrong` are mispredicted (Berman et al., equation 6)."""
    said = member.copy()
    said[wrong] = ~said[wrong]
    return 1 - (said & member).sum() / max(1, (said | member).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_lovasz_equals_its_definition(seed: int) -> None:
    logits, labels = batch(seed)
    assert float(lovasz_softmax(logits, labels)) == pytest.approx(
        lovasz_by_definition(logits, labels), abs=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_lovasz_of_certain_predictions_is_one_minus_iou(seed: int) -> None:
    scores, labels = batch(seed)
    prediction = scores.argmax(1)
    losses = []
    for c in labels[labels != 255].unique():
        truth, said = labels == c, (prediction == c) & (labels != 255)
        losses.append(1 - float((truth & said).sum() / (truth | said).sum()))
    found = float(lovasz_softmax(certain(prediction, 3), labels))
    assert found == pytest.approx(np.mean(losses), abs=1e-5)


def test_lovasz_falls_along_its_gradient_and_ignores_ignored_pixels() -> None:
    logits, labels = batch(3)
    logits.requires_grad_()
    loss = lovasz_softmax(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    ignored = (labels == 255)[:, None].expand_as(gradient)
    assert gradient[ignored].abs().max() == 0
    assert gradient.abs().max() > 0
    assert lovasz_softmax(logits - 0.1 * gradient / gradient.norm(), labels) < loss


def test_cross_entropy_equals_torch_without_weights() -> None:
    logits, labels = batch(0)
    expected = functional.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_class_weights_equal_those_of_torch() -> None:
    logits, labels = batch(1)
    weights = torch.tensor([0.5, 2.0, 7.0])
    expected = functional.cross_entropy(logits, labels, weight=weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels, class_weights=weights), expected)


def test_a_pixel_of_weight_zero_is_an_ignored_pixel() -> None:
    logits, labels = batch(2)
    weights = (labels != 1).float() * 0.5
    hidden = labels.where(labels != 1, 255)
    found = cross_entropy(logits, labels, weights=weights)
    torch.testing.assert_close(found, cross_entropy(logits, hidden))


def test_weights_weigh_by_hand() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0, 0, 0] = 3.0
    labels = torch.tensor([[[0, 1]]])
    weights = torch.tensor([[[1.0, 3.0]]])
    expected = (np.log1p(np.exp(-3.0)) + 3 * np.log(2)) / 4
    assert float(cross_entropy(logits, labels, weights=weights)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_nothing_labelled_costs_nothing(loss) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_beyond_254_classes_255_is_a_class_and_32767_is_ignored(loss) -> None:
    logits, labels = batch(5, classes=300)
    labels[:, 0] = 255
    hidden = labels == 255
    hidden[:, 0] = False
    wide = labels.masked_fill(hidden, 32767)
    wide[0, 0, 0] = 299
    assert torch.isfinite(loss(logits, wide))
    gradient = torch.autograd.grad(loss(logits.requires_grad_(), wide), logits)[0].abs().sum(dim=1)
    assert (gradient[wide == 32767] == 0).all()
    assert (gradient[wide == 255] > 0).all()


def test_class_weights_by_hand() -> None:
    counts = torch.tensor([800, 100, 0, 300])
    expected = torch.tensor([0.5, 4.0, 1.0, 400 / 300])
    torch.testing.assert_close(class_weights(counts, 1.0), expected)
    torch.testing.assert_close(class_weights(counts, 0.0), torch.ones(4))
    torch.testing.assert_close(class_weights(counts, 0.5), expected.sqrt())
    assert torch.equal(class_weights(torch.zeros(2, dtype=torch.long), 0.5), torch.ones(2))


def test_criterion_looks_at_one_pixel_in_stride_and_mixes_the_losses() -> None:
    head = HEADS["none"]([4], [8], 3, HeadConfig(width=8), None)
    logits, _ = batch(4)
    labels = torch.full((2, 30, 32), 255)
    labels[:, 2::4, 2::4] = 1  # centres of 4x4 cells: all that a loss of stride 4 sees
    criterion = Criterion(head, stride=4, lovasz=0.5)
    fine = functional.interpolate(logits, scale_factor=2, mode="bilinear")[:, :, :7]
    seen = labels[:, 2::4, 2::4]
    expected = 0.5 * cross_entropy(fine, seen) + 0.5 * lovasz_softmax(fine, seen)
    torch.testing.assert_close(criterion(logits, {}, labels), expected)
    blank = labels.clone()
    blank[:, 2::4, 2::4] = 255
    assert float(criterion(logits, {}, blank)) == 0
