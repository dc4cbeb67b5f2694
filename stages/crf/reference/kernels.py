"""The two kernels of the dense CRF: smoothness (position) and appearance (position and colour)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8

from stages.crf.parameters import Normalization
from stages.crf.reference.lattice import Lattice


@dataclass(frozen=True)
class Kernel:
    """A lattice with the normalisation of its row sums.

    Krähenbühl and Koltun, "Parameter Learning and Convergent Inference for Dense Random Fields",
    ICML 2013, section 5: dividing by the square roots of the row sums on both sides keeps the
    kernel symmetric.
    """

    lattice: Lattice
    row_sums: Float32[np.ndarray, " n"]

    @classmethod
    def of(cls, features: Float32[np.ndarray, "d n"]) -> "Kernel":
        """Build the lattice of n points and measure its row sums."""
        lattice = Lattice.of(features)
        return cls(lattice, lattice.filter(np.ones((1, features.shape[1]), np.float32))[0])

    def message(
        self, values: Float32[np.ndarray, "c n"], normalization: Normalization
    ) -> Float32[np.ndarray, "c n"]:
        """The normalised Gaussian sum of each row of `values`."""
        inner, outer = EXPONENTS[normalization]
        sums = self.row_sums + np.float32(1e-20)
        if inner:
            values = values * sums ** np.float32(inner)
        filtered = self.lattice.filter(values)
        return filtered * sums ** np.float32(outer) if outer else filtered


EXPONENTS: dict[Normalization, tuple[float, float]] = {
    "symmetric": (-0.5, -0.5),
    "before": (-1, 0),
    "after": (0, -1),
    "none": (0, 0),
}


@lru_cache(maxsize=8)
def gaussian_kernel(height: int, width: int, sxy: float) -> Kernel:
    """The smoothness kernel, which depends on the size of the photo alone; sxy in pixels."""
    return Kernel.of(positions(height, width, sxy))


def bilateral_kernel(image: UInt8[np.ndarray, "h w 3"], sxy: float, srgb: float) -> Kernel:
    """The appearance kernel of a photo; sxy in pixels, srgb in grey levels."""
    colours = image.reshape(-1, 3).T.astype(np.float32) / np.float32(srgb)
    return Kernel.of(np.concatenate([positions(image.shape[0], image.shape[1], sxy), colours]))


def positions(height: int, width: int, sxy: float) -> Float32[np.ndarray, "2 n"]:
    """x and y of every pixel in units of sxy pixels, row by row."""
    y, x = np.mgrid[:height, :width].astype(np.float32).reshape(2, -1)
    return np.stack([x, y]) / np.float32(sxy)
