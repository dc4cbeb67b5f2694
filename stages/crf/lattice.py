"""The lattices of a photo, made once for as many inferences as one likes."""

import warnings
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8

from stages.crf.engines import available, maker
from stages.crf.parameters import CrfParameters

TINY = 1e-12
"""Probabilities below it count as it: a score of 0 has a finite energy."""


class Lattice:
    """A photo ready for the dense CRF: its points in the space of position and colour.

    It depends on the widths of the kernels and on the normalisation. Sweeps over weights,
    iterations, background scores or labels use one lattice and save a third of each further run.
    Not for two threads at once.
    """

    def __init__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        parameters: CrfParameters,
        *,
        scale: float = 1.0,
    ) -> None:
        """Build the lattices of an RGB photo (0..255 as decoded, not normalised).

        scale: multiplies both widths in pixels.

        Raises ValueError for an image that is not uint8 RGB or empty, for widths so narrow that
        lattice points outgrow 64-bit keys, and for a backend that is not installed.
        """
        check_image(image)
        self.size = (image.shape[0], image.shape[1])
        self._parameters, self._scale = parameters, scale
        backend, said = available(parameters.backend)
        if said:
            _say_once(said)
        make = maker(backend)
        self._engine = make(image, parameters.numbers(scale), parameters.normalization)

    def refine(
        self,
        probabilities: Float[np.ndarray, "*groups k h w"],
        parameters: CrfParameters | None = None,
    ) -> Float32[np.ndarray, "*groups k h w"]:
        """Label probabilities Q of every pixel, from the softmax or scores of the labels present.

        probabilities: at least 0, in any scale of the pixel (the energy is -log, so a factor
        changes nothing); k runs over the labels present; leading groups are independent
        labellings. parameters: other weights, iterations or mode than at the start. Q sums to 1
        over k.

        Raises ValueError for sizes that differ, probabilities that are negative or not finite, and
        parameters that need another lattice.
        """
        return self.refine_energies(energies_of(probabilities, self.size), parameters)

    def refine_energies(
        self,
        energies: Float32[np.ndarray, "*groups k h w"],
        parameters: CrfParameters | None = None,
    ) -> Float32[np.ndarray, "*groups k h w"]:
        """As `refine`, from finite energies: -log of a probability, up to a constant of the pixel.

        Raises ValueError for energies that are not finite, and as `refine`.
        """
        if energies.ndim < 3 or energies.shape[-2:] != self.size or 0 in energies.shape:
            raise ValueError(f"energies {energies.shape} do not fit a photo of {self.size} pixels")
        if not np.isfinite(energies).all():
            raise ValueError("energies for the dense CRF hold NaN or infinite values")
        wanted = self._parameters if parameters is None else parameters
        numbers = wanted.numbers(self._scale)
        self._check(wanted)
        *_, labels, height, width = energies.shape
        if labels == 1:  # nothing to decide
            return np.ones(energies.shape, np.float32)
        groups = np.require(energies, requirements=("C", "W")).reshape(-1, labels, height * width)
        margin = wanted.margin if wanted.mode == "frozen" else None
        return self._engine.infer(groups, numbers, margin=margin).reshape(energies.shape)

    def _check(self, wanted: CrfParameters) -> None:
        own, asked = self._parameters, wanted
        changed = [
            name
            for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb")
            if getattr(own.numbers(), name) != getattr(asked.numbers(), name)
        ]
        changed += [
            name
            for name in ("normalization", "backend")
            if getattr(own, name) != getattr(asked, name)
        ]
        if changed:
            raise ValueError(
                f"another {' and '.join(changed)} needs another Lattice: build a new one"
            )


@cache
def _say_once(line: str) -> None:
    warnings.warn(line, stacklevel=4)


def energies_of(
    probabilities: Float[np.ndarray, "*groups k h w"], size: tuple[int, int]
) -> Float32[np.ndarray, "*groups k h w"]:
    """-log of probabilities of a photo of (height, width) `size`.

    Raises ValueError where they do not fit, are negative or not finite.
    """
    check_probabilities(probabilities, size)
    energies = np.array(probabilities, np.float32)  # first of all: TINY is 0 in half precision
    np.maximum(energies, np.float32(TINY), out=energies)
    np.log(energies, out=energies)
    return np.negative(energies, out=energies)


def check_image(image: np.ndarray) -> None:
    """Raise ValueError for what would pass through the CRF and come out wrong."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"the dense CRF takes a uint8 RGB image (h, w, 3), not {image.dtype} {image.shape}: "
            "give it the decoded photo, before any normalisation"
        )
    if 0 in image.shape:
        raise ValueError(f"an image of {image.shape} has no pixel")


def check_probabilities(probabilities: np.ndarray, size: tuple[int, int]) -> None:
    """Raise ValueError for probabilities that do not fit or are none."""
    if probabilities.shape[-2:] != size or probabilities.ndim < 3:
        raise ValueError(
            f"probabilities {probabilities.shape} do not fit an image of {size} pixels: "
            "give (k, h, w) at the size of the image"
        )
    if 0 in probabilities.shape:
        raise ValueError(f"probabilities {probabilities.shape} have no label or no pixel")
    # One pass: a sum of finite numbers that are at least 0 may overflow, its least element not.
    if not probabilities.min() >= 0 or not np.isfinite(probabilities.max()):
        raise ValueError("probabilities for the dense CRF hold NaN, infinite or negative values")
