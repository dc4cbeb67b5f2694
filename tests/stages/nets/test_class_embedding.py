"""Embeddings made from masks: the checks, and two lookalikes that must fail them.

A check is a function that asserts of `embed(masks, features)`.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stages.nets.class_embedding import ClassEmbedding, EmbeddingUpdate, largest_grid

CLASSES, WIDTH = 5, 16


class Explicit(nn.Module):
    """What is built: features are not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = ClassEmbedding(CLASSES, WIDTH)

    def forward(self, masks: Tensor, features: Tensor) -> Tensor:
        del features
        return self.embed(masks)


class Learned(nn.Module):
    """Mutant: class tokens that are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(CLASSES, WIDTH)

    def forward(self, masks: Tensor, features: Tensor) -> Tensor:
        del features
        return self.tokens.weight.expand(len(masks), -1, -1)


class Pooled(nn.Module):
    """Mutant: the mean feature of a class's pixels, as OCRNet has it."""

    def forward(self, masks: Tensor, features: Tensor) -> Tensor:
        return masks.flatten(2).softmax(dim=2) @ features.flatten(2).transpose(1, 2)


def masks_and_features() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    masks = torch.randn(2, CLASSES, 9, 12, generator=rng)
    return masks, torch.randn(2, WIDTH, 9, 12, generator=rng)


def is_affine(embed: nn.Module) -> None:
    masks, features = masks_and_features()
    b = embed(0 * masks, features)
    twice, once = embed(2 * masks, features) - b, embed(masks, features) - b
    assert torch.allclose(twice, 2 * once, atol=1e-5), "not affine in the mask"


def follows_the_order_of_classes(embed: nn.Module) -> None:
    masks, features = masks_and_features()
    order = [3, 0, 4, 1, 2]
    same = torch.allclose(embed(masks[:, order], features), embed(masks, features)[:, order])
    assert same, "an embedding depends on the number of its class"


def tells_where_the_mask_lies(embed: nn.Module) -> None:
    masks, features = masks_and_features()
    moved = embed(masks.roll(4, dims=3), features) - embed(masks, features)
    assert moved.abs().max() > 1e-3, "a shifted mask has the same embedding"


def ignores_features(embed: nn.Module) -> None:
    masks, features = masks_and_features()
    assert torch.equal(embed(masks, features), embed(masks, features + 1)), "features are read"


def is_one_for_constant_masks(embed: nn.Module) -> None:
    masks, features = masks_and_features()
    rows = embed(torch.ones_like(masks), features)
    assert torch.allclose(rows, rows[:, :1].expand_as(rows)), "classes differ without a mask"


CHECKS = [
    is_affine,
    follows_the_order_of_classes,
    tells_where_the_mask_lies,
    ignores_features,
    is_one_for_constant_masks,
]


@pytest.mark.parametrize("check", CHECKS)
def test_embeddings_are_made_from_masks(check: Callable[[nn.Module], None]) -> None:
    check(Explicit())


@pytest.mark.parametrize(
    ("mutant", "check", "why"),
    [
        (Learned, follows_the_order_of_classes, "number of its class"),
        (Learned, tells_where_the_mask_lies, "same embedding"),
        (Learned, is_one_for_constant_masks, "without a mask"),
        (Pooled, is_affine, "not affine"),
        (Pooled, ignores_features, "features are read"),
    ],
)
def test_lookalikes_are_rejected(
    mutant: type[nn.Module], check: Callable[[nn.Module], None], why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        check(mutant())


@pytest.mark.parametrize(
    ("classes", "length"),
    [(2, 51), (19, 75), (21, 75), (59, 99), (60, 99), (150, 219), (171, 219), (254, 275)],
)
def test_length_of_what_describes_a_mask(classes: int, length: int) -> None:
    assert ClassEmbedding(classes, 4).length == length


def test_largest_grid_is_odd_and_grows_with_the_ratio() -> None:
    assert [largest_grid(150, ratio) for ratio in (0.1, 0.5, 1.0, 2.0)] == [1, 7, 13, 25]


def test_masks_of_any_size_are_described_by_their_means() -> None:
    embed = ClassEmbedding(3, 4)
    embed.project = nn.Identity()  # type: ignore[assignment]
    masks = torch.arange(36.0).reshape(1, 1, 6, 6).expand(1, 3, 6, 6)
    said = embed(masks)
    assert said.shape == (1, 3, embed.length)
    assert said[0, 0, 0] == masks[0, 0].mean()
    torch.testing.assert_close(said[0, 1, 1:5].reshape(2, 2)[1, 0], masks[0, 1, 3:, :3].mean())
    torch.testing.assert_close(said[0, 2, 14:50], masks[0, 2].flatten())
    assert embed(torch.ones(1, 3, 1, 2)).shape == (1, 3, embed.length)


def test_update_keeps_classes_apart_and_reads_both_inputs() -> None:
    update = EmbeddingUpdate(8)
    now, fresh = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    after = update(now, fresh)
    assert after.shape == now.shape
    assert after.min() >= 0
    for place in (0, 1):
        given = [now.clone(), fresh.clone()]
        given[place][:, 2] += torch.randn(8)
        moved = (update(*given) - after).abs().amax(dim=(0, 2))
        assert moved[2] > 1e-4
        assert moved[[0, 1, 3]].max() == 0


def test_a_shut_gate_leaves_the_embedding_to_the_residual() -> None:
    update = EmbeddingUpdate(8)
    nn.init.constant_(update.gate_norm.bias, -100.0)
    now = torch.randn(1, 3, 8)
    alone = torch.relu(update.out_norm(update.out(now)))
    torch.testing.assert_close(update(now, torch.randn(1, 3, 8)), alone)
