"""Mean field on two lattices in one pass over the pixels an iteration.

Krähenbühl and Koltun, NeurIPS 2011, algorithm 1, as in `stages/crf/reference/mean_field.py`. A pass
takes some dozens of pixels at a time through slice, softmax and splat while they are in the L1
cache; pixels of one simplex are neighbours in memory and share its corners in registers.
"""

import numpy as np
from jaxtyping import Float32, Int32

from stages.crf.compiled.exponential import exponentiate
from stages.crf.compiled.jit import compiled_borrowing, inlined
from stages.crf.compiled.tables import Appearance, Course, Memory, Smoothness
from stages.crf.compiled.vectors import (
    added,
    at,
    divided,
    largest,
    largest_of_rows,
    load,
    plus,
    put,
    scaled,
    store,
    subtracted,
    sum_of_rows,
    whole_at,
    zeros,
)

BLOCK = 128
"""Pixels that go through slice, softmax and splat together, and the rest of a simplex."""
FIRST, SECOND = 3, 6
"""Passes in which simplices are frozen: the first time, and all again."""
WORTH = 0.15
"""Share of the pixels that must freeze for it to pay."""
ZERO = np.float32(0)
BOTTOM = np.float32(-1e30)


@compiled_borrowing
def mean_field(
    lanes: tuple[int, ...],
    row: tuple[int, ...],
    energies: Float32[np.ndarray, "g k n"],
    pixels: Int32[np.ndarray, " n"],
    appearance: Appearance,
    smoothness: Smoothness,
    course: Course,
    memory: Memory,
    q: Float32[np.ndarray, "g k n"],
) -> None:
    """Fill `q` with the label probabilities of pixels whose unary is `energies`.

    The g labellings are filtered side by side. row: a tuple of w elements, w at least k; lanes: one
    of g * w. pixels: the pixel of each place in the lattice.
    """
    _enter(len(row), energies, pixels, memory.logits)
    near, spare, coming = memory.near[0], memory.near[1], memory.near[2]
    even, even_spare, even_coming = memory.even[0], memory.even[1], memory.even[2]
    every = count = _activate(memory.active)
    for iteration in range(course.iterations + 1):
        last = iteration == course.iterations
        freezing = course.limit > ZERO and not last and iteration in (FIRST, SECOND)
        if last or freezing:
            count = _activate(memory.active)
        _clear(memory, coming, even_coming, freezing, count < every)
        first = 0
        while first < count:
            end, length = _block(appearance.starts, memory.active, first, count)
            if iteration == 0:
                _softmax_terms(lanes, row, at(appearance.starts, first), length, memory)
            else:
                _slice(lanes, row, first, end, appearance, smoothness, memory, near, even)
            exponentiate(memory.block, length * len(lanes))
            if last:
                _leave(lanes, row, at(appearance.starts, first), length, pixels, memory.block, q)
            else:
                _splat(lanes, row, first, end, appearance, smoothness, memory, coming, even_coming)
            if freezing:
                _freeze(lanes, row, first, end, appearance, smoothness, memory, course.limit)
            first = end
        if freezing:
            count = _still_active(appearance.starts, memory.sure, memory.active)
        if not last:
            turned, spare = _blur(lanes, appearance.neighbours, coming, spare, course.near_weight)
            near, coming = turned, near
            turned, even_spare = _blur(
                lanes, smoothness.neighbours, even_coming, even_spare, course.even_weight
            )
            even, even_coming = turned, even


@inlined
def _activate(active):  # type: ignore[no-untyped-def]
    """List every simplex; how many there are."""
    for s in range(len(active)):
        put(active, s, s)
    return len(active)


@inlined
def _clear(memory, coming, even_coming, freezing, frozen):  # type: ignore[no-untyped-def]
    """Begin a pass with nothing splatted, or with what frozen simplices splat."""
    coming[:] = ZERO
    even_coming[:] = ZERO
    if freezing:
        memory.near_kept[:] = ZERO
        memory.even_kept[:] = ZERO
    if frozen:
        for i in range(len(coming)):
            put(coming, i, at(memory.near_kept, i))
        for i in range(len(even_coming)):
            put(even_coming, i, at(memory.even_kept, i))


