"""How good are the pseudo-labels? Measured with masks where there are some, and always without.

    python run_pipeline.py --only inspect

Reads the artifacts of `index`, `masks`, `cams` and `labels`; writes

- quality.json: every figure over the whole train split, with the card that it needs (split, mask
  source and hash, number of photos, definition of the metric, how each threshold was chosen);
- photos.jsonl: one row a photo with its own figures, for lists of worst and best photos.

No setting of any other stage depends on this one: masks are looked at here, nothing is chosen here.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from pipeline.context import Context

if TYPE_CHECKING:
    from data.manifest import Manifest, Photo
    from data.masks import MaskIndex
    from stages.quality.photo import PhotoQuality

    Item = tuple[int, Photo, MaskIndex | None]

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
    from data.files import replacing, write_lines
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from pipeline.parallel import map_unordered
    from stages.quality.summary import Summary

    manifest = Manifest.of(inputs, context.places)
    masks = MaskIndex.of(inputs, context.places)
    by_id = {mask.id: mask for mask in masks.masks}
    photos = manifest.split("train")
    # Each photo travels with its own mask only: an index of thousands would travel with each.
    items = (
        (place, photo, replace(masks, masks=(by_id[photo.id],)) if photo.id in by_id else None)
        for place, photo in enumerate(photos)
    )
    classes = len(manifest.classes.names)
    work = partial(_measure, config=config, classes=classes, folders=_folders(inputs))
    measured = map_unordered(work, items, workers=context.workers, name=_name)
    summary = Summary(manifest, config.bins)
    for place, quality in _in_order(context.track(measured, total=len(photos))):
        summary.add(photos[place], quality)
    figures = summary.figures(config.listed) | _card(config, manifest, masks)
    write_lines(out / "photos.jsonl", summary.rows())
    with replacing(out / "quality.json") as path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    shown = ("miou", "miou_cam", "coverage")
    context.figures(**{name: figures[name] for name in shown if figures[name] is not None})


def _folders(inputs: Mapping[str, Path]) -> dict[str, Path]:
    return {name: inputs[name] for name in ("cams", "labels")}


def _name(item: "Item") -> str:
    return item[1].id


def _measure(
    item: "Item", *, config: Config, classes: int, folders: Mapping[str, Path]
) -> "tuple[int, PhotoQuality]":
    from data.cams import read_cam
    from data.labels import read_grey, read_label
    from stages.quality.photo import Views, measure

    place, photo, masks = item
    labels, name = folders["labels"], f"{photo.id}.png"
    views = Views(
        label=read_label(labels / name),
        full=read_label(labels / "full" / name),
        confidence=read_grey(labels / "confidence" / name),
        cam=read_cam(folders["cams"] / f"{photo.id}.npz"),
        mask=None if masks is None else masks.read(photo),
    )
    found = measure(photo.id, views, classes=classes, bins=config.bins, boundary=config.boundary)
    return place, found


def _in_order(
    found: "Iterable[tuple[int, PhotoQuality]]",
) -> "Iterator[tuple[int, PhotoQuality]]":
    """The same pairs by ascending place: sums of floats then do not depend on who was first."""
    waiting: dict[int, PhotoQuality] = {}
    following = 0
    for place, quality in found:
        waiting[place] = quality
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


def _card(config: Config, manifest: "Manifest", masks: "MaskIndex") -> dict[str, object]:
    """What a reader must know about the masks and the measures."""
    known = {photo.id for photo in manifest.split("train")}
    used = [mask for mask in masks.masks if mask.id in known]
    lines = "".join(f"{mask.id} {mask.sha256}\n" for mask in used)
    return {
        "masks_sha256": hashlib.sha256(lines.encode()).hexdigest() if used else None,
        "masks_missing": None if used else "no train photo has a mask: scores are null",
        "boundary": f"bands of {config.boundary:g} of the diagonal, chessboard distance",
        "miou_of": "the complete labelling before the ignore band (labels/full)",
    }
