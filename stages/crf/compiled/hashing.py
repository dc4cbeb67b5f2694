"""Which simplices and lattice points are occupied, and who is whose neighbour: open hash tables.

A table is one int64 array of pairs (key, number), so that a look-up touches one cache line;
an empty slot has the key -1. Pixels share simplices: only a new simplex looks its corners up.
"""

import numpy as np
from jaxtyping import Float32, Int32, Int64

from stages.crf.compiled.jit import compiled, inlined
from stages.crf.compiled.vectors import at, prefetch, put

SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 / golden ratio: the upper bits of the product are well mixed (Knuth, TAOCP 3, 6.4)."""
AHEAD = 12
"""Look-ups that are announced to the memory before they are made."""


@inlined
def _slot(key, shift):  # type: ignore[no-untyped-def]
    return np.int64((np.uint64(key) * SPREAD) >> shift)


@inlined
def _shift(table):  # type: ignore[no-untyped-def]
    """Of a product to a slot number; a table has a power of two of slots."""
    shift = np.uint64(64)
    slots = len(table) // 2
    while slots > 1:
        slots //= 2
        shift -= np.uint64(1)
    return shift


@compiled
def number_simplices(
    keys: Int64[np.ndarray, " n"],
    table: Int64[np.ndarray, " slots"],
    simplex: Int32[np.ndarray, " n"],
    names: Int64[np.ndarray, " n"],
) -> int:
    """Number the different keys in order of appearance; their count.

    Fills `simplex` (number of each pixel's) and `names` (key of each number). The table must have
    more slots than keys.
    """
    table[:] = -1
    shift, mask, count = _shift(table), len(table) // 2 - 1, 0
    last, number = np.int64(-1), np.int32(0)
    for i in range(len(keys)):
        key = at(keys, i)
        if i + AHEAD < len(keys):
            prefetch(table, 2 * _slot(at(keys, i + AHEAD), shift))
        if key != last:
            slot = _slot(key, shift)
            while at(table, 2 * slot) != key and at(table, 2 * slot) != -1:
                slot = (slot + 1) & mask
            if at(table, 2 * slot) == -1:
                put(table, 2 * slot, key)
                put(table, 2 * slot + 1, count)
                put(names, count, key)
                count += 1
            number = np.int32(at(table, 2 * slot + 1))
            last = key
        put(simplex, i, number)
    return count


@compiled
def number_corners(
    names: Int64[np.ndarray, " s"],
    widths: tuple[float, ...],
    strides: Int64[np.ndarray, " d"],
    table: Int64[np.ndarray, " slots"],
    corners: Int32[np.ndarray, " sc"],
    points: Int64[np.ndarray, " most"],
) -> int:
    """Number the lattice points from 1 in order of appearance; their count, or -1.

    Fills `corners` (the numbers of each simplex's) and `points` (key of each number, from 0).
    -1: the table is too small, begin again with a larger one.
    """
    table[:] = -1
    shift, mask, count = _shift(table), len(table) // 2 - 1, 0
    size = len(widths) + 1
    limit = len(table) // 3 - size
    ring = np.empty(4 * size, np.int64)
    for s in range(min(3, len(names))):
        _corner_keys(names[s], widths, strides, ring, s * size)
        for c in range(size):
            prefetch(table, 2 * _slot(at(ring, s * size + c), shift))
    for s in range(len(names)):
        if s + 3 < len(names):
            coming = ((s + 3) & 3) * size
            _corner_keys(at(names, s + 3), widths, strides, ring, coming)
            for c in range(size):
                prefetch(table, 2 * _slot(at(ring, coming + c), shift))
        if count > limit:
            return -1
        for c in range(size):
            key = at(ring, (s & 3) * size + c)
            slot = _slot(key, shift)
            while at(table, 2 * slot) != key and at(table, 2 * slot) != -1:
                slot = (slot + 1) & mask
            if at(table, 2 * slot) == -1:
                put(points, count, key)
                count += 1
                put(table, 2 * slot, key)
                put(table, 2 * slot + 1, count)
            put(corners, s * size + c, at(table, 2 * slot + 1))
    return count


@inlined
def _corner_keys(name, widths, strides, keys, first):  # type: ignore[no-untyped-def]
    """Corner c is c steps along (1, ..., 1), less d+1 on the c coordinates of the highest ranks.

    Coordinate 0 has no digit in a key, so its rank does not matter. Divisors are known when this
    is compiled.
    """
    size = len(widths) + 1
    along, place = np.int64(0), np.int64(1)
    for i in range(len(widths)):
        along += strides[i]
        place *= size
    start, code = name // place, name % place
    put(keys, first, start * size)
    for c in range(1, size):
        put(keys, first + c, along)
    for i in range(len(widths)):
        rank = code % size
        code //= size
        if rank > 0:
            corner = first + size - rank
            put(keys, corner, at(keys, corner) - size * strides[i])
    for c in range(1, size):
        put(keys, first + c, at(keys, first + c) + at(keys, first + c - 1))


@compiled
def find_neighbours(
    points: Int64[np.ndarray, " m"],
    strides: Int64[np.ndarray, " d"],
    table: Int64[np.ndarray, " slots"],
    neighbours: Int32[np.ndarray, "coordinates m 2"],
) -> None:
    """Numbers of each lattice point's two neighbours along each axis; 0: not there.

    A step is +d along one coordinate, -1 along the others. One direction is looked up, both are
    written.
    """
    neighbours[:] = 0
    pairs = neighbours.reshape(-1)
    shift, mask = _shift(table), len(table) // 2 - 1
    along = strides.sum()
    for axis in range(len(strides) + 1):
        step = -along
        if axis > 0:
            step += (len(strides) + 1) * strides[axis - 1]
        for i in range(len(points)):
            if i + AHEAD < len(points):
                prefetch(table, 2 * _slot(at(points, i + AHEAD) + step, shift))
            wanted = at(points, i) + step
            slot = _slot(wanted, shift)
            while at(table, 2 * slot) != wanted and at(table, 2 * slot) != -1:
                slot = (slot + 1) & mask
            if at(table, 2 * slot) == wanted:
                number = at(table, 2 * slot + 1)
                put(pairs, 2 * (axis * len(points) + i), number)
                put(pairs, 2 * (axis * len(points) + number - 1) + 1, i + 1)


@compiled
def sort_pixels(
    widths: tuple[float, ...],
    simplex: Int32[np.ndarray, " n"],
    weights: Float32[np.ndarray, " nc"],
    names: Int64[np.ndarray, " s"],
    order: Int64[np.ndarray, " s"],
    starts: Int32[np.ndarray, " s1"],
    pixels: Int32[np.ndarray, " n"],
    sorted_weights: Float32[np.ndarray, " nc"],
) -> None:
    """Put the pixels of a simplex in a row (a counting sort), and simplices of like size together.

    Fills `order` (the names in their new order), `starts` (first place of each, and the end),
    `pixels` (pixel of each place) and `sorted_weights`.
    """
    size = len(widths) + 1
    counts = np.zeros(len(names), np.int32)
    for i in range(len(simplex)):
        s = at(simplex, i)
        put(counts, s, at(counts, s) + 1)
    begin = np.empty(len(names), np.int32)
    _order_by_size(counts, names, order, starts, begin)
    for i in range(len(simplex)):
        s = at(simplex, i)
        place = at(begin, s)
        put(begin, s, place + 1)
        put(pixels, place, i)
        for c in range(size):
            put(sorted_weights, place * size + c, at(weights, i * size + c))


WINDOW = 512
"""Simplices that change places: loops over their pixels then have a length that is foreseen."""
SIZES = 17


@inlined
def _order_by_size(counts, names, order, starts, begin):  # type: ignore[no-untyped-def]
    """Within windows, so that pixels stay near their neighbours."""
    sizes = np.zeros(SIZES, np.int32)
    window = np.empty(WINDOW, np.int32)
    place = 0
    for first in range(0, len(names), WINDOW):
        end = min(first + WINDOW, len(names))
        sizes[:] = 0
        for s in range(first, end):
            sizes[min(counts[s], SIZES - 1)] += 1
        after = 0
        for size in range(SIZES):
            after, sizes[size] = after + sizes[size], after
        for s in range(first, end):
            size = min(counts[s], SIZES - 1)
            window[sizes[size]] = s
            sizes[size] += 1
        for r in range(end - first):
            s = window[r]
            order[first + r] = names[s]
            starts[first + r] = place
            begin[s] = place
            place += counts[s]
    starts[len(names)] = place
