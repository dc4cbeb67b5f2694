import json
from pathlib import Path

import numpy as np
import pytest

from knowledge import forms, relations
from knowledge.classes import VOC

NAMED = {
    ("car", "bus"): 2.4e-3,
    ("bicycle", "motorbike"): 2.1e-3,
    ("car", "train"): 1.3e-3,
    ("chair", "sofa"): 1.2e-3,
    ("cat", "dog"): 1.1e-3,
    ("cow", "horse"): 1.1e-3,
    ("boat", "car"): 8.8e-4,
    ("boat", "chair"): 8.7e-4,
    ("cow", "sheep"): 7.4e-4,
    ("aeroplane", "bird"): 6.3e-4,
}
"""Largest pairs of the released VOC matrix, as published."""


@pytest.fixture(scope="module")
def published() -> np.ndarray:
    """A matrix with the published statistics of the released one, which is not at hand itself."""
    similarity = np.zeros((20, 20))
    rest = [(i, j) for i in range(20) for j in range(i) if not _named(i, j)]
    np.random.default_rng(0).shuffle(rest)
    values = [
        np.linspace(4.4e-4, 3.1e-4, 7),
        np.geomspace(2.2e-4, 1.02e-4, 38),
        np.geomspace(9.8e-5, 3.6e-5, 41),
        np.geomspace(3.59e-5, 6e-6, 94),
    ]
    for (i, j), value in zip(rest, np.concatenate(values), strict=True):
        similarity[i, j] = value
    for (first, second), value in NAMED.items():
        similarity[VOC.index(first), VOC.index(second)] = value
    similarity = np.maximum(similarity, similarity.T)
    similarity += similarity.T * (similarity == 0)
    np.fill_diagonal(similarity, [0.204, 0.382, *np.linspace(0.222, 0.3193, 18)])
    return similarity


def _named(i: int, j: int) -> bool:
    pair = (VOC.names[i], VOC.names[j])
    return pair in NAMED or pair[::-1] in NAMED


def off_share(matrix: np.ndarray) -> float:
    return float(1 - (np.diagonal(matrix) / matrix.sum(axis=1)).mean())


def test_the_matrix_has_the_published_statistics(published: np.ndarray) -> None:
    pairs = published[np.triu_indices(20, k=1)]
    assert np.array_equal(published, published.T)
    assert [(pairs > bound).sum() for bound in (1e-3, 3e-4, 1e-4)] == [6, 17, 55]
    assert pairs.mean() == pytest.approx(1.3e-4, abs=5e-6)
    assert np.median(pairs) == pytest.approx(3.6e-5, abs=1e-6)
    assert pairs.max() == 2.4e-3
    diagonal = np.diagonal(published)
    assert (diagonal.min(), diagonal.max()) == (0.204, 0.382)
    assert diagonal.mean() == pytest.approx(0.273, abs=1e-3)


def test_the_released_normalisation_is_next_to_the_identity(published: np.ndarray) -> None:
    matrix = forms.released(published)
    assert np.diagonal(matrix).mean() == pytest.approx(0.998, abs=5e-4)
    off = matrix.sum(axis=1) - np.diagonal(matrix)
    assert off.mean() == pytest.approx(0.002, abs=5e-4)


def test_normalised_in_place_at_every_pass_it_decays_to_the_identity(
    published: np.ndarray,
) -> None:
    def forward(stored: np.ndarray) -> np.ndarray:
        """The released layer's defect: the stored matrix itself gets one more I at every call."""
        stored += np.eye(len(stored))
        scale = stored.sum(axis=1) ** -0.5
        return scale[:, None] * stored * scale[None, :]

    stored = published.copy()
    np.testing.assert_allclose(forward(stored), forms.released(published))
    shares = {1: off_share(forward(published.copy()))}
    for call in range(2, 1001):
        shares[call] = off_share(forward(stored))
    assert shares[1] == pytest.approx(2e-3, rel=0.15)
    assert shares[100] == pytest.approx(2e-5, rel=0.3)
    assert shares[1000] == pytest.approx(2e-6, rel=0.3)
    # The function that stands here leaves its argument alone: the check that the mutant fails.
    before = published.copy()
    forms.released(published)
    assert np.array_equal(before, published)


