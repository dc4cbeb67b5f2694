"""The weight of the background, chosen without masks: where new labels agree most with old ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from data.cams import SCALE, read_cam
from data.labels import read_label
from stages.confusion import Confusion
from stages.pseudo_label import weighed

FACTORS = tuple(float(2 ** (step / 2)) for step in range(-2, 9))
"""Factors on the probability of the background, half an octave apart."""


class Pair(NamedTuple):
    """The files of one photo: new scores, and the complete label that there was before."""

    cam: Path
    label: Path


def confusions(pairs: Sequence[Pair], *, classes: int) -> Int64[np.ndarray, "f c c"]:
    """Old label against new, one matrix a factor, over a quarter of each photo's rows and columns.

    `classes` counts the background. Raises ValueError where scores and label do not fit.
    """
    found = [Confusion(classes) for _ in FACTORS]
    for pair in pairs:
        cam, before = read_cam(pair.cam), read_label(pair.label)
        if before.shape != cam.size:
            raise ValueError(f"{pair.label} is {before.shape}, {pair.cam} is of {cam.size} pixels")
        scores, names = cam.scores(), cam.labels
        first = SCALE // 2
        rows, columns = (
            np.minimum(np.arange(first, side + first, SCALE), side - 1) for side in cam.size
        )
        before = before[np.ix_(rows[: scores.shape[1]], columns[: scores.shape[2]])]
        for confusion, factor in zip(found, FACTORS, strict=True):
            confusion.add(before, names[weighed(scores, factor).argmax(axis=0)])
    return np.stack([confusion.matrix for confusion in found])


def best_factor(matrices: Int64[np.ndarray, "f c c"]) -> tuple[float, list[float]]:
    """The factor of the highest mIoU between old and new labels, and that mIoU for all FACTORS."""
    agreement = [Confusion.of(matrix).miou() for matrix in matrices]
    return FACTORS[int(np.nanargmax(agreement))], agreement
