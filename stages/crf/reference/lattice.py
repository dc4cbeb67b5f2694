"""The permutohedral lattice: Gaussian filtering of n values at n points of d dimensions.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010, here cited by section; rounding, the order of the blur and absent neighbours
(they count 0) as in Krähenbühl and Koltun's densecrf, so that results agree.

The lattice of dimension d lives in the plane of d+1 coordinates that sum to 0. Arrays are planar,
"coordinates n": one row a coordinate.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int64
from scipy import sparse

from stages.crf.geometry import axis_scales


@dataclass(frozen=True)
class Lattice:
    """The lattice points around n points, and the way of values to them, along them and back.

    Build it once for an image with `Lattice.of`, then `filter` as many channels as there are.
    """

    slicing: sparse.csr_matrix
    """(n, m): barycentric weights of each point on the d+1 corners of its simplex (its transpose
    splats)."""
    blurs: tuple[sparse.csr_matrix, ...]
    """d+1 times (m, m): each lattice point plus half of its two neighbours along one axis."""

    @classmethod
    def of(cls, features: Float32[np.ndarray, "d n"]) -> "Lattice":
        """Build the lattice of n points; `features` are their positions in standard deviations.

        Raises ValueError where positions lie so far apart that lattice points outgrow 64-bit keys.
        """
        nearest, rank, weights = embed(features)
        strides = key_strides(nearest)
        corners, simplex = simplex_corners(nearest, rank, strides)
        vertices, corner = np.unique(corners, return_inverse=True)
        columns = corner.reshape(corners.shape).astype(np.int32)[simplex]  # (n, d+1)
        rows = np.arange(0, columns.size + 1, columns.shape[1], dtype=np.int32)
        slicing = sparse.csr_matrix(
            (weights.ravel(), columns.ravel(), rows), shape=(len(columns), len(vertices))
        )
        steps = len(strides) * strides - strides.sum()  # +d along one coordinate, -1 along others
        return cls(slicing, tuple(blur_matrix(vertices, step) for step in steps))

    def filter(self, values: Float32[np.ndarray, "c n"]) -> Float32[np.ndarray, "c n"]:
        """Sum all n points' values by Gaussian weight: splat, blur, slice (3.2 to 3.4)."""
        lattice = self.slicing.T @ np.ascontiguousarray(values.T)
        for blur in self.blurs:
            lattice = blur @ lattice
        lattice *= np.float32(1 / (1 + 2.0 ** -(len(self.blurs) - 1)))
        return np.ascontiguousarray((self.slicing @ lattice).T)


def embed(
    features: Float32[np.ndarray, "d n"],
) -> tuple[
    Int64[np.ndarray, "coordinates n"],
    Int8[np.ndarray, "coordinates n"],
    Float32[np.ndarray, "n coordinates"],
]:
    """Place points in the plane of the lattice and in a simplex of it (3.1 and 3.2).

    Returns the simplex's corner of colour 0 in units of d+1; the rank of each coordinate's
    distance from it, greatest first, which names the simplex at that corner; and the barycentric
    weights of the corners of colours 0 to d.
    """
    elevated = elevate(features)
    size = np.float32(len(elevated))
    multiple = np.rint(elevated * (1 / size))
    rank = ranks(elevated - multiple * size)
    # A rounded point may lie off the plane by whole steps: step back along the extreme ranks.
    rank += multiple.sum(axis=0).astype(np.int8)
    wrap = (rank < 0).astype(np.int8) - (rank >= len(elevated)).astype(np.int8)
    rank += wrap * np.int8(len(elevated))
    multiple += wrap
    offsets = (elevated - multiple * size) * (1 / size)
    return multiple.astype(np.int64), rank, barycentric(offsets, rank)


def elevate(features: Float32[np.ndarray, "d n"]) -> Float32[np.ndarray, "coordinates n"]:
    """Map positions to the plane, scaled so that splat, blur and slice have unit variance."""
    dimension, scales = len(features), axis_scales(len(features))
    elevated = np.empty((dimension + 1, features.shape[1]), np.float32)
    above = np.zeros(features.shape[1], np.float32)
    for axis in range(dimension, 0, -1):
        scaled = features[axis - 1] * scales[axis - 1]
        elevated[axis] = above - np.float32(axis) * scaled
        above += scaled
    elevated[0] = above
    return elevated


