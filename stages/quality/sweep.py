"""What every threshold would have scored, from one histogram over all photos.

Both sweeps look at masks. They are diagnostics: no setting of the pipeline comes from them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from stages.confusion import Confusion


class ThresholdSweep:
    """mIoU of raw CAMs over the whole range of background scores, 0..1.

    `counts[t, c, q]` is the number of pixels of true label t whose strongest class is c (0-based)
    with a score in bin q of `bins`; `truth[t]` also holds pixels of photos without any CAM.
    Threshold i / bins paints the pixels of bins i and above, the rest is background.
    """

    def __init__(self, classes: int, bins: int) -> None:
        """An empty sweep over `classes` classes without the background."""
        self.bins = bins
        self.counts: Int64[np.ndarray, "t c q"] = np.zeros((classes + 1, classes, bins), np.int64)
        self.truth: Int64[np.ndarray, " t"] = np.zeros(classes + 1, np.int64)

    def add(
        self,
        classes: Sequence[int],
        counts: Int64[np.ndarray, "t k q"],
        truth: Int64[np.ndarray, " t"],
    ) -> None:
        """Add one photo whose CAM has the 0-based `classes`."""
        self.counts[:, list(classes)] += counts
        self.truth += truth

    def confusion(self, threshold: float) -> Confusion:
        """The confusion of all photos at `threshold`, rounded to the nearest bin edge."""
        edge = self.edge(threshold)
        painted = self.counts[:, :, edge:].sum(axis=2)
        background = self.truth - painted.sum(axis=1)
        return Confusion.of(np.concatenate([background[:, None], painted], axis=1))

    def edge(self, threshold: float) -> int:
        """Number of the bin edge nearest to `threshold`."""
        return int(np.clip(round(threshold * self.bins), 0, self.bins))

    def curve(self) -> Float64[np.ndarray, " e"]:
        """mIoU (union definition) at each of the bins + 1 edges; NaN without any pixel."""
        painted = self.counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        painted = np.concatenate([painted, np.zeros_like(painted[:, :, :1])], axis=2)  # (t, c, e)
        objects = painted.sum(axis=1)  # (t, e)
        classes = np.arange(painted.shape[1])
        hits = np.concatenate([(self.truth[0] - objects[0])[None], painted[classes + 1, classes]])
        background = self.truth.sum() - objects.sum(axis=0)
        found = np.concatenate([background[None], painted.sum(axis=0)])
        return _mean_iou(hits, self.truth[:, None] + found - hits)


class CoverageSweep:
    """mIoU of the labels where only pixels of at least some confidence are kept.

    `counts[t, p, q]` is the number of pixels of true label t painted p with a confidence in bin q.
    """

    def __init__(self, labels: int, bins: int) -> None:
        """An empty sweep over `labels` labels, background included."""
        self.bins = bins
        self.counts: Int64[np.ndarray, "t p q"] = np.zeros((labels, labels, bins), np.int64)

    def add(self, painted: Sequence[int], counts: Int64[np.ndarray, "t k q"]) -> None:
        """Add one photo that shows the labels `painted`."""
        self.counts[:, list(painted)] += counts

    def curve(self) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
        """(coverage, mIoU over what is covered) at each lower bound of confidence."""
        kept = self.counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        labels = np.arange(kept.shape[0])
        hits = kept[labels, labels]
        miou = _mean_iou(hits, kept.sum(axis=1) + kept.sum(axis=0) - hits)
        total = max(int(self.counts.sum()), 1)
        return kept.sum(axis=(0, 1)) / total, miou


def _mean_iou(
    hits: Int64[np.ndarray, "c e"], union: Int64[np.ndarray, "c e"]
) -> Float64[np.ndarray, " e"]:
    iou = np.divide(hits, union, out=np.zeros(union.shape), where=union > 0)
    present = (union > 0).sum(axis=0)
    nothing = np.full(present.shape, np.nan)
    return np.divide(iou.sum(axis=0), present, out=nothing, where=present > 0)
