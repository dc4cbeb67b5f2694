"""Mask losses with fixed matching, by hand; ignored pixels and absent classes cost nothing."""

import math

import pytest
import torch

from stages.nets.class_mask_loss import class_mask_losses, present_classes

FOCAL = (0.25, 2.0)


def labels_of(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)[None]


def test_present_classes_are_listed_by_photo() -> None:
    labels = torch.tensor([[[0, 3], [255, 3]], [[255, 255], [255, 255]], [[254, 0], [0, 0]]])
    assert present_classes(labels).tolist() == [[0, 0], [0, 3], [2, 0], [2, 254]]
    assert present_classes(labels[1:2]).shape == (0, 2)


def test_255_is_a_class_beyond_254_of_them() -> None:
    labels = labels_of([255, 299], [32767, 255])
    pairs = present_classes(labels, ignore=32767)
    assert pairs.tolist() == [[0, 255], [0, 299]]
    logits = torch.randn(1, 300, 2, 2, requires_grad=True)
    sum(class_mask_losses(logits, labels, pairs, scale=1, focal=FOCAL)).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 1, 0].any()
    assert logits.grad[0, 255, 0, 0] != 0


@pytest.mark.parametrize("focal", [FOCAL, None])
def test_losses_of_two_classes_by_hand(focal: tuple[float, float] | None) -> None:
    labels = labels_of([0, 2], [255, 2])
    logits = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    found = class_mask_losses(logits, labels, present_classes(labels), scale=1, focal=focal)
    wrong, dice = [], []
    for k in (0, 2):
        pixels = [(0, 0), (0, 1), (1, 1)]
        p = [1 / (1 + math.exp(-float(logits[0, k, y, x]))) for y, x in pixels]
        t = [float(labels[0, y, x] == k) for y, x in pixels]
        each = []
        for a, b in zip(p, t, strict=True):
            right = a if b else 1 - a
            alpha, gamma = (FOCAL[0] if b else 1 - FOCAL[0], FOCAL[1]) if focal else (1.0, 0.0)
            each.append(-alpha * (1 - right) ** gamma * math.log(right))
        wrong.append(sum(each) / 3)
        overlap = sum(a * b for a, b in zip(p, t, strict=True))
        dice.append(1 - (2 * overlap + 1) / (sum(p) + sum(t) + 1))
    assert float(found.mask) == pytest.approx(sum(wrong) / 2, rel=1e-5)
    assert float(found.dice) == pytest.approx(sum(dice) / 2, rel=1e-5)


def test_absent_classes_and_ignored_pixels_have_no_gradient() -> None:
    labels = labels_of([0, 2], [255, 2])
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    sum(class_mask_losses(logits, labels, present_classes(labels), scale=1, focal=FOCAL)).backward()
    assert logits.grad is not None
    assert not logits.grad[:, [1, 3]].any()
    assert not logits.grad[:, :, 1, 0].any()
    assert (logits.grad[:, [0, 2]][:, :, [0, 0, 1], [0, 1, 1]] != 0).all()


def test_nothing_labelled_is_zero_with_a_gradient_of_zero() -> None:
    labels = torch.full((2, 4, 4), 255)
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    losses = class_mask_losses(logits, labels, present_classes(labels), scale=2, focal=None)
    assert losses.mask == losses.dice == 0
    (losses.mask + losses.dice).backward()
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_masks_are_enlarged_to_the_labels_and_cut(size: tuple[int, int]) -> None:
    """Masks that are right, at a quarter of the labels' height, cost close to nothing."""
    labels = torch.zeros(1, *size, dtype=torch.long)
    labels[:, :, 4:] = 1
    truth = torch.nn.functional.one_hot(labels[:, ::4, ::4], 2).permute(0, 3, 1, 2)
    right = 40.0 * truth - 20
    pairs = present_classes(labels)
    good, bad = (class_mask_losses(m, labels, pairs, scale=4, focal=FOCAL) for m in (right, -right))
    assert good.mask < 0.05 * bad.mask
    assert good.dice < 0.25
    assert bad.dice > 0.7
