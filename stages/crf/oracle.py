"""pydensecrf behind the interface of the other engines: to compare with, where it is installed.

lucasb-eyer/pydensecrf, MIT; installed as `pydensecrf2`. It holds the GIL: one core at a time.
"""

import numpy as np
from jaxtyping import Float32, UInt8

from stages.crf.parameters import Normalization, Numbers


class PydensecrfEngine:
    """Builds its lattices in each inference, as the library does."""

    def __init__(
        self, image: UInt8[np.ndarray, "h w 3"], numbers: Numbers, normalization: Normalization
    ) -> None:
        self._image = np.array(image, order="C")
        self._widths = numbers
        self._normalization = normalization

    def infer(
        self, energies: Float32[np.ndarray, "g k n"], numbers: Numbers, *, margin: float | None
    ) -> Float32[np.ndarray, "g k n"]:
        """See `stages.crf.engines.Engine`; always exact."""
        del margin
        return np.stack([self._answer(each, numbers) for each in energies])

    def _answer(
        self, energies: Float32[np.ndarray, "k n"], numbers: Numbers
    ) -> Float32[np.ndarray, "k n"]:
        from pydensecrf import densecrf

        kind = {
            "symmetric": densecrf.NORMALIZE_SYMMETRIC,
            "before": densecrf.NORMALIZE_BEFORE,
            "after": densecrf.NORMALIZE_AFTER,
            "none": densecrf.NO_NORMALIZATION,
        }[self._normalization]
        height, width = self._image.shape[:2]
        crf = densecrf.DenseCRF2D(width, height, len(energies))
        crf.setUnaryEnergy(np.ascontiguousarray(energies))
        crf.addPairwiseGaussian(
            sxy=self._widths.gaussian_sxy, compat=numbers.gaussian_weight, normalization=kind
        )
        crf.addPairwiseBilateral(
            sxy=self._widths.bilateral_sxy,
            srgb=self._widths.bilateral_srgb,
            rgbim=self._image,
            compat=numbers.bilateral_weight,
            normalization=kind,
        )
        return np.array(crf.inference(numbers.iterations), np.float32)


def make(
    image: UInt8[np.ndarray, "h w 3"],
    numbers: Numbers,
    normalization: Normalization,
) -> PydensecrfEngine:
    """An engine of a photo."""
    return PydensecrfEngine(image, numbers, normalization)
