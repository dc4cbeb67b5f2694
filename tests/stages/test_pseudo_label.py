"""Labels of one photo, through the real CRF."""

import numpy as np
import pytest

from data.cams import Cam, map_size
from stages.crf.parameters import CrfParameters
from stages.pseudo_label import UNARIES, Recipe, Thresholds, pseudo_label

RECIPE = Recipe(Thresholds(0.3, 0.5, 0.15), "scores", 2.0, 0.7, CrfParameters(), None)


def scene(size: tuple[int, int]) -> np.ndarray:
    """A dark photo with a bright right half."""
    photo = np.full((*size, 3), 40, np.uint8)
    photo[:, size[1] // 2 :] = (220, 180, 90)
    return photo


def ramp(size: tuple[int, int], classes: list[int]) -> Cam:
    """The first class scores 0 on the left to 1 on the right, the others little."""
    height, width = map_size(size)
    maps = np.full((len(classes), height, width), 0.01, np.float32)
    maps[:, 0, 0] = 0.05
    if classes:
        maps[0] = np.linspace(0, 1, width, dtype=np.float32)
    return Cam(np.array(classes, np.int64), maps, size)


@pytest.mark.parametrize("unary", ["scores", "hard"])
def test_labels_follow_the_photo(unary):
    size = (48, 64)
    made = pseudo_label(scene(size), ramp(size, [6]), RECIPE._replace(unary=unary))
    assert (made.full[:, 34:] == 7).mean() > 0.95
    assert (made.full[:, :10] == 0).all()
    assert made.label.shape == made.full.shape == made.confidence.shape == size


def test_band_is_ignored_and_the_rest_is_as_it_was():
    size = (48, 64)
    weak = RECIPE._replace(crf=CrfParameters(iterations=0))
    made = pseudo_label(scene(size), ramp(size, [6]), weak)
    sure = made.label != 255
    assert 0.2 < 1 - sure.mean() < 0.5  # scores from 0.15 to 0.5 on a ramp from 0 to 1
    assert (made.label[sure] == made.full[sure]).all()
    assert set(np.unique(made.full)) == {0, 7}
    assert set(np.unique(made.label)) == {0, 7, 255}


def test_equal_thresholds_leave_no_band():
    size = (48, 64)
    made = pseudo_label(
        scene(size), ramp(size, [6]), RECIPE._replace(thresholds=Thresholds(0.3, 0.3, 0.3))
    )
    assert (made.label == made.full).all()


def test_confidence_is_the_winners_probability():
    size = (12, 16)
    cam = Cam(np.array([0]), np.ones((1, 3, 4), np.float32), size)
    recipe = RECIPE._replace(crf=CrfParameters(iterations=0), power=1.0)
    made = pseudo_label(scene(size), cam, recipe)
    np.testing.assert_array_equal(made.confidence, round(255 / 1.3))


@pytest.mark.parametrize("classes", [[], [3], list(range(20))])
@pytest.mark.parametrize("size", [(40, 53), (37, 1), (1, 37), (1, 1)])
def test_any_number_of_classes_and_any_size(classes, size):
    made = pseudo_label(scene(size), ramp(size, classes), RECIPE)
    assert made.full.shape == size
    assert set(np.unique(made.full)) <= {0, *(c + 1 for c in classes)}


def test_without_activation_all_is_background():
    size = (30, 44)
    cam = Cam(np.array([2, 5]), np.zeros((2, *map_size(size)), np.float32), size)
    made = pseudo_label(scene(size), cam, RECIPE)
    assert (made.label == 0).all()


def test_hard_unary_gives_the_winner_its_certainty():
    scores = np.array([[[1.0, 1.0]], [[0.1, 0.5]], [[0.2, 0.4]]], np.float32)
    probabilities = UNARIES["hard"](scores, 0.3, RECIPE)
    np.testing.assert_allclose(
        probabilities[:, 0], [[0.7, 0.15], [0.15, 0.7], [0.15, 0.15]], atol=1e-6
    )


def test_widths_shrink_with_the_photo():
    """At a fifth of 500 pixels, the default is the scale 0.2."""
    size = (60, 100)
    photo = scene(size)
    photo += np.random.default_rng(0).integers(0, 30, photo.shape, dtype=np.uint8)
    default = pseudo_label(photo, ramp(size, [1]), RECIPE)
    same = pseudo_label(photo, ramp(size, [1]), RECIPE._replace(scale=0.2))
    other = pseudo_label(photo, ramp(size, [1]), RECIPE._replace(scale=1.0))
    np.testing.assert_array_equal(default.confidence, same.confidence)
    assert (default.confidence != other.confidence).any()
