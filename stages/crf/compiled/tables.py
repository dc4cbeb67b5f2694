"""What one inference reads and writes, as named groups of arrays that compiled functions take."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32


class Appearance(NamedTuple):
    """The lattice over position and colour. Its simplices are the order of everything.

    `slicing` and `splatting` are barycentric weights times what the normalisation asks for: of a
    pixel on the 6 corners of its simplex. Arrays are flat: row by row.
    """

    starts: Int32[np.ndarray, " s1"]
    """First pixel of each simplex, and the end."""
    corners: Int32[np.ndarray, " s6"]
    """Lattice points of each simplex, counted from 1."""
    slicing: Float32[np.ndarray, " n6"]
    splatting: Float32[np.ndarray, " n6"]
    neighbours: Int32[np.ndarray, "axes m 2"]
    """Along each axis; 0: not there."""


class Smoothness(NamedTuple):
    """The lattice over positions, pixels in the order of the other lattice.

    A row of 6 a pixel: the bits of 3 whole numbers, the lattice points of its simplex counted from
    1, and their 3 weights. One row is one read.
    """

    slicing: Float32[np.ndarray, " n6p"]
    splatting: Float32[np.ndarray, " n6p"]
    neighbours: Int32[np.ndarray, "axes m 2"]


class Memory(NamedTuple):
    """Working memory of one inference, w floats a pixel or lattice point; point 0 stays 0."""

    logits: Float32[np.ndarray, " nw"]
    """Minus the unary of each pixel, in the order of the lattice; -1e30 beyond the last label."""
    block: Float32[np.ndarray, " bw"]
    """Of the pixels at hand: logits, then their exponentials."""
    near: Float32[np.ndarray, "3 mw"]
    """Values at the points of the appearance lattice: blurred, spare, being splatted."""
    even: Float32[np.ndarray, "3 gw"]
    """The same of the smoothness lattice."""
    near_kept: Float32[np.ndarray, " mw"]
    """What frozen simplices splat; empty without freezing."""
    even_kept: Float32[np.ndarray, " gw"]
    active: Int32[np.ndarray, " s"]
    """Simplices to evaluate."""
    sure: Int32[np.ndarray, " s"]
    """1: frozen."""


class Course(NamedTuple):
    """How an inference proceeds."""

    iterations: int
    near_weight: np.float32
    """Weight of the appearance kernel times the constant of its lattice's filter."""
    even_weight: np.float32
    limit: np.float32
    """Freeze simplices whose pixels' odds against their first label are at most this; 0: never."""
