"""The lattices of a photo in memory, and inference on them."""

import os
import weakref
from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from stages.crf.compiled.arena import Arena
from stages.crf.compiled.embedding import embed
from stages.crf.compiled.filtering import arrange, fold, row_factors
from stages.crf.compiled.hashing import (
    find_neighbours,
    number_corners,
    number_simplices,
    sort_pixels,
)
from stages.crf.compiled.mean_field import BLOCK, mean_field
from stages.crf.compiled.tables import Appearance, Course, Memory, Smoothness
from stages.crf.geometry import Geometry
from stages.crf.parameters import Normalization, Numbers

WIDEST = 12
"""Floats of a pixel up to which labellings share a pass; 3 of up to 4 labels in practice."""
PADDING = 8
"""Numbers behind the last row of a table."""


class Points(NamedTuple):
    """The lattice of one kernel; pixels in a row share a simplex."""

    pixels: Int32[np.ndarray, " n"]
    starts: Int32[np.ndarray, " s1"]
    corners: Int32[np.ndarray, " sc"]
    neighbours: Int32[np.ndarray, "coordinates m 2"]
    splatting: Float32[np.ndarray, " ncp"]
    slicing: Float32[np.ndarray, " ncp"]


def lattice_points(
    image: UInt8[np.ndarray, " nc"],
    n: int,
    geometry: Geometry,
    normalization: Normalization,
    arena: Arena,
) -> Points:
    """Build the lattice of one kernel. The arrays live in `arena`."""
    size = len(geometry.widths) + 1
    keys, weights = arena.empty(n, np.int64), _rows(n, size, arena)
    embed(image, *geometry[:-1], keys, weights)
    simplex, names = arena.empty(n, np.int32), arena.empty(n, np.int64)
    count = number_simplices(keys, _table(1.3 * n, arena), simplex, names)
    order, starts = arena.empty(count, np.int64), arena.empty(count + 1, np.int32)
    pixels, in_order = arena.empty(n, np.int32), _rows(n, size, arena)
    sort_pixels(geometry.widths, simplex, weights, names[:count], order, starts, pixels, in_order)
    corners, points, table = _corners(order, geometry, arena)
    neighbours = arena.empty((size, len(points), 2), np.int32)
    find_neighbours(points, geometry.strides, table, neighbours)
    made = Points(pixels, starts, corners, neighbours, in_order, in_order)
    return _normalised(made, normalization, weights, arena)


def _rows(n: int, size: int, arena: Arena) -> Float32[np.ndarray, " ncp"]:
    """Room for n rows, and zeros behind, so that a row may be read 8 numbers at a time."""
    rows = arena.empty(n * size + PADDING, np.float32)
    rows[-PADDING:] = 0
    return rows


def _normalised(
    points: Points,
    normalization: Normalization,
    spare: Float32[np.ndarray, " ncp"],
    arena: Arena,
) -> Points:
    """Put the normalisation by row sums into the weights; `spare` may hold one side's."""
    if normalization == "none":
        return points
    factors, weights = arena.empty(len(points.pixels), np.float32), points.splatting
    size, root = len(points.neighbours), normalization == "symmetric"
    lanes = (0,) * (8 if size > 4 else 4)
    row_factors(lanes, points.starts, points.corners, weights, points.neighbours, root, factors)
    folded = weights if root else spare
    fold(size, weights, factors, folded)
    splatting = weights if normalization == "after" else folded
    slicing = weights if normalization == "before" else folded
    return points._replace(splatting=splatting, slicing=slicing)


def _corners(
    order: Int64[np.ndarray, " s"], geometry: Geometry, arena: Arena
) -> tuple[Int32[np.ndarray, " sc"], Int64[np.ndarray, " m"], Int64[np.ndarray, " slots"]]:
    """Corners of the simplices, keys of all lattice points and the table that finds them."""
    size = len(geometry.widths) + 1
    corners = arena.empty(len(order) * size, np.int32)
    points = arena.empty(len(order) * size, np.int64)
    table = _table(2.5 * len(order), arena)
    while True:
        count = number_corners(order, geometry.widths, geometry.strides, table, corners, points)
        if count >= 0:
            return corners, points[:count], table
        table = _table(float(len(table)), arena)  # noise has several lattice points a pixel


def _table(slots: float, arena: Arena) -> Int64[np.ndarray, " slots"]:
    """A hash table of at least so many slots, rounded up to a power of two."""
    return arena.empty(2 << max(8, int(np.ceil(np.log2(slots)))), np.int64)


class Grid(NamedTuple):
    """The lattice over positions, which depends on the size of a photo alone; see `Smoothness`."""

    slicing: Float32[np.ndarray, " n6p"]
    splatting: Float32[np.ndarray, " n6p"]
    neighbours: Int32[np.ndarray, "3 m 2"]


