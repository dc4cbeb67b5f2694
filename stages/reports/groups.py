"""Which photos the gallery shows: the worst, the median and the best, or the doubtful ones."""

from typing import Any

from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo
from stages.reports.artifacts import Run
from stages.reports.gallery import Group, row, scored_photos, with_columns
from stages.reports.views import REGIONS, TRAIN, VAL, Painter, Predict

RANKED = {
    "worst_by_iou": ("Pseudo-labels: worst", "iou", "IoU {:.1%}"),
    "median_by_iou": ("Pseudo-labels: median", "iou", "IoU {:.1%}"),
    "best_by_iou": ("Pseudo-labels: best", "iou", "IoU {:.1%}"),
}
DOUBTFUL = {
    "doubtful_by_disagreement": (
        "Pseudo-labels: CAM and labelling disagree most",
        "disagreement",
        "{:.1%} of pixels differ",
    ),
    "doubtful_by_confidence": (
        "Pseudo-labels: least confident",
        "confidence",
        "mean confidence {:.1%}",
    ),
}

MOST_REGIONS = 4
"""Photos on which the regions of a network's tokens are shown."""


def gallery(
    run: Run,
    manifest: Manifest,
    masks: MaskIndex | None,
    *,
    shown: int,
    longest: int,
    quality: int,
    predict: Predict | None,
) -> list[Group]:
    """Groups of up to `shown` photos each; pictures of `longest` pixels at JPEG `quality`."""
    painter = Painter(manifest, masks, run.inputs(), longest, predict)
    groups = _train_groups(painter, run, shown, quality=quality)
    if masks is not None and "evaluate" in run:
        groups += _val_groups(painter, run, masks, shown, quality=quality)
    groups.append(_region_group(painter, min(shown, MOST_REGIONS), quality=quality))
    return [group for group in groups if group.rows]


def _train_groups(painter: Painter, run: Run, shown: int, *, quality: int) -> list[Group]:
    lists: dict[str, list[dict[str, Any]]] = run.json("inspect", "quality.json").get("lists", {})
    kinds = RANKED if "worst_by_iou" in lists else DOUBTFUL
    by_id = {photo.id: photo for photo in painter.manifest.split("train")}
    groups = []
    for name, (title, field, wording) in kinds.items():
        lines = [line for line in lists.get(name, []) if line["id"] in by_id][:shown]
        rows = []
        for line in lines:
            photo, score = by_id[line["id"]], wording.format(line[field])
            rows.append(row(photo, score, painter, painter.train(photo), quality=quality))
        groups.append(with_columns(title, TRAIN, rows))
    return groups


def _val_groups(
    painter: Painter, run: Run, masks: MaskIndex, shown: int, *, quality: int
) -> list[Group]:
    ranked = scored_photos(painter.manifest, masks, run.artifacts["evaluate"].path)
    middle = max(0, (len(ranked) - shown) // 2)
    parts: dict[str, list[tuple[Photo, float]]] = {
        "Network: worst": ranked[:shown],
        "Network: median": ranked[middle : middle + shown],
        "Network: best": ranked[::-1][:shown],
    }
    groups = []
    for title, part in parts.items():
        rows = [
            row(photo, f"IoU {iou:.1%}", painter, painter.val(photo), quality=quality)
            for photo, iou in part
        ]
        groups.append(with_columns(title, VAL, rows))
    return groups


def _region_group(painter: Painter, shown: int, *, quality: int) -> Group:
    """Regions over val photos, spread evenly over the split; empty for networks without regions."""
    photos = painter.manifest.split("val")
    rows = []
    for place in range(min(shown, len(photos))):
        photo = photos[place * len(photos) // shown] if len(photos) > shown else photos[place]
        views = painter.regions(photo)
        if views is None:
            break
        said = "colours: the strongest token of each cell"
        rows.append(row(photo, said, painter, views, quality=quality))
    return with_columns("Network: regions of its tokens", REGIONS, rows)