@inlined
def _enter(width, energies, pixels, logits):  # type: ignore[no-untyped-def]
    """Minus the unary, a pixel's labels side by side, in the order of the lattice."""
    groups, labels, n = energies.shape
    flat, place = energies.reshape(-1), 0
    for p in range(n):
        for group in range(groups):
            first = group * labels * n + at(pixels, p)
            for k in range(labels):
                put(logits, place + k, -at(flat, first + k * n))
            for k in range(labels, width):
                put(logits, place + k, BOTTOM)
            place += width


@inlined
def _block(starts, active, first, count):  # type: ignore[no-untyped-def]
    """The end of the simplices that go together from `first` on, and their pixels."""
    end, length = first, 0
    while end < count and length < BLOCK:
        length += starts[active[end] + 1] - starts[active[end]]
        end += 1
    return end, length


@inlined
def _softmax_terms(lanes, row, start, length, memory):  # type: ignore[no-untyped-def]
    """The unary alone, less its maximum."""
    width = len(lanes)
    for j in range(length):
        logits = load(lanes, memory.logits, (start + j) * width)
        store(lanes, memory.block, j * width, subtracted(logits, largest_of_rows(row, logits)))


@inlined
def _slice(lanes, row, first, end, appearance, smoothness, memory, near, even):  # type: ignore[no-untyped-def]
    """Unary and messages, less their maximum; corners are read once a simplex."""
    width, j = len(lanes), 0
    starts, corners, weights = appearance.starts, appearance.corners, appearance.slicing
    even_rows = smoothness.slicing
    for a in range(first, end):
        s = at(memory.active, a)
        c0 = load(lanes, near, at(corners, s * 6) * width)
        c1 = load(lanes, near, at(corners, s * 6 + 1) * width)
        c2 = load(lanes, near, at(corners, s * 6 + 2) * width)
        c3 = load(lanes, near, at(corners, s * 6 + 3) * width)
        c4 = load(lanes, near, at(corners, s * 6 + 4) * width)
        c5 = load(lanes, near, at(corners, s * 6 + 5) * width)
        for p in range(at(starts, s), at(starts, s + 1)):
            one = plus(load(lanes, memory.logits, p * width), at(weights, p * 6), c0)
            other = scaled(at(weights, p * 6 + 1), c1)
            one = plus(one, at(weights, p * 6 + 2), c2)
            other = plus(other, at(weights, p * 6 + 3), c3)
            one = plus(one, at(weights, p * 6 + 4), c4)
            other = plus(other, at(weights, p * 6 + 5), c5)
            for corner in range(3):
                value = load(lanes, even, whole_at(even_rows, p * 6 + corner) * width)
                other = plus(other, at(even_rows, p * 6 + 3 + corner), value)
            logits = added(one, other)
            store(lanes, memory.block, j * width, subtracted(logits, largest_of_rows(row, logits)))
            j += 1


@inlined
def _splat(lanes, row, first, end, appearance, smoothness, memory, near, even):  # type: ignore[no-untyped-def]
    """Give the pixels' probabilities to the points of both lattices."""
    width, j = len(lanes), 0
    starts, corners, weights = appearance.starts, appearance.corners, appearance.splatting
    even_rows = smoothness.splatting
    for a in range(first, end):
        s = at(memory.active, a)
        c0, c1, c2 = zeros(lanes), zeros(lanes), zeros(lanes)
        c3, c4, c5 = zeros(lanes), zeros(lanes), zeros(lanes)
        for p in range(at(starts, s), at(starts, s + 1)):
            odds = load(lanes, memory.block, j * width)
            q = divided(odds, sum_of_rows(row, odds))
            c0 = plus(c0, at(weights, p * 6), q)
            c1 = plus(c1, at(weights, p * 6 + 1), q)
            c2 = plus(c2, at(weights, p * 6 + 2), q)
            c3 = plus(c3, at(weights, p * 6 + 3), q)
            c4 = plus(c4, at(weights, p * 6 + 4), q)
            c5 = plus(c5, at(weights, p * 6 + 5), q)
            for corner in range(3):
                point = whole_at(even_rows, p * 6 + corner) * width
                value = load(lanes, even, point)
                store(lanes, even, point, plus(value, at(even_rows, p * 6 + 3 + corner), q))
            j += 1
        corner = at(corners, s * 6) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c0))
        corner = at(corners, s * 6 + 1) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c1))
        corner = at(corners, s * 6 + 2) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c2))
        corner = at(corners, s * 6 + 3) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c3))
        corner = at(corners, s * 6 + 4) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c4))
        corner = at(corners, s * 6 + 5) * width
        store(lanes, near, corner, added(load(lanes, near, corner), c5))


