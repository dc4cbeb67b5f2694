"""All figures of a split of pseudo-labels, as written to quality.json and photos.jsonl."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from data.manifest import Manifest
from data.records import Photo
from stages.confusion import Confusion
from stages.quality.photo import CONFIDENCE_BINS, PhotoQuality, Scored
from stages.quality.sweep import CoverageSweep, ThresholdSweep
from stages.quality.unmasked import Areas, Leakage, agreement, duplicates, row

DEFINITION = (
    "mean IoU over the classes with a non-empty union (background included), from one confusion "
    "matrix over all photos; mask pixels of 255 are not scored"
)
SCORES = ("miou", "miou_covered", "miou_ignored_as_background", "miou_cam", "miou_cam_best")


class Background(NamedTuple):
    """The background score that the labels were made with, and how it was chosen."""

    threshold: float
    """Of normalised CAM scores, 0..1."""
    chosen: str


class Totals:
    """Sums over the photos that have a mask."""

    def __init__(self, classes: int, bins: int) -> None:
        """No photo yet; `classes` without the background."""
        labels = classes + 1
        self.photos = 0
        self.full, self.covered, self.filled = (Confusion(labels) for _ in range(3))
        self.background, self.first_tag = Confusion(labels), Confusion(labels)
        self.threshold = ThresholdSweep(classes, bins)
        self.coverage = CoverageSweep(labels, CONFIDENCE_BINS)
        self.boundary: Int64[np.ndarray, "2 t"] = np.zeros((2, labels), np.int64)

    def add(self, quality: PhotoQuality, scored: Scored) -> None:
        """Add one photo."""
        self.photos += 1
        self.full.merge(scored.full)
        self.covered.merge(scored.covered)
        self.filled.merge(scored.filled)
        self.background.merge(scored.full.trivial())
        self.first_tag.matrix[:, quality.classes[0] + 1 if quality.classes else 0] += scored.truth
        self.threshold.add(quality.classes, scored.cam, scored.truth)
        self.coverage.add(quality.painted, scored.confidence)
        self.boundary += scored.boundary

    def figures(self, names: Sequence[str], threshold: float) -> dict[str, Any]:
        """Every score that needs masks; `names` with the background, raw CAMs at `threshold`."""
        curve = self.threshold.curve()
        best, bins = int(np.argmax(np.nan_to_num(curve))), self.threshold.bins
        coverage, covered = self.coverage.curve()
        inner, union = self.boundary
        iou = np.divide(inner, union, out=np.full(len(names), np.nan), where=union > 0)
        scores = self.full.scores(names)
        return {
            "miou": scores["miou"],
            "miou_covered": plain(self.covered.miou()),
            "miou_ignored_as_background": plain(self.filled.miou()),
            "coverage_scored": self.covered.pixels / max(self.full.pixels, 1),
            "miou_cam": plain(curve[self.threshold.edge(threshold)]),
            "miou_cam_best": plain(curve[best]),
            "threshold_best": best / bins,
            "chosen_with_masks": True,
            "chosen_with_masks_names": ["miou_cam_best", "threshold_best", "curves"],
            "miou_boundary": plain(np.nanmean(iou)) if np.isfinite(iou).any() else None,
            "miou_all_background": plain(self.background.miou()),
            "miou_first_tag": plain(self.first_tag.miou()),
            "scores": scores,
            "scores_covered": self.covered.scores(names),
            "boundary_iou": {name: plain(value) for name, value in zip(names, iou, strict=True)},
            "confusion": self.full.matrix.tolist(),
            "curves": {
                "threshold": [place / bins for place in range(bins + 1)],
                "miou_cam": [plain(value) for value in curve],
                "coverage": [float(value) for value in coverage],
                "miou_at_coverage": [plain(value) for value in covered],
            },
        }


class Summary:
    """Adds up photos, then writes down what they show."""

    def __init__(self, manifest: Manifest, bins: int, background: Background) -> None:
        """No photo yet; `bins` of the CAM scores over 0..1, `background` as in force."""
        names = manifest.classes.names
        self.manifest = manifest
        self.background = background
        self.totals = Totals(len(names), bins)
        self.leakage, self.areas = Leakage(names), Areas(names)
        self.pixels = self.ignored = 0
        self.confidence = 0.0
        self._rows: list[dict[str, Any]] = []
        self._agreement: list[Int32[np.ndarray, " e"] | None] = []

    def add(self, photo: Photo, quality: PhotoQuality) -> None:
        """Add one photo of the split."""
        line = row(photo, quality, self.manifest.classes.names)
        scored = quality.scored
        if scored is not None:
            self.totals.add(quality, scored)
            line |= {
                "iou": plain(scored.full.miou()),
                "iou_covered": plain(scored.covered.miou()),
                "accuracy": plain(scored.full.pixel_accuracy()),
            }
        self.areas.add(photo.tags, line["areas"])
        self.leakage.add(quality)
        self.pixels += quality.pixels
        self.ignored += quality.pixels - int(quality.label_pixels.sum())
        self.confidence += quality.confidence * quality.pixels
        self._rows.append(line)
        self._agreement.append(agreement(quality) if quality.classes else None)

    def rows(self) -> list[dict[str, Any]]:
        """One row a photo, in the order in which they were added."""
        edge = self.totals.threshold.edge(self.background.threshold)
        return [
            line | {"disagreement": None if same is None else 1 - int(same[edge]) / line["pixels"]}
            for line, same in zip(self._rows, self._agreement, strict=True)
        ]

    def figures(self, listed: int) -> dict[str, Any]:
        """Everything of quality.json but the card of the masks; lists name `listed` photos each."""
        rows = self.rows()
        names = ("background", *self.manifest.classes.names)
        masked = dict.fromkeys(SCORES)
        if self.totals.photos:
            masked = self.totals.figures(names, self.background.threshold)
        pixels = self.pixels
        apart = [line["disagreement"] for line in rows if line["disagreement"] is not None]
        return {
            **masked,
            "coverage": 1 - self.ignored / pixels if pixels else None,
            "threshold": self.background.threshold,
            "threshold_chosen": self.background.chosen,
            "metric": DEFINITION,
            "split": "train",
            "photos": len(rows),
            "photos_with_mask": self.totals.photos,
            "confidence": self.confidence / pixels if pixels else None,
            "disagreement": float(np.mean(apart)) if apart else None,
            "tags": _tags(rows),
            "areas": self.areas.classes(),
            "leakage": self.leakage.strongest(listed),
            "duplicates": duplicates(self.manifest.photos),
            "lists": _lists(rows, listed),
        }


def _tags(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def total(field: str) -> int:
        return sum(len(line[field]) for line in rows)

    return {
        "total": total("tags"),
        "never_painted": total("never_painted"),
        "never_painted_before_ignore": total("never_painted_before_ignore"),
        "painted_without_tag": total("without_tag"),
        "photos_painted_without_tag": [line["id"] for line in rows if line["without_tag"]],
    }


def _lists(rows: Sequence[Mapping[str, Any]], listed: int) -> dict[str, list[dict[str, Any]]]:
    """Photos by name: worst, median and best by IoU, and those that look doubtful without masks."""
    found = {
        "doubtful_by_disagreement": _ranked(rows, "disagreement")[::-1][:listed],
        "doubtful_by_confidence": _ranked(rows, "confidence")[:listed],
    }
    by_iou = _ranked(rows, "iou")
    if by_iou:
        start = max(0, (len(by_iou) - listed) // 2)
        found["worst_by_iou"] = by_iou[:listed]
        found["median_by_iou"] = by_iou[start : start + listed]
        found["best_by_iou"] = by_iou[::-1][:listed]
    return found


def _ranked(rows: Sequence[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
    ordered = sorted(
        (line for line in rows if line.get(field) is not None),
        key=lambda line: (line[field], line["id"]),
    )
    return [{"id": line["id"], field: line[field]} for line in ordered]


def plain(value: float | np.floating) -> float | None:
    """A JSON number, or None where the score is undefined."""
    return None if np.isnan(value) else float(value)
