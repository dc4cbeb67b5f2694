"""Refine label probabilities of a photo by the dense CRF."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8

from stages.crf.kernels import bilateral_kernel, gaussian_kernel
from stages.crf.mean_field import mean_field
from stages.crf.parameters import CrfParameters, Normalization, Numbers

Backend = Literal["reference"]

TINY = 1e-12
"""Probabilities below it count as it: a score of 0 has a finite energy."""


def refine(
    image: UInt8[np.ndarray, "h w 3"],
    probabilities: Float[np.ndarray, "*groups k h w"],
    parameters: CrfParameters,
    *,
    scale: float = 1.0,
    backend: Backend = "reference",
) -> Float32[np.ndarray, "*groups k h w"]:
    """Label probabilities Q of every pixel, from the softmax or scores of the labels present.

    image: RGB 0..255 as decoded, not normalised. probabilities: at least 0, in any scale of the
    pixel (the energy is -log, so a factor changes nothing); axis k runs over the labels present.
    Leading groups are independent labellings of the same photo: they share its lattices, which is
    cheaper than one call each. scale: multiplies both widths in pixels.
    Q sums to 1 over k.

    Raises ValueError for an image that is not uint8 RGB, sizes that differ, and probabilities that
    are negative or not finite.
    """
    check(image, probabilities)
    *groups, labels, height, width = probabilities.shape
    if labels == 1:  # nothing to decide; a one-label unary has no other label to compare with
        return np.ones(probabilities.shape, np.float32)
    energies = -np.log(np.maximum(probabilities, TINY)).astype(np.float32)
    unary = energies.reshape(-1, labels, height * width)
    numbers = parameters.numbers(scale)
    q = BACKENDS[backend](image, unary, numbers, parameters.normalization)
    return q.reshape(*groups, labels, height, width)


def check(image: np.ndarray, probabilities: np.ndarray) -> None:
    """Raise ValueError for what would pass through the CRF and come out wrong."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"the dense CRF takes a uint8 RGB image (h, w, 3), not {image.dtype} {image.shape}: "
            "give it the decoded photo, before any normalisation"
        )
    if probabilities.shape[-2:] != image.shape[:2] or probabilities.ndim < 3:
        raise ValueError(
            f"probabilities {probabilities.shape} do not fit an image of {image.shape[:2]} pixels: "
            "give (k, h, w) at the size of the image"
        )
    if 0 in probabilities.shape:
        raise ValueError(f"probabilities {probabilities.shape} have no label or no pixel")
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ValueError("probabilities for the dense CRF hold NaN, infinite or negative values")


def reference(
    image: UInt8[np.ndarray, "h w 3"],
    unary: Float32[np.ndarray, "g k n"],
    numbers: Numbers,
    normalization: Normalization,
) -> Float32[np.ndarray, "g k n"]:
    """NumPy and SciPy, one core; results of pydensecrf."""
    if numbers.iterations == 0:
        return mean_field(unary, (), iterations=0, normalization=normalization)
    smoothness = gaussian_kernel(image.shape[0], image.shape[1], numbers.gaussian_sxy)
    appearance = bilateral_kernel(image, numbers.bilateral_sxy, numbers.bilateral_srgb)
    return mean_field(
        unary,
        ((numbers.gaussian_weight, smoothness), (numbers.bilateral_weight, appearance)),
        iterations=numbers.iterations,
        normalization=normalization,
    )


BACKENDS: dict[Backend, Callable[..., np.ndarray]] = {"reference": reference}
