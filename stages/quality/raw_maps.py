"""Raw activation maps against masks, without files: the counts and figures that `inspect` gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer
from torch import Tensor

from data.cams import Cam, rounded
from data.labels import ignored
from stages.quality.summary import plain
from stages.quality.sweep import ThresholdSweep
from stages.thresholds import BINS, li, score_histogram


def kept_cam(classes: Sequence[int], maps: Tensor, size: tuple[int, int]) -> Cam:
    """The maps of a photo of (height, width) `size` as they come back from their file."""
    return rounded(Cam(np.array(classes, dtype=np.int64), maps.cpu().numpy(), size))


@dataclass(frozen=True)
class PhotoCounts:
    """What one photo adds to the scores of one classifier's maps."""

    classes: tuple[int, ...]
    """0-based classes of the maps."""
    histogram: Int64[np.ndarray, " q"]
    """Cells of the maps by score, for the background score."""
    counts: Int64[np.ndarray, "t k b"] | None
    """Pixels by true label, strongest class and score; None without a mask."""
    truth: Int64[np.ndarray, " t"] | None
    """Mask pixels by label."""

    @classmethod
    def of(
        cls, cam: Cam, mask: Integer[np.ndarray, "h w"] | None, *, bins: int, labels: int
    ) -> "PhotoCounts":
        """Count one photo; `labels` with the background, `bins` of the score over 0..1."""
        classes = tuple(int(one) for one in cam.classes)
        histogram = score_histogram(cam)
        if mask is None:
            return cls(classes, histogram, None, None)
        judged = ~ignored(mask)
        truth = mask[judged].astype(np.int64)
        total = np.bincount(truth, minlength=labels)
        sizes = (labels, len(classes), bins)
        if not classes:
            return cls(classes, histogram, np.zeros(sizes, np.int64), total)
        maps = cam.upsampled(cam.normalised())
        place = maps.argmax(axis=0)[judged]
        score = np.minimum((maps.max(axis=0)[judged] * bins).astype(np.int64), bins - 1)
        key = (truth * len(classes) + place) * bins + score
        counts = np.bincount(key, minlength=int(np.prod(sizes))).reshape(sizes)
        return cls(classes, histogram, counts, total)


class MapScores:
    """Adds up the photos of one classifier, then says how good its raw maps are."""

    def __init__(self, names: Sequence[str], bins: int) -> None:
        """No photo yet; `names` of the classes without the background."""
        self.names = ("background", *names)
        self.sweep = ThresholdSweep(len(names), bins)
        self.histogram: Int64[np.ndarray, " q"] = np.zeros(BINS, np.int64)
        self.photos = 0

    def add(self, photo: PhotoCounts) -> None:
        """Add one photo; one without a mask counts for the background score alone."""
        self.histogram += photo.histogram
        if photo.counts is not None and photo.truth is not None:
            self.sweep.add(photo.classes, photo.counts, photo.truth)
            self.photos += 1

    def figures(self) -> dict[str, Any]:
        """mIoU at Li's background score and at the best one, which masks chose; IoU by class.

        Null where nothing can be said: no mask, or maps that know no threshold.
        """
        curve = self.sweep.curve()
        best = int(np.argmax(np.nan_to_num(curve)))
        figures: dict[str, Any] = {
            "photos": self.photos,
            "miou": None,
            "threshold": None,
            "threshold_chosen": "Li's minimum cross entropy over these maps, without masks",
            "miou_best_with_masks": plain(curve[best]),
            "threshold_best_with_masks": best / self.sweep.bins,
            "iou": {},
        }
        try:
            threshold = li(self.histogram)
        except ValueError:  # all activations alike
            return figures
        confusion = self.sweep.confusion(threshold)
        iou = {name: plain(one) for name, one in zip(self.names, confusion.iou(), strict=True)}
        miou = plain(curve[self.sweep.edge(threshold)])
        return {**figures, "miou": miou, "threshold": threshold, "iou": iou}
