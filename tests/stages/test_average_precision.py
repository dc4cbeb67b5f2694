import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.average_precision import average_precision, mean_over_classes, per_class


def test_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    truth = np.array([True, False, True, False])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)


def test_ties_share_one_rank_whatever_their_order() -> None:
    truth = np.array([True, False, False, False])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        assert average_precision(np.zeros(4), truth[order]) == pytest.approx(0.25)


def test_a_class_without_a_photo_has_none_and_is_left_out_of_the_mean() -> None:
    values = per_class(np.ones((2, 2)), np.array([[True, False], [True, False]]))
    assert values == [1.0, None]
    assert mean_over_classes(values) == 1.0
    assert mean_over_classes([None]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_equals_scikit_learn_and_not_the_order_of_photos(pairs: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores = np.array([float(s) for s, _ in pairs])
    truth = np.array([t for _, t in pairs])
    found = average_precision(scores, truth)
    assert found == average_precision(scores[::-1].copy(), truth[::-1].copy())
    if truth.any():
        assert found == pytest.approx(metrics.average_precision_score(truth, scores))
    else:
        assert found is None
