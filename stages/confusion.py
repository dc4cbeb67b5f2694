"""One int64 confusion matrix over a whole split, and every score that is read off it.

Averaging per photo is impossible by construction: photos add up to one matrix, and all scores are
functions of that matrix.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64, Integer

from data.labels import IGNORE, ignore_in, ignored
from knowledge.classes import MOST_CLASSES

NOISY = 8
"""Maps with runs of less than so many pixels are counted pixel by pixel."""


class Confusion:
    """Counts of (true class, predicted class) over pixels; class 0 is the background.

    `matrix[t, p]` is the number of pixels of true class t that were predicted as p, int64: VOC
    train_aug alone has 1.98e9 pixels, which overflows 32 bits.
    """

    def __init__(self, classes: int) -> None:
        """An empty matrix of `classes` classes, background included (1 to 1001)."""
        if not 1 <= classes <= MOST_CLASSES + 1:
            raise ValueError(f"a label image holds 1 to {MOST_CLASSES + 1} classes, not {classes}")
        self.classes = classes
        self.matrix: Int64[np.ndarray, "c c"] = np.zeros((classes, classes), np.int64)

    @classmethod
    def of(cls, matrix: Int64[np.ndarray, "c c"]) -> "Confusion":
        """The confusion of counts that are already there, as read back from `scores.json`."""
        confusion = cls(matrix.shape[0])
        confusion.matrix += matrix
        return confusion

    def add(
        self, label: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*_size"]
    ) -> None:
        """Count one photo; true pixels of the ignored value (255 of bytes) are left out.

        Raises ValueError where a prediction holds that value or another one that is no class, and
        where a true label is neither a class nor ignored.
        """
        if label.shape != prediction.shape:
            raise ValueError(
                f"label {label.shape} and prediction {prediction.shape} differ in size"
            )
        if label.size == 0:
            return
        label, prediction = label.ravel(), prediction.ravel()
        changed = label[1:] != label[:-1]
        changed |= prediction[1:] != prediction[:-1]
        if NOISY * np.count_nonzero(changed) > label.size:
            self._check(label, prediction)
            self.matrix += _counts(label, prediction, self.classes)
            return
        # Label maps are patches of one class: hundreds of thousands of pixels, some thousand runs.
        starts = np.concatenate([[0], np.flatnonzero(changed) + 1])
        lengths = np.diff(starts, append=label.size)
        rows, columns = label[starts], prediction[starts]
        self._check(rows, columns)
        counted = ~ignored(rows)
        np.add.at(self.matrix, (rows[counted], columns[counted]), lengths[counted])

    def _check(
        self, label: Integer[np.ndarray, " r"], prediction: Integer[np.ndarray, " r"]
    ) -> None:
        beyond = (prediction < 0) | (prediction >= self.classes) | ignored(prediction)
        if beyond.any():
            raise ValueError(
                f"a prediction holds {prediction[beyond].max()}, but classes are 0 to "
                f"{self.classes - 1}: a prediction must name a class at every pixel (255 is no "
                "class among bytes)"
            )
        wrong = label[((label < 0) | (label >= self.classes)) & ~ignored(label)]
        if wrong.size:
            raise ValueError(
                f"a mask holds {wrong.min()}, but classes are 0 to {self.classes - 1} (and "
                f"{ignore_in(label)} to ignore); COCO ids 1-90 vs 1-80: map the category ids first"
            )

    def merge(self, other: "Confusion") -> None:
        """Add the counts of another shard of the same split."""
        if other.classes != self.classes:
            raise ValueError(f"{other.classes} classes cannot be added to {self.classes}")
        self.matrix += other.matrix

    def trivial(self) -> "Confusion":
        """What calling every pixel background would have scored on the same pixels."""
        empty = Confusion(self.classes)
        empty.matrix[:, 0] = self.matrix.sum(axis=1)
        return empty

    @property
    def pixels(self) -> int:
        """Scored pixels (not ignored)."""
        return int(self.matrix.sum())

    def union(self) -> Int64[np.ndarray, " c"]:
        """Pixels of each class in the mask, the prediction or both."""
        hits = np.diag(self.matrix)
        return self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - hits

    def iou(self) -> Float64[np.ndarray, " c"]:
        """Intersection over union of each class; NaN for a class that neither side ever shows."""
        return _ratio(np.diag(self.matrix), self.union())

    def precision(self) -> Float64[np.ndarray, " c"]:
        """Right pixels over predicted pixels; NaN for a class that was never predicted."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(axis=0))

    def recall(self) -> Float64[np.ndarray, " c"]:
        """Right pixels over true pixels; NaN for a class that no mask shows."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(axis=1))

    def miou(self) -> float:
        """Mean IoU over the classes whose union is not empty: the primary definition."""
        return _mean(self.iou()[self.union() > 0])

    def miou_present(self) -> float:
        """Mean IoU over the classes that the masks show: other painted classes cost nothing."""
        return _mean(self.iou()[self.matrix.sum(axis=1) > 0])

    def miou_eps(self) -> float:
        """Mean over all classes of intersection / (union + eps): an absent class counts as 0."""
        return _mean(np.nan_to_num(self.iou(), nan=0.0)) if self.pixels else float("nan")

    def pixel_accuracy(self) -> float:
        """Right pixels over scored pixels."""
        return _mean(_ratio(np.trace(self.matrix)[None], self.matrix.sum()[None]))

    def scores(self, names: Sequence[str]) -> dict[str, object]:
        """All scores as plain JSON values, None where undefined; `names`: background first."""
        if len(names) != self.classes:
            raise ValueError(
                f"{len(names)} names for {self.classes} classes (the background is one)"
            )
        columns = {
            "iou": self.iou(),
            "precision": self.precision(),
            "recall": self.recall(),
        }
        hits = np.diag(self.matrix)
        counts = {
            "pixels": self.matrix.sum(axis=1),
            "false_positives": self.matrix.sum(axis=0) - hits,
            "false_negatives": self.matrix.sum(axis=1) - hits,
        }
        classes = {
            name: {key: _plain(value[c]) for key, value in columns.items()}
            | {key: int(value[c]) for key, value in counts.items()}
            for c, name in enumerate(names)
        }
        return {
            "miou": _plain(self.miou()),
            "miou_present": _plain(self.miou_present()),
            "miou_eps": _plain(self.miou_eps()),
            "pixel_accuracy": _plain(self.pixel_accuracy()),
            "pixels": self.pixels,
            "classes": classes,
        }


def _counts(
    label: Integer[np.ndarray, " n"], prediction: Integer[np.ndarray, " n"], classes: int
) -> Int64[np.ndarray, "c c"]:
    """Pixels by (label, prediction), pixel by pixel, of values that are in order."""
    if label.dtype == np.uint8 and classes <= IGNORE:
        # 256 * 255 < 2^16, so one uint16 key a pixel holds both values: no boolean index.
        key = np.multiply(label, np.uint16(classes), dtype=np.uint16)
        key += prediction.astype(np.uint16)
        counts = np.bincount(key, minlength=256 * classes)
        return counts.reshape(256, classes)[:classes]
    rows = np.where(ignored(label), classes, label.astype(np.int64))  # a row of their own
    counts = np.bincount(rows * classes + prediction, minlength=(classes + 1) * classes)
    return counts.reshape(classes + 1, classes)[:classes]


def _ratio(
    part: Int64[np.ndarray, " c"], whole: Int64[np.ndarray, " c"]
) -> Float64[np.ndarray, " c"]:
    undefined = np.full(whole.shape, np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)


def _mean(values: Float64[np.ndarray, " c"]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _plain(value: float | np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
