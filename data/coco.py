"""Reader of COCO, 2014 and 2017, and of data sets laid out like it.

A split is the name of an instances file (`train2014`) or a text list of photo names, with or
without the zero-based class numbers of the published lists behind them. Tags are the categories of
a photo's annotations, by name: ids 1..90 become labels 1..80. Outlines are not looked at; masks are
the business of `data.coco_masks`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from data.coco_json import Boxes, read_boxes, read_categories
from data.coco_layout import (
    ANNOTATIONS,
    LIST,
    Shelf,
    instances_files,
    no_shared_number,
    number,
    photo_folders,
    split_files,
)
from data.folder import draw
from data.records import (
    Problem,
    Record,
    Report,
    Source,
    Split,
    ignore,
    list_ids,
    read_list,
    same_name,
)
from data.tags import TagFile, names_file, read_names
from knowledge.classes import COCO, TABLES, ClassTable

Tags = dict[str, tuple[str, ...]]
"""Names of classes by `number` of the photo; () where it is known to show none."""


class Part(NamedTuple):
    """One split: its photos, sorted by id, and their tags where these come with it."""

    ids: list[str]
    tags: Tags | None


def classes(source: Source) -> ClassTable:
    """The named table or names; COCO's 80 where the categories are they, else the categories."""
    if source.names is not None:
        return read_names(source.names)
    if source.table is not None:
        return TABLES[source.table]
    file = next(iter(_instances(source).values()), None)
    return COCO if file is None else table_of(read_categories(file), file)


def table_of(categories: Mapping[int, str], file: Path) -> ClassTable:
    """COCO's table where `categories` (id to name) are its classes, else theirs in order of ids.

    Raises `ValueError` naming the file where the names do not make a table.
    """
    if set(categories.values()) == set(COCO.names):
        return COCO
    ids = sorted(categories)
    try:
        table = ClassTable.of_names("own", [categories[one] for one in ids])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    rows = zip(table.classes, ids, strict=True)
    return ClassTable(
        "own", tuple(c._replace(category=None if one == c.label else one) for c, one in rows)
    )


def files(source: Source) -> dict[str, Path]:
    """Lists, instances files and photos, by a name that tells how they are used.

    Instances files are not opened: with them, every photo in the folders counts.
    """
    splits = split_files(source)
    found = _tag_files(source)
    found |= {_label(source, split, path): path for split, path in splits.items()}
    wanted: set[str] | None = None
    if all(path.suffix == LIST for path in splits.values()):
        wanted = {number(one) for path in splits.values() for one in _listed(path, ignore)}
    for folder, photos in photo_folders(source).items():
        for identity, names in photos.files.items():
            if wanted is None or number(identity) in wanted:
                found |= {f"{folder}/{name}": source.root / folder / name for name in names}
    return found


def records(source: Source, report: Report) -> Iterator[Record]:
    """The photos, sorted by id, with the names of their categories.

    Raises `FileNotFoundError` or `ValueError` where root, list or instances file is missing or
    broken, and where the splits have photos in common.
    """
    folders = photo_folders(source)
    for problem in (problem for found in folders.values() for problem in found.problems):
        report(problem)
    shelf = Shelf(folders)
    parts = {split: read_split(source, path, report) for split, path in split_files(source).items()}
    no_shared_number(parts["train"].ids, parts["val"].ids if "val" in parts else [])
    beside = _tags_beside(source, parts, report)
    split_of = {identity: split for split, part in parts.items() for identity in part.ids}
    for identity in sorted(split_of):
        split = split_of[identity]
        place = shelf.find(identity)
        if place is None:
            reason = f"the {split} split names {identity!r}, but there is no such photo: add it"
            report(Problem(identity, identity, "missing", reason, used=False))
            continue
        for problem in same_name(place[0], identity, place[1]):
            report(problem)
        own = parts[split].tags
        tags = (beside if own is None else own).get(number(identity))
        drawn = "val" not in parts and draw(identity, source.seed) < source.val_fraction
        yield Record(identity, f"{place[0]}/{place[1][0]}", tags, "val" if drawn else split)


