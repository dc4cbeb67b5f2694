import pytest
import torch
from torch import Tensor

from stages.nets.pyramid import Pyramid

WIDTH = 6


def maps(channels: list[int], strides: list[int], height: int, width: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, height // s, width // s, generator=rng)
        for c, s in zip(channels, strides, strict=True)
    ]


BACKBONES = {
    "at output stride 32": ([4, 8, 16, 32], 4, [4, 8, 16, 32], (0, 1, 2, 3)),
    "at output stride 16": ([4, 8, 16, 16], 4, [4, 8, 16, 32], (0, 1, 2, 3)),
    "at output stride 8": ([4, 8, 8, 8], 4, [4, 8, 16, 32], (0, 1, 2, 3)),
    "finest at 8": ([4, 8, 16, 32], 8, [8, 16, 32], (1, 2, 3)),
    "plain transformer": ([16] * 4, 4, [4, 8, 16, 32], (0, 1, 2, 3)),
    "patches of 14": ([14] * 4, 4, [7, 14, 28], (0, 1, 2, 3)),
    "a gap": ([4, 16], 4, [4, 8, 16, 32], (0, 1)),
    "coarser than 32": ([16, 32, 64], 8, [8, 16, 32, 64], (0, 1, 2)),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_double_their_stride_whatever_the_backbone_gives(name: str) -> None:
    strides, finest, wanted, read = BACKBONES[name]
    channels = [3 + i for i in range(len(strides))]
    pyramid = Pyramid(channels, strides, width=WIDTH, finest=finest).train()
    assert pyramid.strides == wanted
    assert pyramid.levels == read
    step = max(strides)
    height, width = 3 * step, 5 * step  # odd at the largest stride
    levels = pyramid(maps(channels, strides, height, width))
    assert [tuple(m.shape[1:]) for m in levels] == [
        (WIDTH, -(-height // s), -(-width // s)) for s in wanted
    ]
    assert all(m.min() >= 0 for m in levels)
    sum(m.square().sum() for m in levels).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.any() for p in pyramid.parameters())


def test_maps_that_are_not_read_may_be_anything() -> None:
    pyramid = Pyramid([3, 4, 5], [4, 8, 16], width=WIDTH, finest=8).eval()
    given = maps([3, 4, 5], [4, 8, 16], 32, 32)
    empty = [torch.zeros(2, 0, 1, 1), *given[1:]]
    assert all(torch.equal(a, b) for a, b in zip(pyramid(given), pyramid(empty), strict=True))


@torch.no_grad()
def test_the_last_cell_of_a_pooled_odd_map_is_the_mean_of_what_is_there() -> None:
    pyramid = Pyramid([WIDTH], [16], width=WIDTH, finest=16).eval()
    assert pyramid.strides == [16, 32]
    given = torch.rand(1, WIDTH, 3, 3)
    for lateral in pyramid.laterals:
        lateral[0].weight.copy_(torch.eye(WIDTH)[:, :, None, None])  # type: ignore[index]
    fine, coarse = pyramid([given])
    torch.testing.assert_close(fine, given, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coarse[..., 1, 1], given[..., 2, 2], rtol=1e-4, atol=1e-4)
    mean = given[..., 2, :2].mean(dim=-1)
    torch.testing.assert_close(coarse[..., 1, 0], mean, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_maps_of_one_stride_weigh_alike() -> None:
    pyramid = Pyramid([3, 4], [16, 16], width=WIDTH, finest=16).train()
    given = maps([3, 4], [16, 16], 64, 64)
    louder = [given[0] * 50 + 3, given[1] * 0.2 - 1]
    for a, b in zip(pyramid(louder), pyramid(given), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


def test_a_backbone_without_a_fitting_map_is_refused() -> None:
    with pytest.raises(ValueError, match="map of stride 8 or more"):
        Pyramid([3], [4], width=WIDTH, finest=8)
