"""Composes the page, the text and the JSON of a comparison of heads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import replacing
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo
from pipeline.context import Context
from stages.compare import Arm
from stages.reports.comparison import Comparison
from stages.reports.comparison_text import comparison_text, count, with_spread
from stages.reports.gallery import Group, row, scored_photos, with_columns
from stages.reports.render import render
from stages.reports.scatter import Dot, Scatter, scatter_chart
from stages.reports.views import Painter

REGIONS = (
    ("overlap", "overlap"),
    *((f"soft/{name}", name) for name in ("S_C", "S_I", "D_C", "D_I")),
    *((f"hard/{name}", f"{name}, hard") for name in ("S_C", "S_I", "D_C", "D_I")),
)
"""Figures of the regions that the page shows, with their headings; compare.json holds all."""


@dataclass(frozen=True)
class Look:
    """How the page looks: nothing of it changes a number."""

    title: str = ""
    shown: int = 4
    thumbnail: int = 224
    quality: int = 78


def write_comparison(
    look: Look, arms: Sequence[Arm], inputs: Mapping[str, Path], out: Path, context: Context
) -> None:
    """Write compare.json, compare.txt and compare.html below `out`.

    Raises FileNotFoundError where an arm is missing, ValueError where arms must not be ranked.
    """
    comparison = Comparison(arms, inputs)
    numbers = comparison.numbers()
    with replacing(out / "compare.json") as path:
        path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    with replacing(out / "compare.txt") as path:
        path.write_text(comparison_text(numbers), encoding="utf-8")
    manifest = Manifest.of(comparison.shared.inputs(), context.places)
    page = render(
        "compare.html",
        title=look.title or f"{manifest.classes.name}: {len(comparison.heads)} heads compared",
        chart=chart(numbers),
        groups=_gallery(look, comparison, manifest, context),
        region_columns=[pair for pair in REGIONS if _shown(numbers, pair[0])],
        variants=list(dict.fromkeys(n for head in numbers["heads"] for n in head["variants"])),
        with_spread=with_spread,
        count=count,
        **numbers,
    )
    with replacing(out / "compare.html") as path:
        path.write_text(page, encoding="utf-8")


def chart(numbers: Mapping[str, Any]) -> Scatter | None:
    """mIoU against multiply-adds: a point a head, and one for each upper bound."""
    dots = []
    for head in numbers["heads"]:
        adds = head["multiply_adds"]
        for figure, kind in ((head["miou"], 1), (head["upper_bound"], 2)):
            if adds and figure:
                spread = None if figure["spread"] is None else 100 * figure["spread"]
                dots.append(Dot(head["head"], adds / 1e9, 100 * figure["mean"], spread, kind))
    size = numbers["heads"][0]["multiply_adds_size"] or ("?", "?")
    return scatter_chart(
        dots,
        title="mIoU against multiply-adds",
        across=f"multiply-adds of the whole network in G, {size[0]} x {size[1]}",
        up="mIoU on val, percent",
    )


def _shown(numbers: Mapping[str, Any], name: str) -> bool:
    return any(name in head["regions"] for head in numbers["heads"])


def _gallery(
    look: Look, comparison: Comparison, manifest: Manifest, context: Context
) -> list[Group]:
    """Val photos from bad to good by the first head, with what each head sees in them."""
    run = comparison.shared
    masks = MaskIndex.of(run.inputs(), context.places) if "masks" in run else None
    painter = Painter(manifest, masks, run.inputs(), look.thumbnail)
    first = [next(iter(comparison.of(head).values())) for head in comparison.heads]
    seed, folders = first[0].arm.seed, [one.evaluate.path for one in first]
    rows = []
    for photo, score in _evenly(_ranked(manifest, masks, folders[0]), look.shown):
        views = painter.predictions(photo, dict(zip(comparison.heads, folders, strict=True)))
        rows.append(row(photo, score, painter, views, quality=look.quality))
    columns = ("Photo", "Mask", *comparison.heads)
    title = f"Val photos, spread from bad to good by {comparison.heads[0]}; seed {seed}"
    return [with_columns(title, columns, rows)] if rows else []


def _ranked(
    manifest: Manifest, masks: MaskIndex | None, predictions: Path
) -> list[tuple[Photo, str]]:
    """Val photos with their score, worst first; in their order where there are no masks."""
    if masks is not None and (scored := scored_photos(manifest, masks, predictions)):
        return [(photo, f"IoU {iou:.1%}") for photo, iou in scored]
    return [(photo, "not scored") for photo in manifest.split("val")]


def _evenly(found: Sequence[tuple[Photo, str]], shown: int) -> list[tuple[Photo, str]]:
    """`shown` of them, from the first to the last."""
    if shown >= len(found):
        return list(found)
    return [found[place * (len(found) - 1) // max(1, shown - 1)] for place in range(shown)]
