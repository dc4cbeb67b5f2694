"""Published ways to make an adjacency of a similarity; ours is in `knowledge.relations`.

Each takes a similarity and gives the (C, C) float64 matrix that a graph convolution multiplies
with: row i holds what class i receives.
"""

import numpy as np
from jaxtyping import Float64, Num

EPSILON = 1e-6
"""Keeps the code form of ML-GCN from dividing by zero."""


def mlgcn_paper(
    binary: Num[np.ndarray, "c c"], *, strength: float = 0.2
) -> Float64[np.ndarray, "c c"]:
    """A_ij = p B_ij / sum_k B_ik off the diagonal, A_ii = 1 - p with p = `strength`.

    Row i receives from j where P(j|i) >= tau. Rows without neighbours sum to 1 - p. `binary` is
    B with a zero diagonal (Chen et al., CVPR 2019, equations 7 and 8).
    """
    totals = binary.sum(axis=1, keepdims=True)
    share = np.divide(binary, totals, out=np.zeros(binary.shape), where=totals > 0)
    return strength * share + (1.0 - strength) * np.eye(len(binary))


def mlgcn_code(
    binary: Num[np.ndarray, "c c"], *, strength: float = 0.2
) -> Float64[np.ndarray, "c c"]:
    """D A^T D with A = p/(1-p) B / (column sums + 1e-6) + I, D = diag(row sums of A)^-1/2.

    The form of ML-GCN's program (megvii-research/ML-GCN:util.py; p/(1-p) = 0.25 there), which
    transposes: row i receives from j where P(i|j) >= tau. Raises ValueError for `strength` = 1.
    """
    if strength >= 1:
        raise ValueError("form mlgcn_code divides by 1 - strength: set --graph.strength below 1")
    factor = strength / (1.0 - strength)
    matrix = factor * binary / (binary.sum(axis=0, keepdims=True) + EPSILON) + np.eye(len(binary))
    return _both_sides(matrix.T, matrix.sum(axis=1))


def released(similarity: Num[np.ndarray, "c c"]) -> Float64[np.ndarray, "c c"]:
    """D^-1/2 (S + I) D^-1/2, D its row sums: the normalisation of the GRM code, applied once.

    For similarities as small as ConceptNet's it is next to the identity. The released program also
    adds I again at every forward pass, which drives what is left to zero; see the head `grm` in its
    mode as_released (JIA-ZHANG666/GRM_layer:grm_layer.py).
    """
    matrix = similarity + np.eye(len(similarity))
    return _both_sides(matrix, matrix.sum(axis=1))


def _both_sides(
    matrix: Num[np.ndarray, "c c"], totals: Num[np.ndarray, " c"]
) -> Float64[np.ndarray, "c c"]:
    scale = totals**-0.5
    return scale[:, None] * matrix * scale[None, :]
