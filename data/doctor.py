"""Checks of a data set that need no network: lists, photos, masks, tags and the order of classes.

What is wrong with single files is found by the readers and by `data.examined` and `data.masks`;
here it is counted, put into words, and set beside what is known of VOC and COCO.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from data import coco, voc
from data.checksums import VOC, check_coco, check_instances, check_voc, kind_of
from data.coco_json import read_boxes
from data.coco_layout import LIST, instances_files, number
from data.findings import Finding, counted, of_problems
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import SUFFIXES, Problem, Source, list_ids
from data.tags import TagFile
from knowledge import matrix_file
from knowledge.classes import ClassTable

Layout = Literal["voc", "coco", "folder"]

LISTS = ("", "ImageSets/Segmentation")
"""Folders that lists are looked for in, below the root of the data set."""
LARGE, SMALL = 1500, 64
"""Longest side in pixels above which photos cost much, and below which they show little."""


def layout(root: Path) -> Layout:
    """How the data set in `root` is laid out, by its folders or, without photos, by its lists."""
    if all((root / name).is_dir() for name in (voc.PHOTOS, voc.LISTS, voc.ANNOTATIONS)):
        return "voc"
    if instances_files(root):
        return "coco"
    for path in list_files(root):
        kind = kind_of(_first_names(path))
        if kind is not None:
            return "voc" if kind == "voc" else "coco"
    return "folder"


def lists_only(root: Path) -> bool:
    """Whether `root` holds lists of VOC or COCO and no photo at the places where readers look."""
    entries = [one for one in root.iterdir() if not one.name.startswith(".")]
    held = ("ImageSets", "Annotations", "annotations", "SegmentationClass")
    others = [one for one in entries if one.is_dir() and one.name not in held]
    photos = any(one.suffix.lower() in SUFFIXES for one in entries)
    known = any(kind_of(_first_names(path)) for path in list_files(root))
    return known and not others and not photos


def list_files(root: Path) -> list[Path]:
    """The text files of `root` that may be lists of photos, sorted."""
    folders = [root / name for name in LISTS]
    return sorted(path for one in folders if one.is_dir() for path in one.glob(f"*{LIST}"))


def check_lists(source: Source, manifest: Manifest | None) -> Iterator[Finding]:
    """Compare the lists of a copy of VOC or COCO with what is known of them.

    Tags are those of the `manifest`, else of the tag file; lists of other data sets say nothing.
    """
    problems: list[Problem] = []
    rows: dict[str, dict[str, tuple[str, ...]]] = {}
    lists: dict[str, list[str]] = {}
    kinds: set[str] = set()
    for path in list_files(source.root):
        try:
            kind = kind_of(_first_names(path))
            ids, tags = _read(source, path, kind, problems)
        except (ValueError, OSError) as error:
            yield Finding("warning", "lists", "list", f"{error}", paths=(path.name,))
            continue
        if kind is not None:
            kinds.add(kind)
            name = path.stem if kind == "voc" else _split(path, ids)
            lists[name], rows[name] = ids, tags
    yield from of_problems("lists", problems)
    if "voc" in kinds:
        try:
            tags_of = _tags(source, manifest)
        except (ValueError, OSError) as error:
            yield Finding("warning", "lists", "tags", str(error))
            tags_of = {}
        yield from check_voc(lists, tags_of)
    if "coco" in kinds:
        yield from check_coco(
            lists, {name: tags for name, tags in rows.items() if any(tags.values())}
        )
        yield from _shared_numbers(lists)


def whole_train(ids: Sequence[str]) -> bool:
    """Whether `ids` are as many as VOC's train list has, and of VOC."""
    return len(ids) == VOC["train"].photos and kind_of(ids) == "voc"


def check_instances_files(root: Path) -> Iterator[Finding]:
    """Compare the photos of COCO's instances files with what is known of them."""
    for split, path in instances_files(root).items():
        boxes = read_boxes(path)
        yield from check_instances(split, len(boxes.shots), len(boxes.tags))


def check_photos(manifest: Manifest, problems: Sequence[Problem]) -> Iterator[Finding]:
    """What is wrong with single photos and tags, and how many of what size there are."""
    yield from of_problems("photos", problems)
    train, val = (len(manifest.split(split)) for split in ("train", "val"))
    said = f"{train:,} photos to train on, {val:,} to score, {len(manifest.classes)} classes"
    yield Finding("ok", "photos", "photos", said, found=train + val)
    sides = [max(photo.size) for photo in manifest.photos]
    large, small = sum(one > LARGE for one in sides), sum(one < SMALL for one in sides)
    if large:
        text = f"{large} photos are longer than {LARGE} pixels: shrink them to about 500"
        yield Finding("warning", "photos", "large", text, found=large)
    if small:
        text = f"{small} photos are shorter than {SMALL} pixels: too small to show where things are"
        yield Finding("warning", "photos", "small", f"{text}; use the originals", found=small)
    if not val:
        text = (
            "no photo to score the network with: give --dataset.val-list or --dataset.val-fraction"
        )
        yield Finding("note", "photos", "no-val", text)


