"""What row sums of a kernel ask for, and weights that carry its normalisation."""

import numpy as np
from jaxtyping import Float32, Int32

from stages.crf.compiled.jit import compiled


@compiled
def row_factors(
    starts: Int32[np.ndarray, " s1"],
    corners: Int32[np.ndarray, "s coordinates"],
    weights: Float32[np.ndarray, "n coordinates"],
    neighbours: Int32[np.ndarray, "coordinates m 2"],
    root: bool,
    factors: Float32[np.ndarray, " n"],
) -> None:
    """Fill `factors` with 1 / row sum, or 1 / its square root.

    Row sums are the lattice's filter of ones: splat, blur, slice (Adams et al., 3.2 to 3.4).
    """
    axes = corners.shape[1]
    values = np.zeros(neighbours.shape[1] + 1, np.float32)
    spare = np.zeros(neighbours.shape[1] + 1, np.float32)
    for s in range(len(corners)):
        for p in range(starts[s], starts[s + 1]):
            for c in range(axes):
                values[corners[s, c]] += weights[p, c]
    for axis in range(axes):
        for i in range(neighbours.shape[1]):
            around = values[neighbours[axis, i, 0]] + values[neighbours[axis, i, 1]]
            spare[i + 1] = values[i + 1] + np.float32(0.5) * around
        values, spare = spare, values
    constant = np.float32(1 / (1 + 2.0 ** -(axes - 1)))
    for s in range(len(corners)):
        for p in range(starts[s], starts[s + 1]):
            value = np.float32(0)
            for c in range(axes):
                value += weights[p, c] * values[corners[s, c]]
            value = value * constant + np.float32(1e-20)
            factors[p] = np.float32(1) / (np.sqrt(value) if root else value)


@compiled
def fold(
    weights: Float32[np.ndarray, "n coordinates"],
    factors: Float32[np.ndarray, " n"],
    folded: Float32[np.ndarray, "n coordinates"],
) -> None:
    """Fill `folded` with each row of `weights` times its factor; may be the same array."""
    for p in range(len(weights)):
        for c in range(weights.shape[1]):
            folded[p, c] = weights[p, c] * factors[p]


@compiled
def arrange(
    pixels: Int32[np.ndarray, " n"],
    points: Int32[np.ndarray, "n 3"],
    weights: Float32[np.ndarray, "n 3"],
    arranged_points: Int32[np.ndarray, " n3"],
    arranged_weights: Float32[np.ndarray, " n3"],
) -> None:
    """Rows of the smoothness lattice in another order of the pixels."""
    for p in range(len(pixels)):
        for c in range(3):
            arranged_points[p * 3 + c] = points[pixels[p], c]
            arranged_weights[p * 3 + c] = weights[pixels[p], c]
