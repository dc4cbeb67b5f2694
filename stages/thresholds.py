"""The background score of activation maps, chosen without masks.

A threshold belongs to the normalisation of the scores that it cuts: here each class map divided by
its own maximum (`Cam.normalised`), so that scores lie in [0, 1).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from data.cams import Cam, read_cam

BINS = 256


def strongest(cam: Cam) -> Float32[np.ndarray, "h4 w4"]:
    """The score map: at each pixel the greatest normalised score of the photo's classes.

    A photo without classes scores 0 everywhere.
    """
    return cam.normalised().max(axis=0, initial=0.0)


def score_histogram(cam: Cam, bins: int = BINS) -> Int64[np.ndarray, " q"]:
    """Pixels by score; bin i holds scores from i / bins.

    A photo without any activation counts nothing: it shows no object to tell from background.
    """
    scores = strongest(cam)
    if not scores.any():
        return np.zeros(bins, np.int64)
    return np.histogram(scores, bins=bins, range=(0, 1))[0].astype(np.int64)


def read_histogram(cams: Iterable[Path]) -> Int64[np.ndarray, " q"]:
    """The sum of the score histograms of CAM files, one in memory at a time."""
    total = np.zeros(BINS, np.int64)
    for path in cams:
        total += score_histogram(read_cam(path))
    return total


def otsu(counts: Int64[np.ndarray, " q"]) -> float:
    """The threshold in (0, 1) that best parts a histogram of [0, 1] into two groups.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979: greatest variance between
    the groups; of several equal cuts (a gap between the groups) the middle one.
    Raises ValueError where fewer than two bins hold anything: there is nothing to part.
    """
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            "all activation maps hold one and the same score, so no threshold parts objects from "
            "background: look at the classifier's mAP, or set --labels.background fixed"
        )
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    moment = np.cumsum(counts * centres)[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):  # an empty group has no mean
        gap = (counts @ centres - moment) / above - moment / below
        between = np.nan_to_num(below * above * gap**2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float((best[0] + best[-1]) / 2 + 1) / len(counts)


def shares(counts: Int64[np.ndarray, " q"], steps: int = 16) -> list[float]:
    """The histogram in `steps` equal bins, as shares of all pixels that sum to 1."""
    coarse = counts.reshape(steps, -1).sum(axis=1)
    return [round(float(share), 6) for share in coarse / max(int(coarse.sum()), 1)]
