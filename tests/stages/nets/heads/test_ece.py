"""Head ece against its description: what each loss reaches, how masks assist, and that it learns.

A check is a function that asserts; a mutant is a lookalike of the head that a check must reject.
Its parts have tests of their own, beside the modules that they are in; its sizes are in
`test_ece_sizes`.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from stages.nets.heads.ece import EceHead
from stages.nets.losses import Criterion
from stages.nets.settings import EceConfig

CHANNELS, STRIDES, CLASSES = [8, 12, 16, 20], [4, 8, 16, 32], 5
SMALL = EceConfig(channels=16, heads=2, mlp_ratio=2)


def head_of(
    kind: type[EceHead] = EceHead,
    strides: Sequence[int] = STRIDES,
    classes: int = CLASSES,
    config: EceConfig = SMALL,
) -> EceHead:
    torch.manual_seed(0)
    return kind(CHANNELS[: len(strides)], strides, classes, config)


def maps(
    strides: Sequence[int] = STRIDES, size: tuple[int, int] = (64, 96), batch: int = 2
) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, c, size[0] // s, size[1] // s, generator=rng)
        for c, s in zip(CHANNELS, strides, strict=False)
    ]


def labels_of(size: tuple[int, int] = (64, 96), batch: int = 2) -> Tensor:
    labels = torch.zeros(batch, *size, dtype=torch.long)
    labels[0, : size[0] // 2] = 1
    labels[-1, :, size[1] // 2 :] = CLASSES - 1
    labels[:, -3:] = 255
    return labels


class SupervisesTotal(EceHead):
    """Mutant: the mask of the finest stage is supervised too."""

    def forward(self, features: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits, aux = super().forward(features)
        _, masks, _ = self.attended(self.reconstructed(features)[0])
        return logits, aux | {"supervised": aux["supervised"] + masks[-1]}


class MixesClasses(EceHead):
    """Mutant: a class is assisted by the masks of all classes."""

    def assistance(self, embeddings: Tensor, total: Tensor) -> Tensor:
        mix = self.confidence(embeddings).softmax(dim=2)
        return torch.einsum("bkj,bjhw->bkhw", mix, total.sigmoid())


def reached(head: EceHead, loss: Tensor) -> set[str]:
    """Names of the parameters with a gradient that is not 0."""
    head.zero_grad(set_to_none=True)
    loss.backward()
    return {name for name, p in head.named_parameters() if p.grad is not None and p.grad.any()}


def masks_reach_what_makes_them(head: EceHead) -> None:
    """Stage 3 is stride 32, 2 is 16, 1 is 8 and 0 is 4."""
    _, aux = head.train()(maps())
    loss = head.loss({"supervised": aux["supervised"]}, labels_of(), {})
    query_side = [
        f"attend.{stage}.{part}"
        for stage in (2, 1)
        for part in ("pixel_norm", "query", "class_norm", "key")
    ]
    fed = [f"reconstruct.{s}." for s in (1, 2, 3)] + ["first_mask", "embed.3", "embed.2"]
    starts = (*fed, "update.2", *query_side)
    expected = {name for name, _ in head.named_parameters() if name.startswith(starts)}
    found = reached(head, loss)
    assert found == expected, f"the masks' loss reaches {sorted(found ^ expected)} wrongly"


UNDIVERSE = SMALL.model_copy(update={"diversity_weight": 0.0})


def test_loss_of_the_masks_reaches_what_makes_them() -> None:
    masks_reach_what_makes_them(head_of(config=UNDIVERSE))


def test_supervising_the_finest_mask_is_rejected() -> None:
    with pytest.raises(AssertionError, match=r"attend\.0\.key"):
        masks_reach_what_makes_them(head_of(SupervisesTotal, config=UNDIVERSE))


def test_cross_entropy_reaches_every_parameter() -> None:
    head = head_of().train()
    logits, _ = head(maps())
    loss = nn.functional.cross_entropy(logits, labels_of()[:, ::4, ::4], ignore_index=255)
    assert reached(head, loss) == {name for name, _ in head.named_parameters()}


def test_diversity_reaches_the_diverse_features_alone() -> None:
    config = SMALL.model_copy(update={"mask_weight": 0.0, "dice_weight": 0.0})
    head = head_of(config=config).train()
    _, aux = head(maps())
    found = reached(head, head.loss(aux, labels_of(), {}))
    parts = tuple(
        f"reconstruct.{s}.{p}" for s in range(4) for p in ("intrinsic", "diverse", "gate")
    )
    assert found == {name for name, _ in head.named_parameters() if name.startswith(parts)}


def embeddings_and_total() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    embeddings = torch.randn(2, CLASSES, SMALL.channels, generator=rng)
    return embeddings, torch.randn(2, CLASSES, 4, 6, generator=rng)


def assists_a_class_by_its_own_mask(head: EceHead) -> None:
    embeddings, total = embeddings_and_total()
    changed = total.clone()
    changed[:, 3] += 1
    moved = (head.assistance(embeddings, changed) - head.assistance(embeddings, total)).abs()
    assert moved[:, 3].min() > 0
    assert moved[:, [0, 1, 2, 4]].max() == 0, "a mask assists another class"


def test_a_mask_assists_its_own_class() -> None:
    assists_a_class_by_its_own_mask(head_of())


def test_mixing_of_classes_is_rejected() -> None:
    with pytest.raises(AssertionError, match="assists another class"):
        assists_a_class_by_its_own_mask(head_of(MixesClasses))


def plain_logits(head: EceHead, features: list[Tensor]) -> Tensor:
    """What the classifier says without assistance; for eval mode."""
    return head.classify(head.aggregated(head.attended(head.reconstructed(features)[0])[0]))


def test_assistance_is_between_0_and_1() -> None:
    head = head_of().eval()
    added = head(maps())[0] - plain_logits(head, maps())
    assert added.min() >= 0
    assert added.max() <= 1
    assert added.max() > 0.01


def test_without_the_diagonal_the_logits_are_the_classifiers() -> None:
    head = head_of().eval()
    blind = torch.full((CLASSES,), -1e9).diag()
    hook = head.confidence.register_forward_hook(lambda _module, _given, said: said + blind)
    logits, _ = head(maps())
    hook.remove()
    assert torch.equal(logits, plain_logits(head, maps()))
    assert not torch.equal(head(maps())[0], logits)


def test_a_class_starts_by_naming_itself_about_as_often_as_any_other() -> None:
    config = EceConfig(channels=64)
    head = head_of(classes=150, config=config).eval()
    _, _, embeddings = head.attended(head.reconstructed(maps())[0])
    own = head.assistance(embeddings, torch.full((2, 150, 1, 1), 50.0))
    assert 0.001 < own.min() < 1 / 150 < own.max() < 0.03


def test_maps_do_not_pass_from_stage_to_stage() -> None:
    """With the class embeddings held, the finest stage sees nothing of the deeper maps."""
    head = head_of().eval()
    changed = [m if i == 0 else m + torch.randn_like(m) for i, m in enumerate(maps())]

    def finest(features: list[Tensor]) -> Tensor:
        return head.attended(head.reconstructed(features)[0])[0][0]

    assert (finest(maps()) - finest(changed)).abs().max() > 1e-4
    held = torch.randn(2, CLASSES, SMALL.channels)
    for module in (*head.embed, *head.update):
        module.register_forward_hook(lambda _module, _given, _said: held)
    assert torch.equal(finest(maps()), finest(changed))


@pytest.mark.parametrize("value", [255, 0])
def test_labels_without_a_class_or_without_foreground(value: int) -> None:
    head = head_of().train()
    _, aux = head(maps())
    labels = torch.full((2, 64, 96), value)
    targets = head.targets(labels)
    assert targets["present"].tolist() == ([] if value == 255 else [[0, 0], [1, 0]])
    loss = head.loss(aux, labels, targets)
    loss.backward()
    grads = [p.grad for p in head.first_mask.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in grads)
    assert any(bool(g.any()) for g in grads) == (value == 0)
    if value == 255:
        assert loss <= SMALL.diversity_weight


def test_weights_of_the_losses_are_factors() -> None:
    parts = ("mask_weight", "dice_weight", "diversity_weight")
    whole, alone = head_of(), []
    _, aux = whole.train()(maps())
    aux = {name: value.detach() for name, value in aux.items()}
    for kept in parts:
        config = SMALL.model_copy(update={name: 1.0 if name == kept else 0.0 for name in parts})
        alone.append(head_of(config=config).loss(aux, labels_of(), {}))
    mask, dice, diversity = alone
    total = whole.loss(aux, labels_of(), {})
    torch.testing.assert_close(total, 5 * mask + 2 * dice + 0.2 * diversity)
    assert min(mask, dice, diversity) > 0


def test_cross_entropy_of_masks_is_a_choice() -> None:
    _, aux = head_of().train()(maps())
    plain = head_of(config=SMALL.model_copy(update={"mask_loss": "bce"}))
    assert plain.loss(aux, labels_of(), {}) > head_of().loss(aux, labels_of(), {})


def test_it_learns_two_halves_with_its_own_losses() -> None:
    head = head_of(classes=2).train()
    labels = torch.zeros(2, 64, 96, dtype=torch.long)
    labels[:, :, 48:] = 1
    features = [m + 2 * labels[:, None, ::s, ::s] for m, s in zip(maps(), STRIDES, strict=True)]
    criterion = Criterion(head, stride=8, lovasz=0.0)
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        logits, aux = head(features)
        loss = criterion(logits, aux, labels, None, head.targets(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    winner = head.eval()(features)[0].argmax(1)
    assert (winner == labels[:, ::4, ::4]).float().mean() > 0.95
    masks = head(features)[1]["supervised"].argmax(1)
    assert (masks == labels[:, ::4, ::4]).float().mean() > 0.9
