"""Relations between classes, and the normalisation that makes any of them an adjacency.

A similarity S is (C, C) with S[i, j] >= 0: how much class i should hear from class j. Its
neighbours O are row-stochastic with a zero diagonal (a row without neighbours is zero). The
adjacency is A = (1 - p) I + p O, with A_ii = 1 in rows without neighbours.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Num


def text_similarity(vectors: Float32[np.ndarray, "c d"]) -> Float64[np.ndarray, "c c"]:
    """Cosine of every two vectors, negative ones as 0; 0 throughout for a zero vector."""
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    unit = np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0)
    return np.maximum(unit @ unit.T, 0.0)


def cooccurrence_counts(tags: Bool[np.ndarray, "n c"]) -> Int64[np.ndarray, "c c"]:
    """Photos with both tags, M_ij; on the diagonal photos with the tag, N_i."""
    exact = tags.astype(np.int64)
    return exact.T @ exact


def conditional(counts: Int64[np.ndarray, "c c"]) -> Float64[np.ndarray, "c c"]:
    """P(j|i) = M_ij / N_i, zero on the diagonal and in the row of a tag that no photo carries.

    Chen et al., "Multi-Label Image Recognition with Graph Convolutional Networks" (CVPR 2019),
    section 3.4.
    """
    totals = np.diagonal(counts)[:, None].astype(np.float64)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return _off_diagonal(share)


def binarised(probabilities: Float64[np.ndarray, "c c"], tau: float) -> Float64[np.ndarray, "c c"]:
    """1 where P(j|i) >= tau, else 0 (the same paper, equation 7)."""
    return (probabilities >= tau).astype(np.float64)


def neighbours(
    similarity: Num[np.ndarray, "c c"],
    *,
    alpha: float = 0.5,
    top_k: int = 5,
    ranking: Num[np.ndarray, "c c"] | None = None,
) -> Float64[np.ndarray, "c c"]:
    """Row-stochastic neighbours O: off-diagonal, raised to `alpha`, `top_k` per row kept.

    `ranking` decides which are kept where the similarities themselves tie (a binarised relation:
    its probabilities); what still ties is kept in class order. Raises ValueError for negative or
    non-finite similarities.
    """
    off = _off_diagonal(np.asarray(similarity, dtype=np.float64))
    if not np.isfinite(off).all() or (off < 0).any():
        raise ValueError("similarities must be finite and at least 0")
    count, keep = len(off), min(top_k, len(off) - 1)
    finer = off if ranking is None else np.asarray(ranking, dtype=np.float64)
    # np.lexsort sorts by its last key first; both descending, stable in the class order.
    order = np.stack([np.lexsort((-fine, -row)) for row, fine in zip(off, finer, strict=True)])
    chosen = np.zeros(off.shape, dtype=bool)
    chosen[np.arange(count)[:, None], order[:, :keep]] = True
    weights = np.where(chosen & (off > 0), off, 0.0)
    # Scaled by the row's own maximum first, or a tiny similarity could vanish in the power's sum.
    peak = weights.max(axis=1, keepdims=True)
    weights = np.divide(weights, peak, out=np.zeros_like(weights), where=peak > 0)
    powered = np.where(weights > 0, weights**alpha, 0.0)
    return _row_stochastic(powered)


def adjacency(
    relation: Float64[np.ndarray, "c c"], *, strength: float = 0.2
) -> Float32[np.ndarray, "c c"]:
    """A = (1 - p) I + p O as it is kept, in float32."""
    return weighted(relation, strength=strength).astype(np.float32)


def weighted(
    relation: Float64[np.ndarray, "c c"], *, strength: float = 0.2
) -> Float64[np.ndarray, "c c"]:
    """A = (1 - p) I + p O with p = `strength`; rows without neighbours keep A_ii = 1."""
    connected = relation.sum(axis=1, keepdims=True) > 0
    mass = np.where(connected, strength, 0.0)
    return mass * relation + np.diagflat(1.0 - mass)


def identity(count: int) -> Float64[np.ndarray, "c c"]:
    """No neighbours at all: the control that separates word vectors from the graph."""
    return np.zeros((count, count))


def random(base: Float64[np.ndarray, "c c"], *, seed: int) -> Float64[np.ndarray, "c c"]:
    """A control: every row keeps its weights, and so its degree, but on classes drawn at random.

    `base` is a relation or a whole adjacency, whose diagonal stays where it is.
    """
    generator = np.random.default_rng(seed)
    drawn = np.diagflat(np.diagonal(base))
    for row in range(len(base)):
        weights = np.delete(base[row], row)
        weights = weights[weights > 0]
        others = np.delete(np.arange(len(base)), row)
        drawn[row, generator.choice(others, size=len(weights), replace=False)] = weights
    return drawn


def permuted(base: Float64[np.ndarray, "c c"], *, seed: int) -> Float64[np.ndarray, "c c"]:
    """A control: every class gets the row of another one, by one random cycle through them all.

    A row's entries for its old and its new owner trade places, so that the diagonal stays that of a
    diagonal: degrees, weights and hubs stay, and only who hears from whom is wrong. `base` is a
    relation or a whole adjacency.
    """
    count = len(base)
    cycle = np.random.default_rng(seed).permutation(count)
    donors = np.empty(count, dtype=np.int64)
    donors[cycle] = np.roll(cycle, 1)
    shuffled = base[donors].copy()
    rows = np.arange(count)
    shuffled[rows, donors] = base[donors, rows]
    shuffled[rows, rows] = base[donors, donors]
    return shuffled


def mix(
    first: Float64[np.ndarray, "c c"], second: Float64[np.ndarray, "c c"], *, mu: float = 0.5
) -> Float64[np.ndarray, "c c"]:
    """mu O_first + (1 - mu) O_second for 0 < mu < 1; a row that only one has stays that one's."""
    return _row_stochastic(mu * first + (1.0 - mu) * second)


