"""What every threshold would have scored, from one histogram over all photos.

Both sweeps look at masks. They are diagnostics: no setting of the pipeline comes from them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from stages.confusion import Confusion


class ThresholdSweep:
    """mIoU of raw CAMs over the whole range of background scores, 0..1.

    `counts[t, c]` holds the pixels of true label t whose strongest class is c (0-based), by the bin
    of their score, one of `bins`; pairs that never meet have no entry, for of 1,000 classes all
    would take 2 GB. `truth[t]` also holds pixels of photos without any CAM. Threshold i / bins
    paints the pixels of bins i and above, the rest is background.
    """

    def __init__(self, classes: int, bins: int) -> None:
        """An empty sweep over `classes` classes without the background."""
        self.bins = bins
        self.counts: dict[tuple[int, int], Int64[np.ndarray, " q"]] = {}
        self.truth: Int64[np.ndarray, " t"] = np.zeros(classes + 1, np.int64)

    def add(
        self,
        classes: Sequence[int],
        counts: Int64[np.ndarray, "t k q"],
        truth: Int64[np.ndarray, " t"],
    ) -> None:
        """Add one photo whose CAM has the 0-based `classes`."""
        for label, place in np.argwhere(counts.any(axis=2)).tolist():
            pair = (label, int(classes[place]))
            self.counts[pair] = self.counts.get(pair, 0) + counts[label, place]
        self.truth += truth

    def confusion(self, threshold: float) -> Confusion:
        """The confusion of all photos at `threshold`, rounded to the nearest bin edge."""
        edge, labels = self.edge(threshold), len(self.truth)
        matrix = np.zeros((labels, labels), np.int64)
        for (label, found), counts in self.counts.items():
            matrix[label, found + 1] = counts[edge:].sum()
        matrix[:, 0] = self.truth - matrix.sum(axis=1)
        return Confusion.of(matrix)

    def edge(self, threshold: float) -> int:
        """Number of the bin edge nearest to `threshold`."""
        return int(np.clip(round(threshold * self.bins), 0, self.bins))

    def curve(self) -> Float64[np.ndarray, " e"]:
        """mIoU (union definition) at each of the bins + 1 edges; NaN without any pixel."""
        found = np.zeros((len(self.truth), self.bins + 1), np.int64)  # the last edge paints none
        hits = np.zeros_like(found)
        for (label, one), counts in self.counts.items():
            found[one + 1, :-1] += counts
            if label in (0, one + 1):
                hits[label, :-1] += counts
        found, hits = _from_bin_on(found), _from_bin_on(hits)
        hits[0] = self.truth[0] - hits[0]
        found[0] = self.truth.sum() - found.sum(axis=0)
        return _mean_iou(hits, self.truth[:, None] + found - hits)


class CoverageSweep:
    """mIoU of the labels where only pixels of at least some confidence are kept.

    Pixels by true label, by painted label, and where both agree, in `bins` of the confidence.
    """

    def __init__(self, labels: int, bins: int) -> None:
        """An empty sweep over `labels` labels, background included."""
        self.bins = bins
        self.truth: Int64[np.ndarray, "t q"] = np.zeros((labels, bins), np.int64)
        self.found: Int64[np.ndarray, "t q"] = np.zeros((labels, bins), np.int64)
        self.hits: Int64[np.ndarray, "t q"] = np.zeros((labels, bins), np.int64)

    def add(self, painted: Sequence[int], counts: Int64[np.ndarray, "t k q"]) -> None:
        """Add one photo that shows the labels `painted`; counts: its pixels."""
        own = np.array(painted, np.int64)
        self.truth += counts.sum(axis=1)
        self.found[own] += counts.sum(axis=0)
        self.hits[own] += counts[own, np.arange(len(own))]

    def curve(self) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
        """(coverage, mIoU over what is covered) at each lower bound of confidence."""
        truth, found, hits = (_from_bin_on(each) for each in (self.truth, self.found, self.hits))
        total = max(int(self.truth.sum()), 1)
        return truth.sum(axis=0) / total, _mean_iou(hits, truth + found - hits)


def _from_bin_on(counts: Int64[np.ndarray, "*rows q"]) -> Int64[np.ndarray, "*rows q"]:
    """Sums over each bin and all above."""
    return counts[..., ::-1].cumsum(axis=-1)[..., ::-1]


def _mean_iou(
    hits: Int64[np.ndarray, "c e"], union: Int64[np.ndarray, "c e"]
) -> Float64[np.ndarray, " e"]:
    iou = np.divide(hits, union, out=np.zeros(union.shape), where=union > 0)
    present = (union > 0).sum(axis=0)
    nothing = np.full(present.shape, np.nan)
    return np.divide(iou.sum(axis=0), present, out=nothing, where=present > 0)