@inlined
def _freeze(lanes, row, first, end, appearance, smoothness, memory, limit):  # type: ignore[no-untyped-def]
    """Keep what simplices splat whose pixels are all sure of their label."""
    width, j = len(lanes), 0
    starts, corners, weights = appearance.starts, appearance.corners, appearance.splatting
    even_rows = smoothness.splatting
    kept, even_kept = memory.near_kept, memory.even_kept
    for s in range(first, end):  # every simplex is active in such a pass
        length = at(starts, s + 1) - at(starts, s)
        most = ZERO
        for i in range(j, j + length):
            sums = sum_of_rows(row, load(lanes, memory.block, i * width))
            most = max(most, largest(sums))
        memory.sure[s] = most <= np.float32(1) + limit
        for i in range(length if memory.sure[s] else 0):
            p = at(starts, s) + i
            odds = load(lanes, memory.block, (j + i) * width)
            q = divided(odds, sum_of_rows(row, odds))
            for corner in range(6):
                point = at(corners, s * 6 + corner) * width
                value = load(lanes, kept, point)
                store(lanes, kept, point, plus(value, at(weights, p * 6 + corner), q))
            for corner in range(3):
                point = whole_at(even_rows, p * 6 + corner) * width
                value = load(lanes, even_kept, point)
                weight = at(even_rows, p * 6 + 3 + corner)
                store(lanes, even_kept, point, plus(value, weight, q))
        j += length


@inlined
def _still_active(starts, sure, active):  # type: ignore[no-untyped-def]
    """List the simplices that are not frozen; all, where too few froze."""
    count, pixels = 0, 0
    for s in range(len(sure)):
        if sure[s]:
            pixels += at(starts, s + 1) - at(starts, s)
        else:
            active[count] = s
            count += 1
    if pixels < WORTH * at(starts, len(sure)):
        count = len(sure)
        for s in range(count):
            active[s] = s
    return count


@inlined
def _leave(lanes, row, start, length, pixels, block, q):  # type: ignore[no-untyped-def]
    """The probabilities, in the order of the photo."""
    groups, labels, n = q.shape
    flat, place = q.reshape(-1), 0
    for j in range(length):
        odds = load(lanes, block, place)
        store(lanes, block, place, divided(odds, sum_of_rows(row, odds)))
        for group in range(groups):
            first = group * labels * n + at(pixels, start + j)
            for k in range(labels):
                put(flat, first + k * n, at(block, place + k))
            place += len(row)


@inlined
def _blur(lanes, neighbours, values, spare, factor):  # type: ignore[no-untyped-def]
    """Each point plus half of its two neighbours, along one axis after another; then `factor`.

    Returns the array that holds the result, and the other one.
    """
    width, pairs, points = len(lanes), neighbours.reshape(-1), neighbours.shape[1]
    for axis in range(len(neighbours)):
        gain = factor if axis == len(neighbours) - 1 else np.float32(1)
        for i in range(points):
            pair = 2 * (axis * points + i)
            left = load(lanes, values, at(pairs, pair) * width)
            right = load(lanes, values, at(pairs, pair + 1) * width)
            here = load(lanes, values, (i + 1) * width)
            here = plus(here, np.float32(0.5), added(left, right))
            store(lanes, spare, (i + 1) * width, scaled(gain, here))
        values, spare = spare, values
    return values, spare