def effective_neighbours(matrix: Float64[np.ndarray, "c c"]) -> Float64[np.ndarray, " c"]:
    """How many neighbours a class has in effect: exp of the entropy of its row, 0 without any.

    `matrix` is a relation or a whole adjacency: a row counts without its diagonal, as shares.
    """
    relation = _row_stochastic(_off_diagonal(matrix))
    logs = np.log(relation, out=np.zeros_like(relation), where=relation > 0)
    entropy = -(relation * logs).sum(axis=1)
    return np.where(relation.sum(axis=1) > 0, np.exp(entropy), 0.0)


def off_diagonal_share(matrix: Num[np.ndarray, "c c"]) -> Float64[np.ndarray, " c"]:
    """What share of each row of an adjacency comes from other classes; 0 for an empty row."""
    totals = matrix.sum(axis=1, dtype=np.float64)
    off = totals - np.diagonal(matrix)
    return np.divide(off, totals, out=np.zeros(len(matrix)), where=totals > 0)


def rank_correlation(first: Num[np.ndarray, "c c"], second: Num[np.ndarray, "c c"]) -> float | None:
    """Spearman's correlation over the pairs of classes, each the mean of its two directions.

    None where a matrix is the same for every pair, or where there are fewer than three pairs.
    """
    places = np.triu_indices(len(first), k=1)
    ranks = []
    for matrix in (first, second):
        pairs = (np.asarray(matrix, dtype=np.float64) + np.asarray(matrix).T)[places]
        _, where, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        # Ties share the mean of the ranks that they take up.
        ranks.append((np.cumsum(counts) - (counts - 1) / 2.0)[where])
    if len(places[0]) < 3 or any(np.ptp(one) == 0 for one in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _off_diagonal(matrix: Float64[np.ndarray, "c c"]) -> Float64[np.ndarray, "c c"]:
    copy = matrix.copy()
    np.fill_diagonal(copy, 0.0)
    return copy


def _row_stochastic(matrix: Float64[np.ndarray, "c c"]) -> Float64[np.ndarray, "c c"]:
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
