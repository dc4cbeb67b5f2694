"""How good are the pseudo-labels? Measured with masks where there are some, and always without.

    python run_pipeline.py --only inspect

Reads the artifacts of `index`, `masks`, `cams` and `labels`; writes

- quality.json: every figure over the whole train split, with the card that it needs (split, mask
  source and hash, number of photos, definition of the metric, how each threshold was chosen);
- photos.jsonl: one row a photo with its own figures, for lists of worst and best photos.

No setting of any other stage depends on this one: masks are looked at here, nothing is chosen here.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from pipeline.context import Context

if TYPE_CHECKING:
    from data.manifest import Manifest, Photo
    from data.masks import MaskIndex
    from stages.quality.photo import PhotoQuality

INPUTS = ("index", "masks", "cams", "labels")
VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the quality measures; none of them changes a pseudo-label."""

    bins: int = Field(256, ge=16, le=1024, description="steps of the threshold sweep over 0..1")
    boundary: float = Field(
        0.02, gt=0, le=0.2, description="band width of the boundary IoU, share of the diagonal"
    )
    listed: int = Field(12, ge=1, le=100, description="photos named in each worst and best list")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Measure every train photo once and write quality.json and photos.jsonl below `out`.

    Raises:
        FileNotFoundError: a pseudo-label or CAM of a train photo is missing.
        ValueError: a mask, label or CAM of a photo has another size than the photo.
    """
    from data.files import replacing
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from stages.quality.summary import Summary

    manifest = Manifest.of(inputs, context.places)
    masks = MaskIndex.of(inputs, context.places)
    summary = Summary(manifest, masks, bins=config.bins, boundary=config.boundary)
    photos = manifest.split("train")
    measured = _measured(photos, manifest, masks, inputs=inputs, config=config)
    for photo, quality in context.track(measured, total=len(photos)):
        summary.add(photo, quality)
    figures, rows = summary.figures(listed=config.listed), summary.rows()
    with replacing(out / "photos.jsonl") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with replacing(out / "quality.json") as path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    shown = ("miou", "miou_cam", "coverage")
    context.figures(**{name: figures[name] for name in shown if figures[name] is not None})


def _measured(
    photos: "tuple[Photo, ...]",
    manifest: "Manifest",
    masks: "MaskIndex",
    *,
    inputs: Mapping[str, Path],
    config: Config,
) -> "Iterator[tuple[Photo, PhotoQuality]]":
    from data.cams import read_cam
    from data.labels import read_grey, read_label
    from stages.quality.photo import Views, measure

    for photo in photos:
        labels = inputs["labels"]
        views = Views(
            label=read_label(labels / f"{photo.id}.png"),
            full=read_label(labels / "full" / f"{photo.id}.png"),
            confidence=read_grey(labels / "confidence" / f"{photo.id}.png"),
            cam=read_cam(inputs["cams"] / f"{photo.id}.npz"),
            mask=masks.read(photo) if masks.path(photo.id) is not None else None,
        )
        classes = len(manifest.classes.names)
        yield photo, measure(
            photo.id, views, classes=classes, bins=config.bins, boundary=config.boundary
        )
