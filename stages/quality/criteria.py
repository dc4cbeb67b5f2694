"""What speaks for a labelling without a mask, counted photo by photo; and, beside it, the masks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer, UInt8

from data.labels import ignored
from stages.quality.trials import Trials

SHOWN = {
    "painted": "tags that have a pixel",
    "before": "agreement (mIoU) with the step before",
    "others": "agreement (mIoU) with the labels from the other step's scores, same setting",
    "unrefined": "agreement (mIoU) with the scores' winners before the CRF",
    "consensus": "agreement (mIoU) with the majority of all settings",
    "edges": "colour contrast across the labels' borders, mean of the photo = 1",
    "sure": "pixels whose label has a probability of 0.9 or more",
}
"""The criteria, more being better, and what a page calls them. None of them sees a mask."""
TRUTH = "truth"
"""Beside them: overlap with the masks. A diagnostic, which no choice reads."""


class Counts(NamedTuple):
    """One photo at s settings."""

    painted: Int64[np.ndarray, " s"]
    """Classes that have a pixel; they are tags, for labels show nothing else."""
    sure: Float64[np.ndarray, " s"]
    """Share of the pixels."""
    edges: Float64[np.ndarray, " s"]
    """Contrast across borders over the mean contrast; NaN where there is no border."""
    overlaps: Mapping[str, Int64[np.ndarray, "s 3 c"]]
    """By criterion: pixels that both call a label, that the one does, that the other does."""


def counts(
    image: UInt8[np.ndarray, "h w 3"],
    trials: Trials,
    references: Mapping[str, Sequence[Integer[np.ndarray, "h w"]]],
    *,
    classes: int,
) -> Counts:
    """Count one photo; `classes` counts the background.

    references: by criterion, a labelling for each setting (or one for all) to hold the trials
    against; ignored pixels of them do not count.
    """
    found = trials.labels
    compared = {**references, "consensus": [majority(found)]}
    return Counts(
        painted=np.array([np.count_nonzero(np.unique(one)) for one in found], np.int64),
        sure=trials.sure.astype(np.float64),
        edges=border_contrast(image, found),
        overlaps={name: overlaps(one, found, classes) for name, one in compared.items()},
    )


def overlaps(
    references: Sequence[Integer[np.ndarray, "h w"]],
    found: Integer[np.ndarray, "s h w"],
    classes: int,
) -> Int64[np.ndarray, "s 3 c"]:
    """Pixels of each label in both, in the reference, in what was found; one reference serves all.

    Labels of the reference that nobody can have found count in the reference alone.
    """
    counted = np.zeros((len(found), 3, classes), np.int64)
    for place, label in enumerate(found):
        if place < len(references):
            reference = references[place]
            kept = ~ignored(reference)
            own = np.bincount(reference[kept], minlength=classes)
        counted[place, 1] = own
        for name in np.flatnonzero(np.bincount(label.ravel(), minlength=classes)):
            here = label == name
            counted[place, 0, name] = np.count_nonzero(here & (reference == name))
            counted[place, 2, name] = np.count_nonzero(here & kept)
    return counted


def mean_overlap(counted: Int64[np.ndarray, "s 3 c"]) -> Float64[np.ndarray, " s"]:
    """mIoU over the labels that either side shows; NaN without any."""
    both, one, other = (counted[:, place] for place in range(3))
    union = one + other - both
    iou = np.divide(both, union, out=np.zeros(union.shape), where=union > 0)
    present = (union > 0).sum(axis=1)
    undefined = np.full(present.shape, np.nan)
    return np.divide(iou.sum(axis=1), present, out=undefined, where=present > 0)


def majority(found: Integer[np.ndarray, "s h w"]) -> Integer[np.ndarray, "h w"]:
    """The label that most settings give a pixel; of equals the smallest."""
    names = np.unique(found)
    votes = np.stack([(found == name).sum(axis=0, dtype=np.int32) for name in names])
    return names[votes.argmax(axis=0)]


def border_contrast(
    image: UInt8[np.ndarray, "h w 3"], found: Integer[np.ndarray, "s h w"]
) -> Float64[np.ndarray, " s"]:
    """Mean difference of colour between neighbours of different labels over that of all neighbours.

    Differences are summed over the three colours. 1: borders lie anywhere; NaN: no border.
    """
    colours = image.astype(np.int16)
    down = np.abs(np.diff(colours, axis=0)).sum(axis=2, dtype=np.float32)
    across = np.abs(np.diff(colours, axis=1)).sum(axis=2, dtype=np.float32)
    usual = (down.sum(dtype=np.float64) + across.sum(dtype=np.float64)) / max(
        down.size + across.size, 1
    )
    values = np.full(len(found), np.nan)
    for place, label in enumerate(found):
        below, beside = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
        borders = np.count_nonzero(below) + np.count_nonzero(beside)
        if borders and usual:
            total = down[below].sum(dtype=np.float64) + across[beside].sum(dtype=np.float64)
            values[place] = total / borders / usual
    return values
