import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from knowledge import relations

SIZES = st.integers(1, 9)


@st.composite
def similarities(draw: st.DrawFn) -> np.ndarray:
    count = draw(SIZES)
    # Exact zeros are common: classes without neighbours must stay possible.
    value = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))
    return draw(hnp.arrays(np.float64, (count, count), elements=value))


def test_text_similarity_of_vectors_with_known_angles() -> None:
    vectors = np.array([[2, 0], [3, 3], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)
    half = np.sqrt(0.5)
    expected = [
        [1, half, 0, 0, 0],
        [half, 1, half, 0, 0],
        [0, half, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(relations.text_similarity(vectors), expected, atol=1e-12)


def test_cooccurrence_of_five_photos() -> None:
    # person, horse, sofa, train (never)
    tags = np.array(
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0]], dtype=bool
    )
    counts = relations.cooccurrence_counts(tags)
    assert counts.tolist() == [[4, 2, 1, 0], [2, 2, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    soft = relations.conditional(counts)
    assert soft.tolist() == [[0, 0.5, 0.25, 0], [1, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]]
    hard = relations.binarised(soft, 0.5)
    assert hard.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_default_normalisation_by_hand() -> None:
    similarity = np.array([[1.0, 0.64, 0.16, 0.01], [0.64, 1, 0, 0], [0.16, 0, 1, 0], [0, 0, 0, 1]])
    # Row 0: sqrt gives 0.8, 0.4, 0.1; the two largest are kept: 0.8 / 1.2 and 0.4 / 1.2.
    matrix = relations.adjacency(relations.neighbours(similarity, alpha=0.5, top_k=2), strength=0.2)
    expected = [
        [0.8, 0.2 * 2 / 3, 0.2 / 3, 0],
        [0.2, 0.8, 0, 0],
        [0.2, 0, 0.8, 0],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(matrix, expected, atol=1e-7)
    assert matrix.dtype == np.float32


def test_ranking_chooses_among_binarised_neighbours() -> None:
    soft = np.array([[0, 0.5, 0.9, 0.7], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    hard = relations.binarised(soft, 0.4)
    kept = relations.neighbours(hard, top_k=2, ranking=soft)
    assert kept[0].tolist() == [0, 0, 0.5, 0.5]
    assert relations.neighbours(hard, top_k=2)[0].tolist() == [0, 0.5, 0.5, 0]
    # It breaks ties only: 0.9 stays ahead of 0.5 whatever the ranking says.
    against = relations.neighbours(soft, top_k=1, ranking=1 - soft)
    assert against[0].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_impossible_similarities_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite and at least 0"):
        relations.neighbours(np.array([[0, bad], [0.5, 0]]))


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_classes_with_more_neighbours_asked_than_there_are(count: int) -> None:
    base = relations.neighbours(np.ones((count, count)), top_k=5)
    for relation in (
        base,
        relations.identity(count),
        relations.random(base, seed=0),
        relations.permuted(base, seed=0),
        relations.mix(base, base),
    ):
        matrix = relations.adjacency(relation)
        connected = count == 2 and relation.any()
        expected = [[0.8, 0.2], [0.2, 0.8]] if connected else np.eye(count)
        np.testing.assert_allclose(matrix, expected, atol=1e-7)


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(similarities(), st.floats(0.1, 3), st.integers(1, 12), st.floats(0, 1))
def test_every_adjacency_has_rows_of_one_and_mass_p(
    similarity: np.ndarray, alpha: float, top_k: int, strength: float
) -> None:
    relation = relations.neighbours(similarity, alpha=alpha, top_k=top_k)
    matrix = relations.adjacency(relation, strength=strength).astype(np.float64)
    off = similarity.copy()
    np.fill_diagonal(off, 0)
    connected = off.any(axis=1)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    mass = matrix.sum(axis=1) - np.diag(matrix)
    np.testing.assert_allclose(mass, np.where(connected, strength, 0), atol=1e-6)
    assert ((relation > 0).sum(axis=1) <= top_k).all()


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(similarities(), st.integers(1, 12))
def test_order_of_the_source_is_kept(similarity: np.ndarray, top_k: int) -> None:
    relation = relations.neighbours(similarity, top_k=top_k)
    for row in range(len(similarity)):
        kept = np.flatnonzero(relation[row])
        order = kept[np.argsort(similarity[row, kept], kind="stable")]
        assert (np.diff(relation[row, order]) >= 0).all()
        dropped = np.setdiff1d(np.arange(len(similarity)), [*kept, row])
        if len(kept) and len(dropped):
            assert similarity[row, kept].min() >= similarity[row, dropped].max()


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(similarities(), st.integers(0, 5))
def test_controls_keep_degrees_and_weights(similarity: np.ndarray, seed: int) -> None:
    base = relations.neighbours(similarity, top_k=3)
    drawn = relations.random(base, seed=seed)
    np.testing.assert_allclose(np.sort(drawn, axis=1), np.sort(base, axis=1))
    shuffled = relations.permuted(base, seed=seed)
    degrees = [sorted((matrix > 0).sum(axis=1)) for matrix in (base, shuffled)]
    assert degrees[0] == degrees[1]
    for control in (drawn, shuffled):
        assert not np.diag(control).any()
        np.testing.assert_allclose(control.sum(axis=1).sum(), base.sum(axis=1).sum())


def test_controls_differ_from_the_base_and_repeat_with_the_seed() -> None:
    base = relations.neighbours(np.random.default_rng(0).random((12, 12)), top_k=3)
    for control in (relations.random, relations.permuted):
        first = control(base, seed=1)
        assert np.array_equal(first, control(base, seed=1))
        assert not np.array_equal(first, control(base, seed=2))
        assert not (first == base).all(axis=1).any()


def test_permuted_moves_the_entry_of_the_new_owner() -> None:
    # Two classes trade rows: 0 heard from 1 (0.75) and 2 (0.25); that is what 1 hears now, with
    # itself replaced by 0.
    base = np.array([[0, 0.75, 0.25], [0.5, 0, 0.5], [1, 0, 0]])
    results = [relations.permuted(base, seed=seed) for seed in range(20)]
    assert {tuple(result[1]) for result in results} == {(0.75, 0, 0.25), (1.0, 0, 0)}


@pytest.mark.parametrize("control", [relations.random, relations.permuted])
def test_controls_of_an_adjacency_are_those_of_its_relation(control) -> None:
    base = relations.neighbours(np.random.default_rng(0).random((9, 9)), top_k=3)
    base[4] = 0
    whole = relations.adjacency(base).astype(np.float64)
    np.testing.assert_allclose(
        control(whole, seed=5), relations.adjacency(control(base, seed=5)), atol=1e-7
    )


def test_off_diagonal_share_of_rows_of_any_sum() -> None:
    matrix = np.array([[0.6, 0.2], [0.0, 0.5]])
    np.testing.assert_allclose(relations.off_diagonal_share(matrix), [0.25, 0])
    assert relations.off_diagonal_share(np.zeros((2, 2))).tolist() == [0, 0]


def test_rank_correlation_by_hand() -> None:
    first = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]], dtype=float)
    assert relations.rank_correlation(first, first**3) == pytest.approx(1)
    assert relations.rank_correlation(first, -first) == pytest.approx(-1)
    # Ranks 1, 2, 3 against 1.5, 3, 1.5: covariance 0.
    second = np.array([[0, 5, 9], [5, 0, 5], [9, 5, 0]], dtype=float)
    assert relations.rank_correlation(first, second) == pytest.approx(0)
    # A pair counts with both of its directions.
    one_way = np.array([[9, 0, 0], [2, 9, 0], [4, 6, 9]], dtype=float)
    assert relations.rank_correlation(first, one_way) == pytest.approx(1)
    assert relations.rank_correlation(first, np.eye(3)) is None
    assert relations.rank_correlation(np.eye(2), np.eye(2)) is None


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    first, second = (generator.integers(0, 4, (12, 12)).astype(float) for _ in range(2))
    places = np.triu_indices(12, k=1)
    expected = spearmanr((first + first.T)[places], (second + second.T)[places]).statistic
    assert relations.rank_correlation(first, second) == pytest.approx(expected)


def test_text_and_cooccurrence_of_voc_agree_little(shared) -> None:
    from knowledge.vectors import read_word_vectors

    document = json.loads((shared / "text/cooccurrence_voc07.json").read_text(encoding="utf-8"))
    counts = np.array(document["cooccurrence"], dtype=np.int64)
    np.fill_diagonal(counts, document["counts"])
    words = read_word_vectors(shared / "text/glove300_voc20.safetensors", document["names"])
    soft = relations.conditional(counts)
    found = relations.rank_correlation(relations.text_similarity(words.values), soft)
    assert found == pytest.approx(0.30, abs=0.03)


def test_mix_is_an_axis_between_two_relations() -> None:
    first = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=float)
    second = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=float)
    mixed = relations.mix(first, second, mu=0.25)
    assert mixed.tolist() == [[0, 0.25, 0.75], [1, 0, 0], [0, 0, 0]]
    assert np.array_equal(relations.mix(first, second, mu=1.0), first)
    assert np.array_equal(relations.mix(first, second, mu=0.0), second)


def test_effective_neighbours_counts_even_rows_exactly() -> None:
    relation = np.array([[0, 0.25, 0.25, 0.5], [0, 0, 0.5, 0.5], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(relations.effective_neighbours(relation), [2 * 2**0.5, 2, 1, 0])


def test_edges_of_real_cooccurrence_counts(shared) -> None:
    document = json.loads((shared / "text/cooccurrence_voc07.json").read_text(encoding="utf-8"))
    counts = np.array(document["cooccurrence"], dtype=np.int64)
    np.fill_diagonal(counts, document["counts"])
    soft = relations.conditional(counts)
    assert [int(relations.binarised(soft, tau).sum()) for tau in (0.4, 0.3, 0.2)] == [6, 13, 21]
    heard = relations.binarised(soft, 0.4)
    names = document["names"]
    assert {(names[i], names[j]) for i, j in np.argwhere(heard)} == {
        *((name, "person") for name in ("bicycle", "bottle", "diningtable", "horse", "motorbike")),
        ("diningtable", "chair"),
    }