def check_masks(
    manifest: Manifest, masks: MaskIndex, problems: Sequence[Problem]
) -> Iterator[Finding]:
    """What is wrong with single masks, and how they and the tags of their photos agree."""
    yield from of_problems("masks", problems)
    if not masks.masks:
        text = "no mask to score with: pseudo-labels are judged without, the network not at all"
        yield Finding("note", "masks", "no-masks", f"{text}; set --masks.root where there are some")
        return
    splits = Counter(mask.split for mask in masks.masks)
    said = f"{splits['train']:,} masks of training photos, {splits['val']:,} of val"
    yield Finding("ok", "masks", "masks", said, found=len(masks.masks))
    tags = {photo.id: set(manifest.tag_indices(photo)) for photo in manifest.photos}
    drawn = {mask.id: {label - 1 for label in mask.labels} for mask in masks.masks}
    unseen = sum(bool(tags[one] - seen) for one, seen in drawn.items())
    untagged = sum(bool(seen - tags[one]) for one, seen in drawn.items())
    text = (
        f"of {len(drawn):,} masks, {unseen} lack a class that their photo is tagged with and "
        f"{untagged} show one that it is not"
    )
    if 2 * untagged > len(drawn):
        do = "the numbers in the masks are not those of the classes: check their order"
        yield Finding("warning", "classes", "class-order", f"{text}: {do}", found=untagged)
    else:
        do = "tags stay as they are, masks only score"
        yield Finding("note", "masks", "tags-and-masks", f"{text}: {do}", found=untagged)


def check_order(names: Sequence[str], listed: Sequence[str], where: str) -> Finding:
    """How the classes `listed` in a graph file compare with the `names` of the data set's."""
    listed = list(dict.fromkeys(listed))
    missing = [name for name in names if name not in listed]
    if missing:
        text = f"{where} lacks {', '.join(map(repr, missing[:5]))} ({len(missing)} of {len(names)})"
        return Finding("error", "classes", "class-missing", f"{text}: rename them or take another")
    if [name for name in listed if name in names] == list(names):
        return Finding("ok", "classes", "class-order", f"{where} has the classes in their order")
    at = next(i for i, pair in enumerate(zip(names, listed, strict=False)) if pair[0] != pair[1])
    text = (
        f"{where} has the classes in another order ({listed[at]!r} where the data set has "
        f"{names[at]!r}): rows are taken by name here; never join them by position"
    )
    return Finding("note", "classes", "class-order", text)


def check_graph_file(classes: ClassTable, path: Path) -> Finding:
    """Compare the order of classes with that of a file of word vectors or of a matrix.

    safetensors with "names" in the metadata, JSON with a list "names" or "classes", or a matrix as
    CSV, as `knowledge.matrix_file` reads it. Word vectors as text list every word there is and have
    no order to compare: `stages.machine.check_text` says which classes they lack.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".csv":
            listed = matrix_file.listed(path).names
        elif path.suffix == ".json" and matrix_file.is_released(path, classes.names):
            listed = classes.names
        elif path.suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8"))
            listed = document.get("names") or document["classes"]
        else:
            with safe_open(path, framework="numpy") as file:
                listed = json.loads((file.metadata() or {})["names"])
        names = [str(name) for name in listed]
    except FileNotFoundError:
        text = f"there is no {path}: set --graph.vectors or --graph.matrix to what is there"
        return Finding("error", "classes", "graph-file", text)
    except (SafetensorError, ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        text = f"{path} names no classes ({type(error).__name__}): make or copy it again"
        return Finding("error", "classes", "graph-file", text)
    return check_order(classes.names, names, path.name)


def _first_names(path: Path, most: int = 50) -> list[str]:
    """The first entries of a text file, without what follows them in their lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.split() for _, line in zip(range(most), file, strict=False)]
    names = [words[0].removesuffix(".jpg") for words in lines if words]
    return [name.rsplit("/", 1)[-1] for name in names]


def _read(
    source: Source, path: Path, kind: str | None, problems: list[Problem]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Ids of a list, and the tags that COCO's lists carry."""
    if kind == "coco":
        part = coco.read_split(replace(source, tags="lists", table="coco"), path, problems.append)
        return part.ids, part.tags or {}
    entries = voc.list_entries(path)
    if kind is None:
        return entries, {}
    return list_ids(entries, path.name, problems.append), {}


def _split(path: Path, ids: Sequence[str]) -> str:
    """The split and year that a list of COCO is of: `val.txt` of COCO_val2014_... is val2014."""
    year = "2014" if any("2014" in one for one in ids[:1]) else "2017"
    return path.stem if path.stem.endswith(year) else f"{path.stem}{year}"


def _tags(source: Source, manifest: Manifest | None) -> dict[str, tuple[str, ...]]:
    if manifest is not None:
        return {photo.id: photo.tags for photo in manifest.photos}
    packed = sorted(source.root.glob("*.npz"))
    name = source.tags or (packed[0].name if len(packed) == 1 else None)
    if name in (None, "xml", "lists", "instances", "folders", "yolo"):
        return {}
    return dict(TagFile.read(replace(source, tags=name), lambda _: None).tags)


def _shared_numbers(lists: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Photos that are in a training list and in a val list, under whichever year's name."""
    train = {number(one) for name, ids in lists.items() if name.startswith("train") for one in ids}
    val = {number(one) for name, ids in lists.items() if name.startswith("val") for one in ids}
    if train and val:
        do = "take both from one year (train2017 holds most of val2014)"
        yield counted("train-and-val", "photos in both train and val", len(train & val), 0, do=do)
