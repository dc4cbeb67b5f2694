"""The NumPy engine."""

import numpy as np
from jaxtyping import Float32, UInt8

from stages.crf.parameters import Normalization, Numbers
from stages.crf.reference.kernels import bilateral_kernel, gaussian_kernel
from stages.crf.reference.mean_field import mean_field


class ReferenceEngine:
    """NumPy and SciPy, one core; results of pydensecrf."""

    def __init__(
        self, image: UInt8[np.ndarray, "h w 3"], numbers: Numbers, normalization: Normalization
    ) -> None:
        self._smoothness = gaussian_kernel(image.shape[0], image.shape[1], numbers.gaussian_sxy)
        self._appearance = bilateral_kernel(image, numbers.bilateral_sxy, numbers.bilateral_srgb)
        self._normalization = normalization

    def infer(
        self, energies: Float32[np.ndarray, "g k n"], numbers: Numbers, *, margin: float | None
    ) -> Float32[np.ndarray, "g k n"]:
        """See `stages.crf.engines.Engine`; always exact."""
        del margin
        kernels = (
            (numbers.gaussian_weight, self._smoothness, self._normalization),
            (numbers.bilateral_weight, self._appearance, self._normalization),
        )
        return mean_field(energies, kernels, iterations=numbers.iterations)


def make(
    image: UInt8[np.ndarray, "h w 3"],
    numbers: Numbers,
    normalization: Normalization,
) -> ReferenceEngine:
    """An engine of a photo."""
    return ReferenceEngine(image, numbers, normalization)
