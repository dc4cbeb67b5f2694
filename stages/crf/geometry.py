"""What the lattice of a photo is made from: widths, scales, and whole numbers that name points.

Numbers in brackets are sections of Adams, Baek and Davis, Eurographics 2010.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64


class Geometry(NamedTuple):
    """The plane of d+1 coordinates that sum to 0, and how a lattice point of it becomes a key.

    A key is the sum of coordinate times stride; coordinate 0 follows from the others and is left
    out. Digits have room for all corners and their neighbours, so a step along the lattice is a
    constant step of the key.
    """

    columns: int
    widths: tuple[np.float32, ...]
    """Standard deviations of x and y in pixels and of the colours in grey levels."""
    scales: tuple[np.float32, ...]
    """Of the axes, see `axis_scales`."""
    strides: Int64[np.ndarray, " d"]
    lowest: Float32[np.ndarray, " coordinates"]
    """Below every multiple of d+1 that a coordinate is rounded to."""
    room: int
    """Above every key."""

    @classmethod
    def of(cls, size: tuple[int, int], widths: tuple[float, ...]) -> "Geometry":
        """Of a photo of (height, width) pixels; two widths: positions, five: colours as well.

        Raises ValueError where lattice points outgrow 64-bit keys.
        """
        d = len(widths)
        scales = axis_scales(d)
        extent = np.array([size[1] - 1, size[0] - 1, 255, 255, 255][:d]) / widths * scales
        low, high = _bounds(extent)
        strides, spans = [1], (high - low)[1:].tolist()
        for span in spans:
            strides.append(strides[-1] * span * (d + 1))
        if strides[-1] * (d + 1) ** (d - 1) >= 2**63:  # ranks are part of a simplex's name
            raise ValueError(
                "the dense CRF's kernel is too narrow for this photo: raise sxy or srgb, or scale"
            )
        return cls(
            size[1],
            tuple(np.float32(width) for width in widths),
            tuple(scales),
            np.array(strides[:-1], np.int64),
            low.astype(np.float32),
            strides[-1],
        )


def axis_scales(dimension: int) -> Float32[np.ndarray, " d"]:
    """Factors of the axes that give splat, blur and slice together unit variance (3.1).

    Rounded twice as densecrf does: a pixel on the border of two simplices then falls into the same.
    """
    deviation = np.float64(np.float32(np.sqrt(2 / 3) * (dimension + 1)))
    axes = np.arange(1, dimension + 1)
    return (1 / np.sqrt(axes * (axes + 1)) * deviation).astype(np.float32)


def _bounds(
    extent: Float64[np.ndarray, " d"],
) -> tuple[Int64[np.ndarray, " coordinates"], Int64[np.ndarray, " coordinates"]]:
    """Least and greatest multiple of d+1 of each coordinate, with room for a corner's neighbours.

    extent: greatest scaled position on each axis; the least is 0.
    """
    d = len(extent)
    above = np.concatenate([np.cumsum(extent[::-1])[::-1], [0]])  # of the axes from here on
    below = np.concatenate([[0], -np.arange(1, d + 1) * extent])
    low, high = np.floor(below / (d + 1)), np.ceil(above / (d + 1))
    return low.astype(np.int64) - 4, high.astype(np.int64) + 4