def ranks(offsets: Float32[np.ndarray, "coordinates n"]) -> Int8[np.ndarray, "coordinates n"]:
    """How many offsets of a point are greater than each; the later one of equals counts less."""
    rank = np.zeros(offsets.shape, np.int8)
    for one in range(len(offsets)):
        for other in range(one + 1, len(offsets)):
            less = offsets[one] < offsets[other]
            rank[one] += less
            rank[other] += ~less
    return rank


def barycentric(
    offsets: Float32[np.ndarray, "coordinates n"], rank: Int8[np.ndarray, "coordinates n"]
) -> Float32[np.ndarray, "n coordinates"]:
    """Weights of the corners: differences between offsets next to each other by rank (3.2)."""
    count = offsets.shape[1]
    ordered = np.empty((count, len(offsets)), np.float32)  # by falling rank: rising offset
    position = np.arange(count)
    for axis, offset in enumerate(offsets):
        ordered[position, len(offsets) - 1 - rank[axis]] = offset
    weights = np.empty_like(ordered)
    weights[:, 0] = ordered[:, 0] + (np.float32(1) - ordered[:, -1])
    np.subtract(ordered[:, 1:], ordered[:, :-1], out=weights[:, 1:])
    return weights


def key_strides(nearest: Int64[np.ndarray, "coordinates n"]) -> Int64[np.ndarray, " coordinates"]:
    """Strides that make one number of a lattice point: key = sum of coordinate times stride.

    Coordinates sum to 0, so the first is left out (stride 0). Each digit has room for corners
    and their neighbours, hence a step along the lattice is a constant step of the key.
    """
    size = len(nearest)
    spans = (np.ptp(nearest[1:], axis=1) + 5).tolist()  # in units of d+1, two spare on each side
    strides = [0, 1]
    for span in spans[:-1]:
        strides.append(strides[-1] * span * size)
    if strides[-1] * spans[-1] * size >= 2**62:
        raise ValueError(
            "the dense CRF's kernel is too narrow for this photo: raise sxy or srgb, or scale"
        )
    return np.array(strides, np.int64)


def simplex_corners(
    nearest: Int64[np.ndarray, "coordinates n"],
    rank: Int8[np.ndarray, "coordinates n"],
    strides: Int64[np.ndarray, " coordinates"],
) -> tuple[Int64[np.ndarray, "s coordinates"], Int64[np.ndarray, " n"]]:
    """The keys of the corners of all occupied simplices, and the simplex of each point.

    Many points share a simplex: naming corners by simplex is 2 to 7 times less work.
    """
    size = len(nearest)
    place_value = size ** np.arange(size, dtype=np.int64)  # a rank code has d digits of base d+1
    code = place_value[:-1] @ rank[1:].astype(np.int64)
    start = strides @ nearest
    _, first, simplex = np.unique(
        start * place_value[-1] + code, return_index=True, return_inverse=True
    )
    # Corner k is k steps along (1, ..., 1), less d+1 on the k coordinates of the highest rank.
    by_rank = np.empty((size, len(first)), np.int8)
    axes = np.arange(size, dtype=np.int8)[:, None]
    np.put_along_axis(by_rank, size - 1 - rank[:, first].astype(np.int64), axes, axis=0)
    steps = strides.sum() - size * strides[by_rank[:-1]]
    corners = np.empty((len(first), size), np.int64)
    corners[:, 0] = start[first] * size
    corners[:, 1:] = corners[:, :1] + np.cumsum(steps, axis=0).T
    return corners, simplex


def blur_matrix(vertices: Int64[np.ndarray, " m"], step: np.int64) -> sparse.csr_matrix:
    """Blur along one axis with the kernel (1/2, 1, 1/2); an absent neighbour counts 0.

    vertices: the sorted keys of the lattice points; step: from a key to its neighbour's.
    """
    wanted = vertices + step
    found = np.searchsorted(vertices, wanted).astype(np.int32)
    found[found == len(vertices)] = 0
    here = np.flatnonzero(vertices[found] == wanted).astype(np.int32)
    there = found[here]
    half = np.full(len(here), 0.5, np.float32)
    forward = sparse.csr_matrix((half, (here, there)), shape=(len(vertices),) * 2)
    return (sparse.eye_array(len(vertices), dtype=np.float32) + (forward + forward.T)).tocsr()
