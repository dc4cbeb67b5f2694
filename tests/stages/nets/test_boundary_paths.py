"""Pairs, paths and the walk along them, against plain loops and against the dense matrix."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.nets.boundary_paths import BoundaryWalk, Step, barriers, paths


def between(step: Step, radius: int) -> list[Step]:
    """All cells of the path to `step`, (0, 0) and itself included."""
    cells, known = [step], paths(radius)
    while cells[-1] != (0, 0):
        cells.append(known.before[cells[-1]])
    return cells


def naive(boundary: torch.Tensor, radius: int) -> torch.Tensor:
    """1 - barriers as a full matrix of cells, pair by pair."""
    height, width = boundary.shape
    found = torch.eye(height * width, dtype=boundary.dtype)
    for row in range(height):
        for column in range(width):
            for down, right in paths(radius).pairs:
                end = (row + down, column + right)
                if not (0 <= end[0] < height and 0 <= end[1] < width):
                    continue
                largest = max(
                    float(boundary[row + y, column + x]) for y, x in between((down, right), radius)
                )
                here, there = row * width + column, end[0] * width + end[1]
                found[here, there] = found[there, here] = 1 - largest
    return found


@pytest.mark.parametrize(("radius", "count"), [(2, 4), (5, 34), (10, 152)])
def test_every_pair_is_there_once(radius: int, count: int) -> None:
    pairs = paths(radius).pairs
    reach = range(-radius, radius + 1)
    disc = {(y, x) for y in reach for x in reach if 0 < y * y + x * x < radius * radius}
    assert len(pairs) == len(set(pairs)) == count == len(disc) // 2
    assert {*pairs, *((-y, -x) for y, x in pairs)} == disc


@pytest.mark.parametrize(("radius", "most"), [(2, 0.8), (5, 1.0), (10, 1.6), (20, 2.0)])
def test_paths_go_cell_by_cell_close_to_the_line_and_mirrored(radius: int, most: float) -> None:
    for down, right in paths(radius).pairs:
        cells = between((down, right), radius)
        assert len(cells) == down + abs(right) + 1
        assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(cells))
        length = (down * down + right * right) ** 0.5
        assert max(abs(y * right - x * down) / length for y, x in cells) < most
        if down and right:
            assert [(y, -x) for y, x in cells] == between((down, -right), radius)


@given(
    height=st.integers(1, 7), width=st.integers(1, 7), radius=st.integers(2, 5), seed=st.integers(0)
)
@settings(max_examples=25, deadline=None)
def test_the_walk_is_that_of_the_dense_matrix(
    height: int, width: int, radius: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed % 2**31)
    boundary = torch.rand(height, width, generator=generator)
    maps = torch.rand(2, height, width, generator=generator)
    shares = naive(boundary, radius) ** 3
    transition = shares / shares.sum(dim=0)
    expected = (maps.flatten(1) @ torch.linalg.matrix_power(transition, 6)).view_as(maps)
    found = BoundaryWalk(boundary, radius=radius, beta=3.0)(maps, steps=6)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.min() >= maps.min() - 1e-6
    assert found.max() <= maps.max() + 1e-6


def test_a_mirrored_photo_walks_mirrored() -> None:
    generator = torch.Generator().manual_seed(0)
    boundary, maps = torch.rand(9, 8, generator=generator), torch.rand(1, 9, 8, generator=generator)
    straight = BoundaryWalk(boundary, radius=4, beta=2.0)(maps, steps=3)
    mirrored = BoundaryWalk(boundary.flip(-1), radius=4, beta=2.0)(maps.flip(-1), steps=3)
    torch.testing.assert_close(mirrored.flip(-1), straight)


def test_a_closed_diagonal_boundary_one_cell_thick_lets_nothing_through() -> None:
    boundary = torch.eye(12)
    maps = torch.ones(1, 12, 12).triu(1)
    found = BoundaryWalk(boundary, radius=5, beta=1.0)(maps, steps=200)[0]
    assert found.tril().abs().max() == 0
    assert found[:4, 8:].min() > 0.99


def test_gradients_reach_the_largest_boundary_of_a_path() -> None:
    generator = torch.Generator().manual_seed(0)
    boundary = torch.rand(1, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: barriers(b, 4).square().sum(), boundary)


def test_a_1080p_photo_takes_megabytes_not_gigabytes() -> None:
    walk = BoundaryWalk(torch.rand(270, 480), radius=5, beta=8.0)
    held = walk.shares.nbytes + walk.weights.nbytes
    assert held == 35 * 270 * (480 + 4) * 4  # 18 MB; cells x cells would be 67 GB
    assert walk(torch.ones(1, 270, 480), steps=1).sub(1).abs().max() < 1e-5
