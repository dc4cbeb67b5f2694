"""Components of a labelling: what is one target and what is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from stages.components import connected, on_grid

TWO_BLOBS = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]], np.uint8)


def test_two_blobs_of_a_class_are_two_and_joined_by_one_pixel_they_are_one() -> None:
    assert connected(TWO_BLOBS).classes.tolist() == [0, 1, 1]
    joined = TWO_BLOBS.copy()
    joined[0, 1:3] = 1
    assert connected(joined).classes.tolist() == [0, 1]


def test_neighbours_across_a_corner_count_with_eight_and_not_with_four() -> None:
    corner = np.array([[1, 255], [255, 1]], np.uint8)
    assert connected(corner, connectivity=8).classes.tolist() == [1]
    assert connected(corner, connectivity=4).classes.tolist() == [1, 1]


def test_ignored_cells_and_specks_belong_to_nothing() -> None:
    label = np.array([[1, 255, 2], [1, 255, 0], [1, 255, 0]], np.uint8)
    found = connected(label, min_area=2)
    assert found.classes.tolist() == [0, 1]
    assert found.ids.tolist() == [[2, 0, 0], [2, 0, 1], [2, 0, 1]]
    assert connected(np.full((2, 3), 255)).masks().shape == (0, 2, 3)


def test_of_too_many_the_largest_stay_in_their_order() -> None:
    label = np.array([[1, 1, 255, 1, 255, 1, 1, 1]])
    assert connected(label, most=2).ids.tolist() == [[1, 1, 0, 0, 0, 2, 2, 2]]


@given(
    label=arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 255])),
    area=st.integers(1, 5),
    connectivity=st.sampled_from([4, 8]),
)
def test_components_are_disjoint_pure_whole_and_large_enough(
    label: np.ndarray, area: int, connectivity: int
) -> None:
    found = connected(label, connectivity=connectivity, min_area=area)
    masks = found.masks()
    assert masks.sum(axis=0).max(initial=0) <= 1
    structure = ndimage.generate_binary_structure(2, connectivity // 4)
    for mask, value in zip(masks, found.classes, strict=True):
        assert mask.sum() >= area
        assert (label[mask] == value).all()
        around = ndimage.binary_dilation(mask, structure) & ~mask
        assert (label[around] != value).all()
    if area == 1:
        assert ((found.ids > 0) == (label != 255)).all()


@pytest.mark.parametrize(
    ("size", "cells"), [((16, 16), (2, 2)), ((13, 3), (2, 1)), ((1, 1), (1, 1))]
)
def test_a_grid_takes_the_middle_of_each_cell(
    size: tuple[int, int], cells: tuple[int, int]
) -> None:
    rows, columns = np.indices(size)
    grid = on_grid(rows * 100 + columns, 8)
    assert grid.shape == cells
    assert grid[0, 0] == min(4, size[0] - 1) * 100 + min(4, size[1] - 1)
    assert on_grid(np.zeros((3, *size)), 8).shape == (3, *cells)
