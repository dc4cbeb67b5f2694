"""Score a folder of predictions against a folder of masks, by the protocol of the field.

python run_pipeline.py score runs/voc/evaluate VOCdevkit/VOC2012/SegmentationClass --classes voc \
    --list VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt
python run_pipeline.py score runs/voc/labels masks --classes voc --list train.txt --ignore-band
python run_pipeline.py score predictions masks --classes names.txt --json scores.json

Both folders hold palette, grey or coloured PNGs with one number a pixel: 0 background, 1..C the
classes in their order, in masks also 255 (not scored). All scores are read off one confusion
matrix over all photos.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.files import replacing
from data.records import every_id
from data.tags import read_names
from knowledge.classes import TABLES, ClassTable
from pipeline.parallel import map_unordered
from stages.commands.parser import at_least_one, command_parser, cores
from stages.commands.progress import Bar
from stages.quality.pairs import BOUNDARY, Counts, Pair, count_pairs, find_pairs

HANDFUL = 16
"""Photos that one process counts at a time."""
DEFINITION = (
    "mean IoU over the classes (background included) whose union of mask and prediction is not "
    "empty, from one confusion matrix over all photos; mask pixels of 255 are not scored; pixels "
    "that a prediction ignores count as background"
)
BANDS = (
    f"bands of {BOUNDARY:g} of the diagonal inside the border of each class, the edge of the "
    "photo included; summed over all photos (Cheng et al. 2021)"
)


def main(argv: list[str]) -> int:
    """Print the scores; returns 0. Raises ValueError or FileNotFoundError naming the file."""
    asked = _parser().parse_args(argv)
    classes = class_table(asked.classes)
    ids = None if asked.list is None else every_id(asked.list)
    pairs, extra = find_pairs(asked.predictions, asked.masks, ids)
    with Bar() as bar:
        if extra:
            bar.note(f"note: {extra} PNGs below {asked.predictions} have no mask: not scored")
        counts = _counted(asked, pairs, classes, bar)
    scores = {
        "predictions": str(asked.predictions),
        "masks": str(asked.masks),
        "list": None if asked.list is None else str(asked.list),
        **scores_of(counts, classes),
    }
    print(table(scores))
    if asked.json is not None:
        with replacing(asked.json) as path:
            path.write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("score", __doc__)
    add = parser.add_argument
    add("predictions", type=Path, metavar="PRED_DIR", help="folder of predictions, <id>.png each")
    add("masks", type=Path, metavar="MASK_DIR", help="folder of masks, <id>.png each")
    add("--classes", required=True, help="voc, coco, demo, or a file: names, or a classes.json")
    add("--list", type=Path, metavar="IDS.txt", help="ids to score, one a line; else every mask")
    add("--json", type=Path, metavar="OUT.json", help="write all scores and the confusion there")
    band = "255 in predictions means ignored: count it as background, and score the rest beside it"
    add("--ignore-band", action="store_true", help=band)
    number: dict[str, Any] = {"type": at_least_one, "default": cores(), "metavar": "N"}
    add("--workers", **number, help="processes (default: all cores)")
    return parser


def class_table(text: str) -> ClassTable:
    """The shipped table called `text`, or the one in the file `text`.

    A JSON file is a `classes.json` as an index or a model folder holds it; any other is a text of
    names. Raises FileNotFoundError or ValueError naming the file.
    """
    if text in TABLES:
        return TABLES[text]
    path = Path(text)
    if not path.is_file():
        raise FileNotFoundError(
            f"--classes {text}: neither a table ({', '.join(TABLES)}) nor a file of class names"
        )
    if path.suffix != ".json":
        return read_names(path)
    try:
        return ClassTable.parse(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def _counted(
    asked: argparse.Namespace, pairs: Sequence[Pair], classes: ClassTable, bar: Bar
) -> Counts:
    handfuls = [pairs[at : at + HANDFUL] for at in range(0, len(pairs), HANDFUL)]
    count = partial(count_pairs, classes=classes, ignore_band=asked.ignore_band)
    total, done = Counts.empty(len(classes) + 1), 0
    workers = min(asked.workers, len(handfuls))
    for counts in map_unordered(count, handfuls, workers=workers, name=_name):
        total.merge(counts)
        done += len(counts.masks)
        bar.progress(done, len(pairs), "photos")
    return total


def _name(pairs: Sequence[Pair]) -> str:
    return str(pairs[0].prediction.parent)


def scores_of(counts: Counts, classes: ClassTable) -> dict[str, Any]:
    """All scores of a split as plain JSON values, None where undefined; IoU and its kin in 0..1."""
    names = ("background", *classes.names)
    filled, covered = counts.filled.scores(names), counts.covered.scores(names)
    inner, union = counts.boundary
    iou = np.divide(inner, union, out=np.full(len(names), np.nan), where=union > 0)
    boundary = {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(names, iou, strict=True)
    }
    return {
        "definition": DEFINITION,
        "images": len(counts.masks),
        "masks_sha256": counts.masks_sha256(),
        "class_table": classes.name,
        **filled,
        "miou_all_background": _plain(counts.filled.trivial().miou()),
        "coverage": 1 - counts.ignored / counts.pixels if counts.pixels else None,
        "predictions_with_ignored": counts.with_ignored,
        "miou_ignored_as_background": filled["miou"],
        "miou_covered": covered["miou"],
        "coverage_scored": counts.covered.pixels / max(counts.filled.pixels, 1),
        "classes_covered": covered["classes"],
        "boundary_iou": _plain(np.nanmean(iou) if union.any() else np.nan),
        "boundary_iou_classes": boundary,
        "boundary": BANDS,
        "confusion": counts.filled.matrix.tolist(),
        "confusion_covered": counts.covered.matrix.tolist(),
    }


def _plain(value: float | np.floating) -> float | None:
    """A JSON number, or None where the score is undefined."""
    return None if np.isnan(value) else float(value)


def table(scores: dict[str, Any]) -> str:
    """The scores as text, in percent: what `main` prints."""
    rows = [f"{'class':<20}{'IoU':>8}{'precision':>11}{'recall':>8}{'boundary':>10}{'pixels':>15}"]
    for name, line in scores["classes"].items():
        edge = scores["boundary_iou_classes"][name]
        parts = (_percent(line["precision"], 11), _percent(line["recall"], 8), _percent(edge, 10))
        rows.append(f"{name:<20}{_percent(line['iou'])}{''.join(parts)}{line['pixels']:>15,}")
    figures = [
        ("mIoU", "miou", "over the classes that either side shows"),
        ("mIoU, in masks", "miou_present", "over the classes that the masks show"),
        ("mIoU, all", "miou_eps", "over all classes, those that nobody shows count 0"),
        ("boundary IoU", "boundary_iou", f"in bands of {BOUNDARY:.0%} of the diagonal"),
        ("pixel accuracy", "pixel_accuracy", ""),
        ("all background", "miou_all_background", "mIoU of calling every pixel background"),
    ]
    rows.append("")
    if scores["predictions_with_ignored"]:
        figures[0] = ("mIoU", "miou", "with ignored pixels as background")
        figures[1:1] = [
            ("coverage", "coverage", f"{scores['predictions_with_ignored']} photos ignore pixels"),
            ("mIoU, covered", "miou_covered", "over the pixels that predictions do not ignore"),
        ]
    rows += [f"{title:<20}{_percent(scores[key])}  {said}".rstrip() for title, key, said in figures]
    rows.append(
        f"{scores['images']} photos, {scores['pixels']:,} pixels, masks {scores['masks_sha256']}"
    )
    return "\n".join(rows)


def _percent(value: float | None, width: int = 8) -> str:
    return f"{'-':>{width}}" if value is None else f"{100 * value:>{width}.2f}"
