"""Boundary IoU: bands by hand, and against a definition by distance."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.quality.boundary import band, band_width, boundary_counts

labels = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2, 255]))
painted = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2]))


def slow_band(label: np.ndarray, width: int) -> np.ndarray:
    found = np.zeros(label.shape, bool)
    for y, x in np.ndindex(label.shape):
        around = label[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        found[y, x] = (around != label[y, x]).any()
    return found


@given(labels, st.integers(1, 3))
def test_the_band_is_where_another_label_is_near(label: np.ndarray, width: int) -> None:
    found = band(label, width)
    # The window of a pixel holds a larger or smaller label exactly where it holds another one.
    assert (found == slow_band(label, width)).all()


@given(labels, painted)
def test_counts_are_those_of_sets(mask: np.ndarray, label: np.ndarray) -> None:
    share = 1 / np.hypot(*mask.shape)
    counts = boundary_counts(mask, label, classes=3, share=float(share))
    judged = mask != 255
    for c in range(3):
        true = slow_band(mask, 1) & judged & (mask == c)
        found = slow_band(label, 1) & judged & (label == c)
        assert counts[0, c] == (true & found).sum()
        assert counts[1, c] == (true | found).sum()


def test_a_perfect_labelling_has_no_wrong_border() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    counts = boundary_counts(mask, mask, classes=2, share=0.05)
    assert (counts[0] == counts[1]).all()
    assert counts[0, 1] == 20 * 20 - 14 * 14


def test_width_follows_the_diagonal() -> None:
    assert band_width((375, 500), 0.02) == 12
    assert band_width((10, 10), 0.02) == 1
