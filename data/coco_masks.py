"""Masks of 81 labels drawn from the outlines of COCO's instances files, for scoring only.

The published ways of drawing them differ in what lies on top where objects overlap and in what a
crowd becomes, and so do scores against them: the way is a setting, and it is written down beside
the masks.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Integer
from pycocotools import mask as coco_mask

from data.coco_json import Shot, broken, elements, read_element, shot_of, whole
from data.coco_layout import number
from data.labels import ignore_in, label_type, write_label
from data.records import Photo, Problem, list_ids
from knowledge.classes import ClassTable

Overlap = Literal["later", "smaller"]
Crowd = Literal["ignore", "class", "skip"]
FURTHEST = 100_000  # pixels of an outline's point from the photo's corner


class Policy(NamedTuple):
    """How outlines become one label a pixel."""

    overlap: Overlap = "later"
    """On top is the object listed later (ReCAM's annToMask.py), or the smaller one by `area`."""
    crowd: Crowd = "ignore"
    """A crowd is ignored where no object covers it, is drawn like an object, or is left out."""


class Outlines(NamedTuple):
    """One photo in an instances file: the places of its annotations there."""

    file: Path
    size: tuple[int, int]
    """(height, width); (0, 0) where the file does not say."""
    places: tuple[tuple[int, int], ...]
    """First byte and length of each annotation, in the order of the file."""
    labels: Mapping[int, int]
    """Label 1..C by category id; one mapping for the whole file."""


def find_outlines(
    files: Iterable[Path], wanted: Collection[str], classes: ClassTable
) -> dict[str, Outlines]:
    """The outlines of the `wanted` photos by `coco_layout.number`; the first file counts.

    Categories become labels by their names; those that `classes` lacks are not drawn. Memory: some
    150 bytes an annotation. Raises `ValueError` naming a file that is broken.
    """
    found: dict[str, Outlines] = {}
    for file in files:
        shots: dict[int, Shot] = {}
        labels: dict[int, int] = {}
        places: dict[int, array[int]] = {}
        for element in elements(file, ("images", "annotations", "categories")):
            value = element.value
            try:
                if element.array == "images":
                    key, shot = shot_of(value)
                    shots[key] = shot
                elif element.array == "categories" and value["name"] in classes:
                    labels[whole(value["id"])] = classes.index(value["name"]) + 1
                elif element.array == "annotations":
                    row = places.setdefault(whole(value["image_id"]), array("q"))
                    row.extend((element.start, element.length))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise broken(file, element, error) from error
        for key, shot in shots.items():
            row = places.get(key, array("q"))
            pairs = tuple(zip(row[::2], row[1::2], strict=True))
            for identity in map(number, list_ids([shot.name], file.name, _nowhere)):
                if identity in wanted and identity not in found:
                    found[identity] = Outlines(file, shot.size, pairs, labels)
    return found


def draw_mask(
    folder: Path, policy: Policy, classes: ClassTable, item: tuple[Photo, Outlines]
) -> Problem | None:
    """Draw the mask of a photo to `<id>.png` below `folder`, unless it is there.

    The size is the file's, the photo's where the file gives none. What cannot be drawn is returned.
    """
    photo, outlines = item
    path = folder / f"{photo.id}.png"
    if path.is_file():
        return None
    try:
        label = draw(outlines, policy, photo.size)
    except (ValueError, OSError) as error:
        reason = str(error).replace(str(outlines.file.parent), "the instances folder")
        return Problem(outlines.file.name, photo.id, "outline", reason, used=False)
    write_label(path, label, classes)
    return None


def draw(
    outlines: Outlines, policy: Policy, size: tuple[int, int] = (0, 0)
) -> Integer[np.ndarray, "h w"]:
    """Labels of a photo: 0 background, 1..C, ignored where a crowd is that no object covers.

    `size`: (height, width) where the file gives none. Raises `ValueError` naming the annotation.
    """
    size = outlines.size if all(outlines.size) else size
    if not all(size):
        raise ValueError(f"{outlines.file} gives no height and width: export it with them")
    things = [read_element(outlines.file, *place) for place in outlines.places]
    label = np.zeros(size, label_type(max(outlines.labels.values(), default=0)))
    blank = ignore_in(label)
    for thing in _in_order(things, policy):
        value = outlines.labels.get(whole(thing["category_id"]))
        if value is None:
            continue
        is_ignored = bool(thing.get("iscrowd")) and policy.crowd == "ignore"
        try:
            label[rasterise(thing["segmentation"], size)] = blank if is_ignored else value
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{outlines.file}: annotation {thing.get('id')} has no outline that can be drawn "
                f"({error}): export it again"
            ) from error
    return label


def rasterise(segmentation: Any, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Pixels of one object, as pycocotools fills them.

    `segmentation`: polygons [x1, y1, x2, y2, ...] in pixels (none: no pixel), or the run lengths of
    a crowd, `{"size": [height, width], "counts": numbers or COCO's text}`. Raises `ValueError`.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size)
    polygons = [[float(value) for value in points] for points in segmentation]
    for points in polygons:
        if len(points) % 2 or len(points) < 6:
            raise ValueError(f"a polygon has {len(points)} numbers, not pairs of three points on")
        if not all(abs(value) < FURTHEST for value in points):
            raise ValueError("a point of a polygon lies nowhere near the photo")
    if not polygons:
        return np.zeros(size, bool)
    # Not `coco_mask.decode`: it warns under NumPy 2 and takes run lengths that end too early.
    runs = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return _from_runs({"size": list(size), "counts": runs["counts"].decode("ascii")}, size)


def _in_order(things: list[dict[str, Any]], policy: Policy) -> list[dict[str, Any]]:
    """The annotations from the lowest to the topmost."""
    if policy.crowd == "skip":
        things = [thing for thing in things if not thing.get("iscrowd")]
    if policy.overlap == "smaller":
        things = sorted(things, key=lambda thing: -float(thing.get("area") or 0))
    if policy.crowd == "ignore":
        things = sorted(things, key=lambda thing: not thing.get("iscrowd"))
    return things


def _from_runs(runs: dict[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Run lengths column by column, the first of them background."""
    height, width = size
    if list(runs["size"]) != [height, width]:
        raise ValueError(f"its run lengths are for {runs['size']}, the photo is {[height, width]}")
    counts = runs["counts"]
    numbers = _counts_of_text(counts) if isinstance(counts, str) else [whole(n) for n in counts]
    if min(numbers, default=-1) < 0 or sum(numbers) != height * width:
        raise ValueError(f"its run lengths do not add up to {height} x {width} pixels")
    values = np.arange(len(numbers)) % 2 == 1
    return np.repeat(values, numbers).reshape(width, height).T


def _counts_of_text(text: str) -> list[int]:
    """Run lengths of COCO's compressed text.

    Six bits a character from "0" on: five of the number, lowest first, and one that says whether it
    goes on; from the fourth number on the difference to the last but one (cocoapi, maskApi.c).
    """
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"its run lengths hold {sign!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts


def _nowhere(problem: Problem) -> None:
    """A photo outside the folder is no photo here; `index` has listed it."""
    del problem