@lru_cache(maxsize=8)
def grid(size: tuple[int, int], sxy: float, normalization: Normalization) -> Grid:
    """The smoothness lattice of photos of one (height, width), row by row; sxy in pixels."""
    n = size[0] * size[1]
    geometry = Geometry.of(size, (sxy, sxy))
    made = lattice_points(np.empty(0, np.uint8), n, geometry, normalization, Arena())
    rows = []
    for weights in (made.slicing, made.splatting):
        table = np.zeros(6 * n + PADDING, np.float32)
        lines = table[: 6 * n].reshape(n, 6)
        corners = np.repeat(made.corners.reshape(-1, 3), np.diff(made.starts), axis=0)
        lines.view(np.int32)[made.pixels, :3] = corners
        lines[made.pixels, 3:] = weights[: 3 * n].reshape(n, 3)
        rows.append(table)
    slicing, splatting = rows
    if normalization in ("symmetric", "none"):
        splatting = slicing
    return Grid(slicing, splatting, made.neighbours.copy())


class CompiledEngine:
    """Both lattices of one photo, for inferences that differ in unaries, weights and iterations."""

    def __init__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        numbers: Numbers,
        normalization: Normalization,
        *,
        arena: Arena | None = None,
    ) -> None:
        """Build the lattices. `arena` lends the memory: until its reset, this object is of use."""
        self._arena = arena or Arena()
        size, n = (image.shape[0], image.shape[1]), image.shape[0] * image.shape[1]
        near = (numbers.bilateral_sxy,) * 2 + (numbers.bilateral_srgb,) * 3
        colours = np.array(image, order="C").reshape(-1)
        geometry = Geometry.of(size, near)
        made = lattice_points(colours, n, geometry, normalization, self._arena)
        self._pixels = made.pixels
        self._appearance = Appearance(
            made.starts, made.corners, made.slicing, made.splatting, made.neighbours
        )
        even = grid(size, numbers.gaussian_sxy, normalization)
        slicing = splatting = _rows(n, 6, self._arena)
        arrange((0,) * 8, made.pixels, even.slicing, slicing)
        if even.splatting is not even.slicing:
            splatting = _rows(n, 6, self._arena)
            arrange((0,) * 8, made.pixels, even.splatting, splatting)
        self._smoothness = Smoothness(slicing, splatting, even.neighbours)
        self._memories: dict[int, Memory] = {}

    @property
    def points(self) -> int:
        """Lattice points of the appearance kernel."""
        return self._appearance.neighbours.shape[1]

    def infer(
        self,
        energies: Float32[np.ndarray, "g k n"],
        numbers: Numbers,
        *,
        margin: float | None = None,
    ) -> Float32[np.ndarray, "g k n"]:
        """Label probabilities after mean field. margin: see `CrfParameters`; None: exact."""
        width = lanes_of(energies.shape[1])
        course = Course(
            numbers.iterations,
            np.float32(numbers.bilateral_weight / (1 + 2.0**-5)),
            np.float32(numbers.gaussian_weight / (1 + 2.0**-2)),
            np.float32(0 if margin is None else np.exp(-margin)),
        )
        q = np.empty(energies.shape, np.float32)
        together = max(1, WIDEST // width)
        for first in range(0, len(energies), together):
            part = energies[first : first + together]
            mean_field(
                (0,) * (len(part) * width),
                (0,) * width,
                part,
                self._pixels,
                self._appearance,
                self._smoothness,
                course,
                self._memory_of(len(part) * width, margin is not None),
                q[first : first + together],
            )
        return q

    def _memory_of(self, width: int, freezing: bool) -> Memory:
        """Working memory, kept for the next inference of the same kind."""
        kept = self._memories.get(width)
        if kept is None or (freezing and not len(kept.near_kept)):
            near, even = (
                (kernel.neighbours.shape[1] + 1) * width
                for kernel in (self._appearance, self._smoothness)
            )
            empty, starts = self._arena.empty, self._appearance.starts
            longest = BLOCK + int(np.diff(starts).max())
            kept = Memory(
                empty(len(self._pixels) * width, np.float32),
                empty(longest * width, np.float32),
                empty((3, near), np.float32),
                empty((3, even), np.float32),
                empty(near if freezing else 0, np.float32),
                empty(even if freezing else 0, np.float32),
                empty(len(starts) - 1, np.int32),
                empty(len(starts) - 1, np.int32),
            )
            kept.near[:, :width] = 0
            kept.even[:, :width] = 0
            self._memories[width] = kept
        return kept


def make(
    image: UInt8[np.ndarray, "h w 3"], numbers: Numbers, normalization: Normalization
) -> CompiledEngine:
    """An engine of a photo, in memory that it gives to a later one when it is no longer used."""
    try:
        arena = FREE.pop()
    except IndexError:
        arena = Arena()
    engine = CompiledEngine(image, numbers, normalization, arena=arena)
    weakref.finalize(engine, _give_back, arena).atexit = False
    return engine


def _give_back(arena: Arena) -> None:
    arena.reset()
    FREE.append(arena)


FREE: deque[Arena] = deque(maxlen=os.cpu_count() or 1)
"""Memory of engines that are gone, for any thread; as many as run side by side."""


def lanes_of(labels: int) -> int:
    """Floats that a pixel's labels take: a power of two, which LLVM makes the best of."""
    return max(2, 1 << (labels - 1).bit_length())
