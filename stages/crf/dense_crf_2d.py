"""pydensecrf's interface on the engines of this project: change one import.

    from stages.crf.dense_crf_2d import DenseCRF2D     # instead of pydensecrf.densecrf

Names, argument order and defaults are those of lucasb-eyer/pydensecrf: pydensecrf/densecrf.pyx.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from stages.crf.lattice import Lattice, check_image
from stages.crf.parameters import Backend, CrfParameters, Normalization
from stages.crf.reference.kernels import Kernel, positions
from stages.crf.reference.mean_field import mean_field

CONST_KERNEL, DIAG_KERNEL, FULL_KERNEL = 0, 1, 2
"""They differ in learning alone; inference is the same."""
NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER, NORMALIZE_SYMMETRIC = 0, 1, 2, 3
NAMES: dict[int, Normalization] = {
    NO_NORMALIZATION: "none",
    NORMALIZE_BEFORE: "before",
    NORMALIZE_AFTER: "after",
    NORMALIZE_SYMMETRIC: "symmetric",
}
Width = float | int | tuple[float | int, ...]


class Pairwise(NamedTuple):
    """One added kernel; a photo makes it an appearance kernel."""

    sxy: Width
    weight: float
    normalization: Normalization
    srgb: Width = 1.0
    image: UInt8[np.ndarray, "h w 3"] | None = None

    @property
    def plain(self) -> bool:
        """Whether x and y, and the three colours, have one width each."""
        return isinstance(self.sxy, float | int) and isinstance(self.srgb, float | int)


class DenseCRF2D:
    """A dense CRF over a grid of pixels, built up call by call."""

    def __init__(
        self, width: int, height: int, nlabels: int, *, backend: Backend = "numba"
    ) -> None:
        """Of `nlabels` labels; the width comes first, as in pydensecrf."""
        self._size, self._labels = (height, width), nlabels
        self._backend: Backend = backend
        self._unary: Float32[np.ndarray, "k n"] | None = None
        self._kernels: list[Pairwise] = []

    def setUnaryEnergy(self, unary: Float[np.ndarray, "k n"]) -> None:
        """Set the energies, -log of probabilities, (labels, height * width), finite."""
        pixels = self._size[0] * self._size[1]
        if unary.shape != (self._labels, pixels):
            raise ValueError(
                f"the unary is {unary.shape}; {self._labels} labels of {self._size} pixels "
                f"(height, width) need {(self._labels, pixels)}"
            )
        self._unary = np.array(unary, np.float32)

    def addPairwiseGaussian(
        self,
        sxy: Width,
        compat: float | int,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a smoothness kernel; sxy in pixels, (x, y) for two widths."""
        del kernel
        self._kernels.append(Pairwise(sxy, _potts(compat), NAMES[normalization]))

    def addPairwiseBilateral(
        self,
        sxy: Width,
        srgb: Width,
        rgbim: UInt8[np.ndarray, "h w 3"],
        compat: float | int,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add an appearance kernel; srgb in grey levels, a triple for three widths.

        rgbim: the decoded photo, 0..255, before any normalisation; it is copied. Raises ValueError
        for anything else and for a photo of another size.
        """
        del kernel
        check_image(rgbim)
        if rgbim.shape[:2] != self._size:
            raise ValueError(f"the photo is {rgbim.shape[:2]} pixels, the CRF is {self._size}")
        image = np.array(rgbim, order="C")  # the caller's buffer may change before `inference`
        made = Pairwise(sxy, _potts(compat), NAMES[normalization], srgb, image)
        self._kernels.append(made)

    def inference(self, niter: int) -> Float32[np.ndarray, "k n"]:
        """Label probabilities (labels, height * width) after `niter` mean-field steps.

        The usual pair, a smoothness and an appearance kernel with the same normalisation, runs on
        the fast engine; anything else on the NumPy one, with the same results.

        Raises ValueError where no unary was set.
        """
        if self._unary is None:
            raise ValueError("set the unary before inference: setUnaryEnergy")
        if self._labels == 1:
            return np.ones_like(self._unary)
        even = [kernel for kernel in self._kernels if kernel.image is None]
        near = [kernel for kernel in self._kernels if kernel.image is not None]
        alike = len({kernel.normalization for kernel in self._kernels}) == 1
        if len(even) == len(near) == 1 and alike and even[0].plain and near[0].plain:
            return self._fast(niter, even[0], near[0])
        return self._any(niter)

    def _fast(self, niter: int, even: Pairwise, near: Pairwise) -> Float32[np.ndarray, "k n"]:
        assert self._unary is not None
        assert near.image is not None
        parameters = CrfParameters(
            iterations=niter,
            gaussian_sxy=even.sxy,
            gaussian_weight=even.weight,
            bilateral_sxy=near.sxy,
            bilateral_srgb=near.srgb,
            bilateral_weight=near.weight,
            normalization=near.normalization,
            backend=self._backend,
        )
        lattice = Lattice(near.image, parameters)
        q = lattice.refine_energies(self._unary.reshape(self._labels, *self._size))
        return q.reshape(self._unary.shape)

    def _any(self, niter: int) -> Float32[np.ndarray, "k n"]:
        assert self._unary is not None
        energies, filters = self._unary, []
        for pairwise in self._kernels:
            kernel = Kernel.of(_features(pairwise, self._size))
            filters.append((pairwise.weight, kernel, pairwise.normalization))
        return mean_field(energies[None], filters, iterations=niter)[0]


def _features(pairwise: Pairwise, size: tuple[int, int]) -> Float32[np.ndarray, "d n"]:
    """Positions and colours in standard deviations."""
    where = positions(size[0], size[1], 1.0) / _widths(pairwise.sxy, 2)
    if pairwise.image is None:
        return where
    colours = pairwise.image.reshape(-1, 3).T.astype(np.float32) / _widths(pairwise.srgb, 3)
    return np.concatenate([where, colours])


def _widths(width: Width, count: int) -> Float32[np.ndarray, "d 1"]:
    return np.broadcast_to(np.asarray(width, np.float32), (count,))[:, None]


def _potts(compat: object) -> float:
    """Raises ValueError for a table of label pairs."""
    if np.ndim(np.asarray(compat)) > 0:
        raise ValueError("compat must be one number (Potts model); tables are not supported")
    return float(np.asarray(compat))
