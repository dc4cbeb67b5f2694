"""The CRF over a network's probabilities: which classes it is given."""

import numpy as np
import pytest

from stages.crf.parameters import CrfParameters
from stages.views import refined

STILL = CrfParameters(iterations=0)


def undecided(classes: int, favourites: tuple[int, ...]) -> np.ndarray:
    """Nearly even probabilities of 8 x 6 pixels; a favourite in each of the rows' stripes."""
    made = np.full((classes, 8, 6), 1 / classes, np.float32)
    for place, name in enumerate(favourites):
        made[name, place :: len(favourites)] *= 1.1
    return made / made.sum(axis=0)


@pytest.mark.parametrize("classes", [2, 59, 255])
def test_an_undecided_network_is_refined_too(classes: int) -> None:
    """Above 50 classes none of them needs to reach the least probability of a label."""
    image = np.zeros((8, 6, 3), np.uint8)
    label = refined(image, undecided(classes, (1,)), STILL)
    assert label.dtype == np.uint8
    assert (label == 1).all()


def test_a_class_that_is_seen_nowhere_is_no_label() -> None:
    probabilities = np.full((4, 8, 6), 0.001, np.float32)
    probabilities[2, :4], probabilities[0, 4:] = 0.997, 0.997
    label = refined(np.zeros((8, 6, 3), np.uint8), probabilities, STILL)
    assert set(np.unique(label)) == {0, 2}
