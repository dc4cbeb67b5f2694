"""Reader of the PASCAL VOC devkit layout: JPEGImages, Annotations, ImageSets/Segmentation.

Tags come from the names of the objects in `Annotations/<id>.xml` ("difficult" ones included, parts
of objects not), or from a tag list. Boxes and masks are not looked at.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from data.records import (
    Found,
    Problem,
    Record,
    Report,
    Source,
    Split,
    find_photos,
    ignore,
    list_ids,
    no_overlap,
    read_list,
    same_name,
)
from data.tags import TagFile, names_file, read_names
from knowledge.classes import TABLES, ClassTable

PHOTOS = "JPEGImages"
ANNOTATIONS = "Annotations"
LISTS = "ImageSets/Segmentation"
SECOND_COLUMN = re.compile(r"\s+(-?[01]|\S*/\S+)$")  # of ImageSets/Main and of SBD's lists
MOST_BYTES = 4 << 20  # of one XML file; those of VOC have at most some 20 kB


def classes(source: Source) -> ClassTable:
    """The named table, the user's own names, or VOC's 20 classes."""
    if source.names is not None:
        return read_names(source.names)
    return TABLES[source.table or "voc"]


def files(source: Source) -> dict[str, Path]:
    """Lists, tags and the photos that the lists name, by their path below the root."""
    found: dict[str, Path] = {}
    tags_from_xml = source.tags in (None, "xml")
    if not tags_from_xml:
        found |= TagFile.files(source)
    if source.names is not None:
        found |= names_file(source)
    photos = _photos(source.root).files
    for split, path in _lists(source).items():
        found[f"{split} list"] = path
        for identity in list_ids(list_entries(path), split, ignore):
            for name in photos.get(identity, ()):
                found[f"{PHOTOS}/{name}"] = source.root / PHOTOS / name
            if tags_from_xml:
                name = f"{ANNOTATIONS}/{identity}.xml"
                found[name] = source.root / name
    return found


def records(source: Source, report: Report) -> Iterator[Record]:
    """The listed photos, sorted by id, with the tags as they are written.

    Raises `FileNotFoundError` or `ValueError` where root, photo folder or a list is missing or
    empty and where the splits overlap.
    """
    found = _photos(source.root)
    for problem in found.problems:
        report(problem)
    splits = {
        split: list_ids(list_entries(path), path.name, report)
        for split, path in _lists(source).items()
    }
    no_overlap(splits["train"], splits.get("val", []))
    tag_file = None if source.tags in (None, "xml") else TagFile.read(source, report)
    split_of: dict[str, Split] = {name: key for key, ids in splits.items() for name in ids}
    for identity in sorted(split_of):
        names = found.files.get(identity)
        if names is None:
            report(_missing(identity, split_of[identity]))
            continue
        for problem in same_name(PHOTOS, identity, names):
            report(problem)
        if tag_file is None:
            tags = _tags_of_xml(source.root, identity, report)
            if tags is None:
                continue
        else:
            tags = tag_file.tags.get(identity)
        yield Record(identity, f"{PHOTOS}/{names[0]}", tags, split_of[identity])


def object_names(path: Path) -> tuple[str, ...]:
    """Names of the objects in a VOC annotation, in the order of the file, each once.

    Only `annotation/object/name` counts: a part (head, hand) is no object. The parser builds no
    tree, knows no files but this one, and refuses a DOCTYPE, hence every entity of the file's own.
    Raises `FileNotFoundError`, or `ValueError` naming the file and what is wrong with it.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} is larger than {MOST_BYTES >> 20} MB: no VOC annotation")
    found = _Names(path.name)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.CharacterDataHandler = found.text.append
    parser.StartDoctypeDeclHandler = found.doctype
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"{path.name} is no XML ({error}): fetch or write it again") from error
    return tuple(name for name in found.names if name)


class _Names:
    """Collects the names of objects while expat walks through an annotation."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.names: dict[str, None] = {}
        self.place: list[str] = []
        self.text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        del attributes
        self.place.append(tag)
        self.text.clear()

    def end(self, tag: str) -> None:
        del tag
        if self.place == ["annotation", "object", "name"]:
            self.names["".join(self.text).strip()] = None
        self.place.pop()

    def doctype(self, *declaration: object) -> None:
        del declaration
        raise ValueError(f"{self.file} has a DOCTYPE, which VOC files do not: take it out")


def _tags_of_xml(root: Path, identity: str, report: Report) -> tuple[str, ...] | None:
    name = f"{ANNOTATIONS}/{identity}.xml"
    try:
        return object_names(root / name)
    except FileNotFoundError:
        reason = f"{name} is missing, so the photo's tags are unknown: add it or use a tag list"
        report(Problem(name, identity, "xml-missing", reason, used=False))
    except (ValueError, OSError) as error:
        report(Problem(name, identity, "xml-broken", str(error), used=False))
    return None


def _photos(root: Path) -> Found:
    if not (root / PHOTOS).is_dir():
        raise FileNotFoundError(
            f"{root} has no folder {PHOTOS}: set --dataset.root to the devkit's VOC2012 folder"
        )
    return find_photos(root, PHOTOS)


def _lists(source: Source) -> dict[Split, Path]:
    wanted: dict[Split, str] = {"train": source.train_list or "train"}
    if source.val_list is not None:
        wanted["val"] = source.val_list
    elif (source.root / LISTS / "val.txt").is_file():
        wanted["val"] = "val"
    return {split: _list(source.root, name, split) for split, name in wanted.items()}


def _list(root: Path, name: str, split: str) -> Path:
    for path in (root / LISTS / f"{name}.txt", root / name, Path(name)):
        if path.is_file():
            return path
    have = sorted(path.stem for path in (root / LISTS).glob("*.txt"))
    raise FileNotFoundError(
        f"no list {name!r} for {split}: --dataset.{split}-list takes the path of a list or one of "
        f"{', '.join(have) or 'the names in ' + LISTS + ' (there are none)'}"
    )


def list_entries(path: Path) -> list[str]:
    """List entries without what some lists carry beside the id: folder, flag, path of the mask."""
    firsts = (SECOND_COLUMN.sub("", entry) for entry in read_list(path))
    return [first.removeprefix(f"/{PHOTOS}/").removeprefix(f"{PHOTOS}/") for first in firsts]


def _missing(identity: str, split: str) -> Problem:
    reason = f"the {split} list names {identity!r}, but {PHOTOS} has no such photo: add it"
    return Problem(f"{PHOTOS}/{identity}", identity, "missing", reason, used=False)
