"""What row sums of a kernel ask for, and weights that carry its normalisation."""

import numpy as np
from jaxtyping import Float32, Int32

from stages.crf.compiled.jit import compiled_fused
from stages.crf.compiled.vectors import added, at, load, multiplied, put, store, total, zeros


@compiled_fused
def row_factors(
    lanes: tuple[int, ...],
    starts: Int32[np.ndarray, " s1"],
    corners: Int32[np.ndarray, " sc"],
    weights: Float32[np.ndarray, " ncp"],
    neighbours: Int32[np.ndarray, "coordinates m 2"],
    root: bool,
    factors: Float32[np.ndarray, " n"],
) -> None:
    """Fill `factors` with 1 / row sum, or 1 / its square root.

    Row sums are the lattice's filter of ones: splat, blur, slice (Adams et al., 3.2 to 3.4).
    lanes: at least as many as coordinates; a row of weights is read with what follows it, so zeros
    must follow the last.
    """
    axes, pairs = len(neighbours), neighbours.reshape(-1)
    points = neighbours.shape[1]
    values = np.zeros(points + 1, np.float32)
    spare = np.zeros(points + 1, np.float32)
    held = np.zeros(len(lanes), np.float32)
    for s in range(len(starts) - 1):
        sums = zeros(lanes)
        for p in range(at(starts, s), at(starts, s + 1)):
            sums = added(sums, load(lanes, weights, p * axes))
        store(lanes, held, 0, sums)
        for c in range(axes):
            point = at(corners, s * axes + c)
            put(values, point, at(values, point) + at(held, c))
    for axis in range(axes):
        for i in range(points):
            pair = 2 * (axis * points + i)
            around = at(values, at(pairs, pair)) + at(values, at(pairs, pair + 1))
            put(spare, i + 1, at(values, i + 1) + np.float32(0.5) * around)
        values, spare = spare, values
    constant = np.float32(1 / (1 + 2.0 ** -(axes - 1)))
    held[:] = np.float32(0)
    for s in range(len(starts) - 1):
        for c in range(axes):
            put(held, c, at(values, at(corners, s * axes + c)))
        around_s = load(lanes, held, 0)
        for p in range(at(starts, s), at(starts, s + 1)):
            value = total(multiplied(load(lanes, weights, p * axes), around_s))
            value = value * constant + np.float32(1e-20)
            put(factors, p, np.float32(1) / (np.sqrt(value) if root else value))


@compiled_fused
def fold(
    coordinates: int,
    weights: Float32[np.ndarray, " ncp"],
    factors: Float32[np.ndarray, " n"],
    folded: Float32[np.ndarray, " ncp"],
) -> None:
    """Fill `folded` with each row of `weights` times its factor; may be the same array."""
    for p in range(len(factors)):
        factor = at(factors, p)
        for place in range(p * coordinates, (p + 1) * coordinates):
            put(folded, place, at(weights, place) * factor)


@compiled_fused
def arrange(
    lanes: tuple[int, ...],
    pixels: Int32[np.ndarray, " n"],
    rows: Float32[np.ndarray, " n6p"],
    arranged: Float32[np.ndarray, " n6p"],
) -> None:
    """Rows of 6 numbers in another order of the pixels.

    8 lanes: each row is copied with 2 numbers that follow it; the next row then overwrites them.
    """
    for p in range(len(pixels)):
        store(lanes, arranged, p * 6, load(lanes, rows, at(pixels, p) * 6))