def read_split(source: Source, path: Path, report: Report) -> Part:
    """Ids and, where they come along, tags of the split in an instances file or a text list."""
    if path.suffix == LIST:
        numbered = source.tags == "lists"
        return Part(_listed(path, report), _numbered(source, path, report) if numbered else None)
    boxes = read_boxes(path, crowds=source.crowds)
    ids = list_ids([shot.name for shot in boxes.shots.values()], path.name, report)
    return Part(ids, None if _other_tags(source) else _categories(boxes, path.name, report))


def _listed(path: Path, report: Report) -> list[str]:
    return list_ids([line.split()[0] for line in read_list(path)], path.name, report)


def _numbered(source: Source, path: Path, report: Report) -> Tags:
    """A published list: name, then zero-based numbers of classes in the order of the table."""
    names = classes(source).names
    tags: Tags = {}
    for line in read_list(path):
        name, *numbers = line.split()
        identity = next(iter(list_ids([name], path.name, ignore)), name)
        if all(one.isdecimal() and int(one) < len(names) for one in numbers):
            tags[number(identity)] = tuple(names[int(one)] for one in numbers)
            continue
        reason = f"{path.name} has the line {line!r}, but class numbers run 0..{len(names) - 1}: "
        reason += "correct it"
        report(Problem(path.name, identity, "tag-row", reason, used=False))
    return tags


def _categories(boxes: Boxes, file: str, report: Report) -> Tags:
    """Names of each photo's categories; what the file does not list itself goes to `report`."""
    tags: Tags = {}
    for key, shot in boxes.shots.items():
        identity = next(iter(list_ids([shot.name], file, ignore)), shot.name)
        ids = sorted(boxes.tags.get(key, ()))
        tags[number(identity)] = tuple(boxes.categories[n] for n in ids if n in boxes.categories)
        for one in ids:
            if one not in boxes.categories:
                reason = f"{file} gives {shot.name!r} category {one} without a name: name it there"
                report(Problem(file, identity, "unknown-category", reason, used=True))
    for key in sorted(boxes.tags.keys() - boxes.shots.keys()):
        reason = f"{file} has objects of image {key}, which it does not list: export it again"
        report(Problem(file, None, "objects-without-photo", reason, used=False))
    return tags


def _tags_beside(source: Source, parts: Mapping[Split, Part], report: Report) -> Tags:
    """Tags for splits that bring none: of the tag file, else of the instances files."""
    if all(part.tags is not None for part in parts.values()):
        return {}
    if _other_tags(source):
        rows = TagFile.read(source, report).tags
        return {number(identity): tags for identity, tags in rows.items()}
    found = _instances(source)
    if not found:
        raise FileNotFoundError(
            f"{source.root / ANNOTATIONS} has no instances file to take the tags from: add it, or "
            "set --dataset.tags to lists (with class numbers in them) or to a tag file"
        )
    tags: Tags = {}
    for path in found.values():
        tags |= _categories(read_boxes(path, crowds=source.crowds), path.name, report)
    return tags


def _other_tags(source: Source) -> bool:
    """Whether a tag file of the user's own has the tags."""
    return source.tags not in (None, "instances", "lists")


def _instances(source: Source) -> dict[str, Path]:
    """The instances files that tags and names of classes come from, if any do."""
    if source.tags == "lists":
        return {}
    paths = split_files(source)
    return {s: p for s, p in paths.items() if p.suffix != LIST} or instances_files(source.root)


def _tag_files(source: Source) -> dict[str, Path]:
    found = TagFile.files(source) if _other_tags(source) else {}
    if source.names is not None:
        found |= names_file(source)
    return found | {f"categories of {path.name}": path for path in _instances(source).values()}


def _label(source: Source, split: Split, path: Path) -> str:
    """What the split depends on: how the file is read, and for an instances file its name."""
    if path.suffix != LIST:
        return f"{split} of {path.name}"
    return f"{split} list with numbers" if source.tags == "lists" else f"{split} list"
