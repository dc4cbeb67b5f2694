"""Small photos and scores for the CRF tests, and pydensecrf's answers to them.

    python -m tests.stages.crf.cases      # writes golden.safetensors; needs pydensecrf2

The golden file lets the suite compare with pydensecrf where that cannot be installed.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.crf.parameters import CrfParameters, Normalization

GOLDEN = Path(__file__).with_name("golden.safetensors")
SETTINGS = {  # bilateral sxy, srgb and weight, weight of the smoothness kernel
    "A": (80, 13, 10, 3),
    "B": (50, 5, 10, 3),
    "C": (67, 4, 4, 3),
    "weak": (5, 10, 0.05, 0.02),  # without normalisation a kernel sums to hundreds
}


class Case(NamedTuple):
    setting: str
    labels: int
    size: tuple[int, int]
    normalization: Normalization = "symmetric"

    @property
    def name(self) -> str:
        height, width = self.size
        return f"{self.setting}-{self.labels}-{height}x{width}-{self.normalization}"

    @property
    def parameters(self) -> CrfParameters:
        sxy, srgb, weight, gaussian_weight = SETTINGS[self.setting]
        return CrfParameters(
            bilateral_sxy=sxy,
            bilateral_srgb=srgb,
            bilateral_weight=weight,
            gaussian_weight=gaussian_weight,
            normalization=self.normalization,
        )

    def photo(self) -> np.ndarray:
        """Smooth colours with an edge and some noise."""
        height, width = self.size
        rng = np.random.default_rng(7 * height + width)
        y, x = np.mgrid[:height, :width] / max(self.size)
        colours = np.stack([120 + 90 * np.sin(4 * x), 200 * y, 100 + 80 * (x > 0.6 * y)], axis=2)
        return np.clip(colours + rng.normal(0, 4, colours.shape), 0, 255).astype(np.uint8)

    def probabilities(self) -> np.ndarray:
        """A soft blob a label over a constant background, noisy as upsampled CAMs are not."""
        height, width = self.size
        rng = np.random.default_rng(100 * self.labels + height)
        y, x = np.mgrid[:height, :width]
        scores = np.full((self.labels, height, width), 0.3)
        for label in range(1, self.labels):
            centre = rng.uniform(0, 1, 2) * self.size
            spread = rng.uniform(0.1, 0.4) * max(self.size)
            distance = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
            scores[label] = np.exp(-distance / (2 * spread**2))
        scores *= rng.uniform(0.7, 1.3, scores.shape)
        return (scores / scores.sum(axis=0)).astype(np.float32)


STORED = (
    Case("A", 2, (12, 15)),
    Case("A", 3, (12, 15)),
    Case("B", 3, (12, 15)),
    Case("C", 4, (12, 15)),
    Case("B", 5, (9, 12)),
    Case("C", 21, (6, 8)),
    Case("A", 3, (1, 40)),
    Case("C", 3, (40, 1)),
    Case("B", 3, (8, 11), "before"),
    Case("B", 3, (8, 11), "after"),
    Case("weak", 3, (8, 11), "none"),
)


def pydensecrf_answer(case: Case) -> np.ndarray:
    """Q of pydensecrf, (k, h, w)."""
    from pydensecrf import densecrf

    height, width = case.size
    numbers = case.parameters.numbers()
    kind = {
        "symmetric": densecrf.NORMALIZE_SYMMETRIC,
        "before": densecrf.NORMALIZE_BEFORE,
        "after": densecrf.NORMALIZE_AFTER,
        "none": densecrf.NO_NORMALIZATION,
    }[case.normalization]
    crf = densecrf.DenseCRF2D(width, height, case.labels)
    energies = -np.log(case.probabilities()).reshape(case.labels, -1)
    crf.setUnaryEnergy(np.ascontiguousarray(energies))
    crf.addPairwiseGaussian(
        sxy=numbers.gaussian_sxy, compat=numbers.gaussian_weight, normalization=kind
    )
    crf.addPairwiseBilateral(
        sxy=numbers.bilateral_sxy,
        srgb=numbers.bilateral_srgb,
        rgbim=case.photo(),
        compat=numbers.bilateral_weight,
        normalization=kind,
    )
    q = np.ascontiguousarray(crf.inference(numbers.iterations))
    return q.reshape(case.labels, height, width)


if __name__ == "__main__":
    from safetensors.numpy import save_file

    save_file({case.name: pydensecrf_answer(case) for case in STORED}, GOLDEN)