def test_ours_gives_the_same_matrix_exactly_p(published: np.ndarray) -> None:
    matrix = relations.adjacency(relations.neighbours(published), strength=0.2)
    np.testing.assert_allclose(relations.off_diagonal_share(matrix), 0.2, atol=1e-6)
    kept = relations.neighbours(published)
    assert relations.rank_correlation(kept, published) > 0.5


def test_released_by_hand() -> None:
    matrix = forms.released(np.array([[0.5, 0.5], [0.5, 1.0]]))
    half = 0.5 / np.sqrt(2 * 2.5)
    np.testing.assert_allclose(matrix, [[1.5 / 2, half], [half, 2 / 2.5]])


# person, horse, sofa: P(horse|person) = 0.5, P(person|horse) = 1, P(person|sofa) = 0.5.
BINARY = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=float)


def test_paper_form_by_hand() -> None:
    binary = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=float)
    expected = [[0.7, 0.15, 0.15], [0.3, 0.7, 0], [0, 0, 0.7]]
    np.testing.assert_allclose(forms.mlgcn_paper(binary, strength=0.3), expected)


def test_code_form_by_hand() -> None:
    # Column sums 2, 1, 0 and p/(1-p) = 0.25: A = [[1, .25, 0], [.125, 1, 0], [.125, 0, 1]].
    sums = np.array([1.25, 1.125, 1.125])
    matrix = np.array([[1, 0.25, 0], [0.125, 1, 0], [0.125, 0, 1]])
    expected = matrix.T / np.sqrt(sums[:, None] * sums[None, :])
    np.testing.assert_allclose(forms.mlgcn_code(BINARY), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"set --graph\.strength below 1"):
        forms.mlgcn_code(BINARY, strength=1.0)


def test_code_form_turns_the_direction_around() -> None:
    # B_ij = 1 where P(j|i) >= tau: the sofa's photos show a person, the person's rarely a sofa.
    paper, code = forms.mlgcn_paper(BINARY), forms.mlgcn_code(BINARY)
    assert paper[2, 0] > 0
    assert paper[0, 2] == 0
    assert code[0, 2] > 0  # the person receives from j where P(person|j) >= tau
    assert code[2, 0] == 0


def test_receivers_of_the_code_form_on_voc_2007(shared: Path) -> None:
    document = json.loads((shared / "text/cooccurrence_voc07.json").read_text(encoding="utf-8"))
    counts = np.array(document["cooccurrence"], dtype=np.int64)
    np.fill_diagonal(counts, document["counts"])
    matrix = forms.mlgcn_code(relations.binarised(relations.conditional(counts), 0.4))
    np.fill_diagonal(matrix, 0)
    names = document["names"]
    received = {names[i]: {names[j] for j in np.flatnonzero(matrix[i])} for i in range(20)}
    assert {name: senders for name, senders in received.items() if senders} == {
        "person": {"bicycle", "bottle", "diningtable", "horse", "motorbike"},
        "chair": {"diningtable"},
    }


def test_edges_of_voc_2012_train_aug(shared: Path) -> None:
    lists = shared / "voc12-lists"
    with np.load(lists / "image_labels_12031.npz", allow_pickle=False) as file:
        rows = dict(zip(file["ids"].tolist(), file["labels"], strict=True))
        names = [str(name) for name in file["names"]]
    ids = (lists / "train_aug.txt").read_text().split()
    tags = np.stack([rows[one] for one in ids]).astype(bool)
    assert tags.shape == (10582, 20)
    soft = relations.conditional(relations.cooccurrence_counts(tags))
    binary = {tau: relations.binarised(soft, tau) for tau in (0.4, 0.3, 0.2)}
    assert [int(one.sum()) for one in binary.values()] == [10, 20, 24]
    heard = forms.mlgcn_code(binary[0.4])
    np.fill_diagonal(heard, 0)
    receivers = {names[i]: int((heard[i] > 0).sum()) for i in range(20) if heard[i].any()}
    assert receivers == {"person": 9, "chair": 1}
