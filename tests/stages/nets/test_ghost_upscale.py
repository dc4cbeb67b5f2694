"""Twice the size at the same width, and only near pixels have a say."""

import torch

from stages.nets.ghost_upscale import GhostUpscale


def test_sizes_double_and_channels_stay() -> None:
    grow = torch.nn.Sequential(GhostUpscale(6), GhostUpscale(6))
    assert grow(torch.randn(2, 6, 3, 5)).shape == (2, 6, 12, 20)


def test_parameters_are_the_closed_form() -> None:
    c = 6
    expected = 2 * c * c + 9 * 2 * c + 2 * 2 * 2 * c  # 1x1, depthwise 3x3, two norms
    assert sum(p.numel() for p in GhostUpscale(c).parameters()) == expected


def test_a_cell_changes_its_four_pixels_and_their_neighbours() -> None:
    grow = GhostUpscale(4).eval()
    torch.nn.init.ones_(grow.primary[0].weight)
    torch.nn.init.ones_(grow.cheap[0].weight)
    x = torch.zeros(1, 4, 6, 7)
    x[:, :, 2, 4] = 1
    rows, columns = (grow(x) - grow(0 * x)).abs().sum(dim=(0, 1)).nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (2, 7)
    assert (columns.min(), columns.max()) == (6, 11)
