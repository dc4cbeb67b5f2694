"""What must hold for any photo and scores, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.crf.parameters import CrfParameters
from stages.crf.refine import refine
from tests.stages.crf.cases import Case

CASE = Case("B", 4, (19, 26))
PHOTO, SCORES = CASE.photo(), CASE.probabilities()
B = CASE.parameters


@settings(max_examples=25, deadline=None)
@given(
    photo=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    labels=st.integers(1, 4),
    parameters=st.sampled_from([B, CrfParameters(bilateral_sxy=1, bilateral_srgb=2)]),
    seed=st.integers(0, 99),
)
def test_any_photo_gets_probabilities(photo, labels, parameters, seed):
    scores = np.random.default_rng(seed).uniform(0, 1, (labels, *photo.shape[:2]))
    q = refine(photo, scores, parameters)
    assert q.dtype == np.float32
    assert (q >= 0).all()
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)


def test_no_iteration_gives_the_normalised_scores():
    q = refine(PHOTO, SCORES, B.model_copy(update={"iterations": 0}))
    np.testing.assert_allclose(q, SCORES / SCORES.sum(axis=0), atol=1e-6)


def test_order_of_the_labels_does_not_matter():
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        refine(PHOTO, SCORES[order], B), refine(PHOTO, SCORES, B)[order], atol=1e-5
    )


def test_a_factor_per_pixel_does_not_matter():
    factor = np.random.default_rng(0).uniform(0.1, 9, PHOTO.shape[:2])
    np.testing.assert_allclose(
        refine(PHOTO, SCORES * factor, B), refine(PHOTO, SCORES, B), atol=1e-4
    )


def test_absent_classes_change_no_label():
    padded = np.concatenate([SCORES, np.zeros_like(SCORES[:1]).repeat(17, axis=0)])
    q = refine(PHOTO, padded, B)
    assert (q.argmax(axis=0) == refine(PHOTO, SCORES, B).argmax(axis=0)).all()


def test_groups_equal_single_calls():
    other = SCORES**2
    both = refine(PHOTO, np.stack([SCORES, other]), B)
    np.testing.assert_allclose(both[0], refine(PHOTO, SCORES, B), atol=1e-6)
    np.testing.assert_allclose(both[1], refine(PHOTO, other, B), atol=1e-6)


def test_one_label_is_certain():
    assert (refine(PHOTO, np.zeros_like(SCORES[:1]), B) == 1).all()


def test_labels_follow_an_edge_of_the_photo():
    photo = np.zeros((30, 40, 3), np.uint8)
    photo[:, 20:] = 200
    scores = np.full((2, 30, 40), 0.5, np.float32)
    scores[1, :, 14:] = 0.6  # the seed spills over the edge by six columns
    scores[1, :, :14] = 0.2
    q = refine(photo, scores, CrfParameters())
    truth = np.arange(40) >= 20
    assert (scores.argmax(axis=0) == truth).mean() < 0.9
    assert (q.argmax(axis=0) == truth).all()


def test_noise_removes_no_label_of_sure_scores():
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    scores = np.full((2, 40, 50), 0.01, np.float32)
    scores[0, :, :25] = scores[1, :, 25:] = 0.99
    q = refine(photo, scores, CrfParameters(gaussian_sxy=1, bilateral_sxy=1, bilateral_srgb=2))
    assert (q.argmax(axis=0) == scores.argmax(axis=0)).all()


def test_layout_of_the_arrays_does_not_matter():
    expected = refine(PHOTO, SCORES, B)
    photo = np.asfortranarray(PHOTO)
    scores = np.moveaxis(np.ascontiguousarray(np.moveaxis(SCORES, 0, 2)), 2, 0)
    photo.setflags(write=False)
    scores.setflags(write=False)
    assert (refine(photo, scores, B) == expected).all()
    assert (refine(PHOTO[:, ::-1], SCORES[:, :, ::-1], B).shape) == expected.shape


def test_inputs_stay_as_they_are():
    photo, scores = PHOTO.copy(), SCORES.copy()
    refine(photo, scores, B)
    assert (photo == PHOTO).all()
    assert (scores == SCORES).all()


def test_same_result_twice():
    assert (refine(PHOTO, SCORES, B) == refine(PHOTO, SCORES, B)).all()


def test_scale_multiplies_both_widths():
    wide = B.model_copy(update={"gaussian_sxy": 1.5, "bilateral_sxy": 25})
    np.testing.assert_array_equal(refine(PHOTO, SCORES, B, scale=0.5), refine(PHOTO, SCORES, wide))


@pytest.mark.parametrize(
    ("photo", "scores", "message"),
    [
        (PHOTO.astype(np.float32) / 255, SCORES, "uint8"),
        (PHOTO.astype(np.int64), SCORES, "uint8"),
        (PHOTO[:, :, 0], SCORES, "uint8 RGB"),
        (PHOTO, SCORES[:, :-1], "do not fit"),
        (PHOTO, SCORES[0], "do not fit"),
        (PHOTO, np.where(SCORES > 0.3, np.nan, SCORES), "NaN"),
        (PHOTO, np.where(SCORES > 0.3, np.inf, SCORES), "infinite"),
        (PHOTO, -SCORES, "negative"),
        (PHOTO, SCORES[:0], "no label"),
    ],
)
def test_bad_input_is_refused(photo, scores, message):
    unchecked = getattr(refine, "__wrapped__", refine)
    with pytest.raises(ValueError, match=message):
        unchecked(photo, scores, B)
