"""Where pixels lie on the permutohedral lattice: simplex and barycentric weights of each.

Adams, Baek and Davis, Eurographics 2010, sections 3.1 and 3.2, rounded as in Krähenbühl and
Koltun's densecrf; `stages/crf/reference/lattice.py` says the same in NumPy.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from stages.crf.compiled.jit import compiled, inlined
from stages.crf.compiled.vectors import at, put

BLOCK = 64
"""Pixels that one vectorised loop runs over; their coordinates stay in the L1 cache."""


@compiled
def embed(
    image: UInt8[np.ndarray, " nc"],
    columns: int,
    widths: tuple[float, ...],
    scales: tuple[float, ...],
    strides: Int64[np.ndarray, " d"],
    lowest: Float32[np.ndarray, " coordinates"],
    keys: Int64[np.ndarray, " n"],
    weights: Float32[np.ndarray, " nc"],
) -> None:
    """Fill `keys` (names of simplices) and `weights` (of corners of colours 0 to d, row by row).

    image: the colours of n pixels, row by row; `columns` of them in a row. widths: standard
    deviations of x, y and the colours; their number, d, is known when this is compiled. scales: of
    the axes, see `Geometry`. strides, lowest: digits of a key, see `Geometry`.
    """
    size = len(widths) + 1
    scratch = np.zeros((5, size, BLOCK), np.float32)
    elevated, offset, rank = scratch[0], scratch[1], scratch[2]
    nearest, ordered = scratch[3], scratch[4]
    total = np.zeros(BLOCK, np.float32)
    for first in range(0, len(keys), BLOCK):
        count = min(BLOCK, len(keys) - first)
        _features(image, columns, widths, first, count, offset)
        _elevate(scales, offset, elevated, total)
        _round(elevated, nearest, offset, total)
        _rank(offset, rank)
        _step_back(elevated, nearest, offset, rank, total)
        _order(offset, rank, ordered)
        _write(nearest, rank, ordered, strides, lowest, first, count, keys, weights)


@inlined
def _features(image, columns, widths, first, count, feature):  # type: ignore[no-untyped-def]
    """Position and colour of pixels, in standard deviations."""
    x, y = first % columns, first // columns
    for b in range(count):
        feature[0, b] = np.float32(x) / widths[0]
        feature[1, b] = np.float32(y) / widths[1]
        x += 1
        if x == columns:
            x, y = 0, y + 1
    for axis in range(2, len(widths)):
        for b in range(count):
            colour = at(image, (first + b) * (len(widths) - 2) + axis - 2)
            feature[axis, b] = np.float32(colour) / widths[axis]


@inlined
def _elevate(scales, feature, elevated, above):  # type: ignore[no-untyped-def]
    """Map positions to the plane of coordinates that sum to 0 (3.1)."""
    above[:] = np.float32(0)
    for axis in range(len(scales), 0, -1):
        for b in range(BLOCK):
            scaled = feature[axis - 1, b] * scales[axis - 1]
            elevated[axis, b] = above[b] - np.float32(axis) * scaled
            above[b] += scaled
    for b in range(BLOCK):
        elevated[0, b] = above[b]


@inlined
def _round(elevated, nearest, offset, total):  # type: ignore[no-untyped-def]
    """The nearest multiple of d+1 of each coordinate, the rest, and the multiples' sum."""
    size = np.float32(len(elevated))
    share = np.float32(1) / size
    total[:] = np.float32(0)
    for i in range(len(elevated)):
        for b in range(BLOCK):
            multiple = np.rint(elevated[i, b] * share)
            nearest[i, b] = multiple
            total[b] += multiple
            offset[i, b] = elevated[i, b] - multiple * size


@inlined
def _rank(offset, rank):  # type: ignore[no-untyped-def]
    """How many offsets of a point are greater than each; the later of equals counts less."""
    rank[:] = np.float32(0)
    for i in range(len(offset) - 1):
        for j in range(i + 1, len(offset)):
            for b in range(BLOCK):
                less = np.float32(1) if offset[i, b] < offset[j, b] else np.float32(0)
                rank[i, b] += less
                rank[j, b] += np.float32(1) - less


@inlined
def _step_back(elevated, nearest, offset, rank, total):  # type: ignore[no-untyped-def]
    """A rounded point may lie off the plane by whole steps: step back along the extreme ranks."""
    size = np.float32(len(rank))
    share = np.float32(1) / size
    for i in range(len(rank)):
        for b in range(BLOCK):
            moved = rank[i, b] + total[b]
            wrap = np.float32(1) if moved < np.float32(0) else np.float32(0)
            wrap -= np.float32(1) if moved >= size else np.float32(0)
            rank[i, b] = moved + wrap * size
            nearest[i, b] += wrap
            offset[i, b] = (elevated[i, b] - nearest[i, b] * size) * share


@inlined
def _order(offset, rank, ordered):  # type: ignore[no-untyped-def]
    """Offsets by rank."""
    ordered[:] = np.float32(0)
    for place in range(len(rank)):
        for i in range(len(rank)):
            for b in range(BLOCK):
                here = rank[i, b] == np.float32(place)
                ordered[place, b] += offset[i, b] if here else np.float32(0)


@inlined
def _write(nearest, rank, ordered, strides, lowest, first, count, keys, weights):  # type: ignore[no-untyped-def]
    """Weights are differences of offsets next to each other (3.2); a key is one whole number."""
    last = len(rank) - 1
    for b in range(count):
        row = (first + b) * (last + 1)
        put(weights, row, ordered[last, b] + (np.float32(1) - ordered[0, b]))
        for corner in range(1, last + 1):
            put(weights, row + corner, ordered[last - corner, b] - ordered[last - corner + 1, b])
    place = np.int64(1)
    for _ in range(last):
        place *= last + 1
    key = np.zeros(BLOCK, np.int64)
    code = np.int64(1)
    for i in range(1, last + 1):
        stride = strides[i - 1] * place
        for b in range(BLOCK):
            digit = np.int64(nearest[i, b] - lowest[i])
            key[b] += digit * stride + np.int64(rank[i, b]) * code
        code *= last + 1
    for b in range(count):
        put(keys, first + b, key[b])
