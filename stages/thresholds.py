"""The background score of activation maps, chosen without masks.

A threshold belongs to the normalisation of the scores that it cuts: here each class map divided by
its own maximum (`Cam.normalised`), so that scores lie in [0, 1).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64

from data.cams import Cam, read_cam

BINS = 256


def strongest(cam: Cam) -> Float32[np.ndarray, "h4 w4"]:
    """The score map: at each pixel the greatest normalised score of the photo's classes.

    A photo without classes scores 0 everywhere.
    """
    return cam.normalised().max(axis=0, initial=0.0)


def score_histogram(cam: Cam, bins: int = BINS) -> Int64[np.ndarray, " q"]:
    """Pixels by score; bin i holds scores from i / bins.

    Scores of exactly 0 count nothing: the ReLU puts them there whatever lay below, so they are no
    part of the two groups, and a photo without any activation shows no object to tell apart.
    """
    scores = strongest(cam)
    return np.histogram(scores[scores > 0], bins=bins, range=(0, 1))[0].astype(np.int64)


def read_histogram(cams: Iterable[Path]) -> Int64[np.ndarray, " q"]:
    """The sum of the score histograms of CAM files, one in memory at a time."""
    total = np.zeros(BINS, np.int64)
    for path in cams:
        total += score_histogram(read_cam(path))
    return total


def otsu(counts: Int64[np.ndarray, " q"]) -> float:
    """The threshold in (0, 1) with the greatest variance between the two groups that it parts.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979. counts: a histogram of
    [0, 1]. Raises ValueError where fewer than two bins hold anything: there is nothing to part.
    """
    below, above, low, high = _groups(counts)
    return _middle(below * above * (high - low) ** 2)


def li(counts: Int64[np.ndarray, " q"]) -> float:
    """The threshold in (0, 1) of minimum cross entropy between scores and their groups' means.

    Li and Lee, "Minimum cross entropy thresholding", 1993. Where Otsu takes groups of one spread,
    this takes a spread that grows with the mean: many small scores of the background, few and wide
    ones of objects, as in activation maps. It lies below Otsu's.
    Raises ValueError as `otsu`.
    """
    below, above, low, high = _groups(counts)
    return _middle(below * low * np.log(low) + above * high * np.log(high))


METHODS = {"li": li, "otsu": otsu}


def _groups(counts: Int64[np.ndarray, " q"]) -> tuple[Float64[np.ndarray, " c"], ...]:
    """Sizes and mean scores of the groups below and above each inner bin edge; NaN where empty."""
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            "all activation maps hold one and the same score, so no threshold parts objects from "
            "background: look at the classifier's mAP, or set --labels.background fixed"
        )
    moments = counts * (np.arange(len(counts)) + 0.5) / len(counts)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    moment = np.cumsum(moments)[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(below > 0, moment / below, np.nan)
        high = np.where(above > 0, (moments.sum() - moment) / above, np.nan)
    return below, above, low, high


def _middle(merit: Float64[np.ndarray, " c"]) -> float:
    """The inner bin edge of greatest merit; of equal ones (a gap between groups) the middle."""
    top = np.nanmax(merit)
    best = np.flatnonzero(merit >= top - 1e-12 * abs(top))
    return float((best[0] + best[-1]) / 2 + 1) / (len(merit) + 1)


def shares(counts: Int64[np.ndarray, " q"], steps: int = 16) -> list[float]:
    """The histogram in `steps` equal bins, as shares of all pixels that sum to 1."""
    coarse = counts.reshape(steps, -1).sum(axis=1)
    return [round(float(share), 6) for share in coarse / max(int(coarse.sum()), 1)]
