"""One picture of what a run does: photo, CAM, pseudo-label, prediction and mask of a few photos.

    python -m stages.reports.picture runs/demo picture.png
    python -m stages.reports.picture runs/voc picture.png --root VOCdevkit/VOC2012 --rows 5
    python -m stages.reports.picture runs/demo picture.png --ids scene-0001 scene-0002

Without --ids it takes train photos spread over the scores, from good to poor, so that the picture
shows the run as it is and not its luckiest photos.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from data.files import replacing
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo
from pipeline.context import Context
from stages.reports.artifacts import Run
from stages.reports.predict import predictor
from stages.reports.views import TRAIN, Drawing, Painter

CELL = (296, 222)
"""(width, height) of a cell in pixels; photos are cut to it around their centre."""
GAP, MARGIN, HEAD = 8, 16, 40
PAPER, INK = (255, 255, 255), (60, 66, 73)
QUANTILES = (0.95, 0.35)
"""Scores between which photos are taken, as shares of all photos that score less."""


def compose(
    run: Run, context: Context, *, ids: Sequence[str] = (), rows: int = 4
) -> UInt8[np.ndarray, "h w 3"]:
    """The grid as RGB, one row a photo, with the columns that the run has anything for.

    Raises:
        ValueError: one of `ids` is no train photo of the run, or the run has none.
    """
    manifest = Manifest.of(run.inputs(), context.places)
    masks = MaskIndex.of(run.inputs(), context.places) if "masks" in run else None
    photos = _named(manifest, ids) if ids else _spread(run, manifest, rows)
    predict = predictor(run.inputs().get("segment"), context)
    painter = Painter(manifest, masks, run.inputs(), max(CELL), predict)
    drawn = [painter.train(photo) for photo in photos]
    kept = [c for c in range(len(TRAIN)) if any(views[c] is not None for views in drawn)]
    width = 2 * MARGIN + len(kept) * (CELL[0] + GAP) - GAP
    height = HEAD + MARGIN + len(drawn) * (CELL[1] + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    for place, column in enumerate(kept):
        left = MARGIN + place * (CELL[0] + GAP)
        pen.text((left, HEAD - 8), TRAIN[column], fill=INK, font=font, anchor="ls")
        for line, views in enumerate(drawn):
            _paste(sheet, views[column], (left, HEAD + line * (CELL[1] + GAP)))
    return np.asarray(sheet)


def _paste(sheet: Image.Image, drawing: Drawing | None, place: tuple[int, int]) -> None:
    if drawing is not None:
        cell = ImageOps.fit(Image.fromarray(drawing.pixels), CELL, Image.Resampling.LANCZOS)
        sheet.paste(cell, place)


def _named(manifest: Manifest, ids: Sequence[str]) -> list[Photo]:
    by_id = {photo.id: photo for photo in manifest.split("train")}
    unknown = [name for name in ids if name not in by_id]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no train photo of this run: see manifest.jsonl")
    return [by_id[name] for name in ids]


def _spread(run: Run, manifest: Manifest, rows: int) -> list[Photo]:
    """Photos from good to poor; each brings tags that no earlier one has, as far as there are."""
    scores = {line["id"]: _score(line) for line in run.lines("inspect", "photos.jsonl")}
    photos = sorted(manifest.split("train"), key=lambda photo: (scores.get(photo.id, 0), photo.id))
    if not photos:
        raise ValueError("the run has no train photo to show")
    chosen: list[Photo] = []
    for share in np.linspace(*QUANTILES, rows):
        seen = {photo.tags for photo in chosen}
        place = share * (len(photos) - 1)
        near = sorted(range(len(photos)), key=lambda at: (abs(at - place), at))
        fresh = [photos[at] for at in near if photos[at].tags not in seen]
        left = [photos[at] for at in near if photos[at] not in chosen]
        chosen += (fresh or left)[:1]
    return chosen


def _score(line: dict[str, Any]) -> float:
    """IoU where the photo has a mask; others come last, by how far CAM and labelling agree."""
    if line.get("iou") is not None:
        return 1 + float(line["iou"])
    return 1 - float(line["disagreement"]) if line.get("disagreement") is not None else 0.0


def main(argv: Sequence[str]) -> int:
    """Write the picture that the command line asks for; 0, or 2 with a message."""
    parser = argparse.ArgumentParser(description="Compose one picture of a finished run.")
    parser.add_argument("run", type=Path, help="folder of the run: runs/<name>")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--root", type=Path, help="folder of the data set (demo: none)")
    parser.add_argument("--masks", type=Path, help="folder of the masks; default: the data set's")
    parser.add_argument("--ids", nargs="+", default=[], help="train photos to show")
    parser.add_argument("--rows", type=int, default=4, help="photos to show without --ids")
    asked = parser.parse_args(argv)
    places = {"dataset.root": asked.root, "masks.root": asked.masks}
    context = Context(places={name: path for name, path in places.items() if path is not None})
    try:
        sheet = compose(Run.at(asked.run), context, ids=asked.ids, rows=asked.rows)
        with replacing(asked.picture) as temporary:
            Image.fromarray(sheet).save(temporary, format="PNG", optimize=True)
    except (ValueError, OSError) as error:
        print(f"picture: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
