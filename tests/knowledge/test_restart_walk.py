import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from knowledge.restart_walk import restart_walk, transitions, walk_similarity


def places(*groups: list[int]) -> list[np.ndarray]:
    return [np.array(group, dtype=np.int64) for group in groups]


def test_three_concepts_by_hand() -> None:
    # 0 -> 1 (weight 3), 0 -> 2 (weight 1), 1 -> 0, 2 -> 0; restart 0.2.
    weights = csr_array(np.array([[0, 3.0, 1.0], [2.0, 0, 0], [5.0, 0, 0]]))
    shares = transitions(weights).toarray()
    assert shares.tolist() == [[0, 0.75, 0.25], [1, 0, 0], [1, 0, 0]]
    # From 0: r0 = 0.2 + 0.8 (r1 + r2) and r1 + r2 = 0.8 r0, so r0 = 0.2 / 0.36 = 5/9,
    # r1 = 0.8 * 0.75 * r0 = 1/3, r2 = 0.8 * 0.25 * r0 = 1/9.
    # From 1: r1 = 0.2 + 0.6 r0, r2 = 0.2 r0, r0 = 0.8 (r1 + r2) = 0.16 + 0.64 r0,
    # so r0 = 4/9, r1 = 7/15, r2 = 4/45. From 2: r0 = 4/9, r1 = 4/15, r2 = 13/45.
    walked = restart_walk(csr_array(transitions(weights).T), np.eye(3), restart=0.2).T
    expected = [[5 / 9, 1 / 3, 1 / 9], [4 / 9, 7 / 15, 4 / 45], [4 / 9, 4 / 15, 13 / 45]]
    np.testing.assert_allclose(walked, expected, atol=1e-8)
    similarity = walk_similarity(weights, places([0], [1], [2]), restart=0.2)
    np.testing.assert_allclose(similarity[0, 1], np.sqrt(4 / 27), atol=1e-8)
    np.testing.assert_allclose(similarity[2, 0], np.sqrt(4 / 81), atol=1e-8)
    np.testing.assert_allclose(similarity, similarity.T)
    np.testing.assert_allclose(np.diagonal(similarity), [5 / 9, 7 / 15, 13 / 45], atol=1e-8)


def test_what_reaches_a_dead_end_stays_lost() -> None:
    weights = csr_array(np.array([[0, 1.0], [0, 0]]))
    walked = restart_walk(csr_array(transitions(weights).T), np.eye(2), restart=0.15).T
    np.testing.assert_allclose(walked, [[0.15, 0.85 * 0.15], [0, 0.15]], atol=1e-9)
    # One direction alone is no similarity: the product with nothing is nothing.
    assert walk_similarity(weights, places([0], [1]))[0, 1] == 0


def test_a_class_of_two_concepts_starts_from_both_and_is_met_in_both() -> None:
    # 0 and 1 mean one class, 2 and 3 one each; 0 <-> 2 and 1 <-> 3.
    weights = np.zeros((4, 4))
    weights[0, 2] = weights[2, 0] = weights[1, 3] = weights[3, 1] = 1
    similarity = walk_similarity(csr_array(weights), places([0, 1], [2], [3], []))
    alone = 0.15 / (1 - 0.85**2)  # the walk 0, 2, 0, 2, ... seen from its start
    np.testing.assert_allclose(np.diagonal(similarity), [alone, alone, alone, 0], atol=1e-8)
    np.testing.assert_allclose(similarity[0, 1], np.sqrt(0.5) * 0.85 * alone, atol=1e-8)
    np.testing.assert_allclose(similarity[0, 1], similarity[0, 2])
    assert not similarity[3].any()


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_walk_solves_its_equation(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.random((count, count)) * (generator.random((count, count)) < 0.4)
    backwards = transitions(csr_array(weights)).toarray().T
    exact = np.linalg.solve(np.eye(count) - 0.85 * backwards, 0.15 * np.eye(count))
    walked = restart_walk(csr_array(backwards), np.eye(count))
    np.testing.assert_allclose(walked, exact, atol=1e-8)


def test_more_classes_than_walk_at_once_get_the_same_numbers() -> None:
    weights = csr_array(np.random.default_rng(0).random((20, 20)))
    together = walk_similarity(weights, places(*([row] for row in range(20))))
    pair = walk_similarity(weights, places([3], [17]))
    np.testing.assert_allclose(together[np.ix_([3, 17], [3, 17])], pair, atol=1e-8)


def test_iterations_bound_the_walk() -> None:
    weights = csr_array(np.array([[0, 1.0], [1.0, 0]]))
    one = restart_walk(csr_array(weights.T), np.eye(2), restart=0.5, iterations=1)
    assert one.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(one, restart_walk(csr_array(weights.T), np.eye(2), restart=0.5))
