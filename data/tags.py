"""Tag files: which photo carries which tags, as CSV, JSON or npz, and the names of the classes.

CSV: the photo in the first column, then either its tags (in one cell, separated by ";", "|" or ",",
or in several cells; a photo may have several rows), or one column a class with 1 and 0 under the
classes' names. JSON: {"photo": ["name", ...]} or {"photo": [number, ...]}, or boxes in COCO's
format, of which the categories count. npz: `ids`, `labels` (photos x classes, 0 or 1) and `names`.
Names count, never positions.
"""

import csv
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.coco_json import has_boxes, read_boxes
from data.records import SUFFIXES, Problem, Report, Source
from knowledge.classes import Class, ClassTable

HEADINGS = ("id", "photo", "image", "img", "file", "filename", "path", "name")
TAG_HEADINGS = ("tag", "tags", "label", "labels", "class", "classes")
NOTHING = ("null", "background", "__background__", "none", "void")
NUMBERED = re.compile(r"^(\d+)\s*[\t:,;]\s*(.+)$")
YES_NO = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "": False}
YES_NO |= {"false": False, "no": False, "-1": False}

Rows = Iterator[tuple[str, tuple[str, ...]]]


@dataclass(frozen=True)
class TagFile:
    """The tags of a tag file by photo id."""

    name: str
    """The file's name, for messages."""
    tags: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, source: Source, report: Report) -> "TagFile":
        """Read the tag file that `source.tags` names; rows that cannot be read go to `report`.

        Raises `FileNotFoundError` or `ValueError` naming the file where it is missing, of no known
        kind or broken as a whole.
        """
        path = tag_path(source)
        reader = READERS[path.suffix.lower()]
        found: dict[str, tuple[str, ...]] = {}
        for name, tags in reader(path, source, report):
            identity = photo_id(name)
            found[identity] = tuple(dict.fromkeys((*found.get(identity, ()), *tags)))
        if not found:
            raise ValueError(f"{path} holds no tags: see `--help` for the layouts that are read")
        return cls(path.name, found)

    @classmethod
    def files(cls, source: Source) -> dict[str, Path]:
        """The files that the tags depend on; the name tells how they are read."""
        path = tag_path(source)
        found = {f"tags{path.suffix.lower()}": path}
        return found | names_file(source)


def photo_id(name: str) -> str:
    """The id of the photo that a tag row names: posix, without "./" and photo suffix."""
    path = name.strip().replace("\\", "/").removeprefix("./")
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in SUFFIXES else path


def tag_path(source: Source) -> Path:
    """The tag file: below the root, else as given. Raises naming what was looked for."""
    name = source.tags or "tags.csv"
    places = [source.root / name] if source.tags is None else [source.root / name, Path(name)]
    for path in places:
        if path.is_file():
            if path.suffix.lower() not in READERS:
                raise ValueError(f"{path}: tag files are {', '.join(READERS)}; convert it to one")
            return path
    raise FileNotFoundError(
        f"no tag file {name!r}, neither below {source.root} nor as given: set --dataset.tags"
    )


def names_path(source: Source) -> Path | None:
    """The file of class names: as set, else labels.txt or classes.txt in the root, else None."""
    if source.names is not None:
        return source.names
    candidates = (source.root / name for name in ("labels.txt", "classes.txt"))
    return next((path for path in candidates if path.is_file()), None)


def names_file(source: Source) -> dict[str, Path]:
    """The file of class names, if any; its name is in the label, for the table is called by it."""
    path = names_path(source)
    return {} if path is None else {f"names {path.name}": path}


def read_names(path: Path) -> ClassTable:
    """Class names of a text file: one a line, or `number<TAB>name` a line, in that order.

    Number 0, or a first line without number, called "background" or "null" is left out. Numbers
    need not be dense: each class keeps its number as `category` and gets the next label 1..C.
    Raises `FileNotFoundError` or `ValueError` naming the file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: save the names as UTF-8") from error
    entries = [(place, line.strip()) for place, line in enumerate(lines, start=1) if line.strip()]
    numbered = [NUMBERED.match(line) for _, line in entries]
    if entries and all(numbered):
        pairs = sorted((int(match[1]), match[2].strip()) for match in numbered if match)
        if pairs[0][0] == 0 and pairs[0][1].casefold() not in NOTHING:
            raise ValueError(
                f"{path} gives number 0 to {pairs[0][1]!r}, but 0 is the background: number the "
                "classes from 1, here and in the tags"
            )
        pairs = [(number, name) for number, name in pairs if number != 0]
        if len({number for number, _ in pairs}) < len(pairs):
            raise ValueError(f"{path} gives one number to two names: every class needs its own")
    else:
        names = [line for _, line in entries]
        names = names[1:] if names and names[0].casefold() in NOTHING else names
        pairs = list(enumerate(names, start=1))
    try:
        table = ClassTable.of_names(path.stem, [name for _, name in pairs])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    rows = zip(table.classes, pairs, strict=True)
    return ClassTable(
        path.stem, tuple(_with_category(entry, number) for entry, (number, _) in rows)
    )


def _with_category(entry: Class, number: int) -> Class:
    return entry if number == entry.label else entry._replace(category=number)


def _from_csv(path: Path, source: Source, report: Report) -> Rows:
    del source
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = next((mark for mark in ("\t", ",", ";") if mark in first), ",")
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            yield from _table_rows(path, (row for row in rows if any(row)), report)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}): export it again") from error


def _table_rows(path: Path, rows: Iterator[list[str]], report: Report) -> Rows:
    first = next(rows, None)
    if first is None:
        return
    heading = [cell.strip() for cell in first]
    if heading[0].lower() not in HEADINGS:
        yield first[0], _split_cells(first[1:])
    elif len(heading) > 1 and heading[1].lower() not in TAG_HEADINGS:
        table = list(rows)
        if len(heading) > 2 or all(_is_mark(cell) for row in table for cell in row[1:]):
            yield from _one_column_a_class(path, heading[1:], iter(table), report)
            return
        rows = iter(table)
    for row in rows:
        yield row[0], _split_cells(row[1:])


def _is_mark(cell: str) -> bool:
    return cell.strip().lower() in YES_NO


def _split_cells(cells: list[str]) -> tuple[str, ...]:
    parts = (part.strip() for cell in cells for part in re.split(r"[;|,]", cell))
    return tuple(part for part in parts if part)


def _one_column_a_class(
    path: Path, names: list[str], rows: Iterator[list[str]], report: Report
) -> Rows:
    for row in rows:
        marks = [cell.strip().lower() for cell in row[1:]]
        if len(marks) != len(names) or not all(map(_is_mark, marks)):
            reason = (
                f"{path.name} has a row for {row[0]!r} that is not {len(names)} times 0 or 1, one "
                "a class: correct the row"
            )
            report(Problem(path.name, photo_id(row[0]), "tag-row", reason, used=False))
            continue
        yield row[0], tuple(n for n, mark in zip(names, marks, strict=True) if YES_NO[mark])


def _from_json(path: Path, source: Source, report: Report) -> Rows:
    if has_boxes(path):
        boxes = read_boxes(path, crowds=source.crowds)
        for key, shot in boxes.shots.items():
            ids = sorted(boxes.tags.get(key, ()))
            yield shot.name, tuple(boxes.categories.get(one, str(one)) for one in ids)
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): export it again") from error
    if not isinstance(document, dict):
        raise ValueError(f'{path} holds no object {{"photo": ["tag", ...]}}: write it so')
    name_of = _numbers(source)
    for photo, tags in document.items():
        values = tags if isinstance(tags, list) else [tags]
        if any(isinstance(v, bool) or not isinstance(v, str | int) for v in values):
            reason = f"{path.name} gives {photo!r} something else than names or numbers: correct it"
            report(Problem(path.name, photo_id(photo), "tag-row", reason, used=False))
            continue
        named = (name_of(v) if isinstance(v, int) else v.strip() for v in values if v != 0)
        yield photo, tuple(name for name in named if name)


def _numbers(source: Source) -> Callable[[int], str]:
    """How a class number of a JSON file becomes a name; a number without one stays a number."""
    path = names_path(source)
    if path is None:
        return str
    table = read_names(path)
    names = {entry.category or entry.label: entry.name for entry in table.classes}
    return lambda number: names.get(number, str(number))


def _from_npz(path: Path, source: Source, report: Report) -> Rows:
    del source, report
    import numpy as np  # only here: the rest of the module answers without it

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            ids, labels, names = file["ids"], file["labels"], file["names"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no tag list with ids, labels, names ({error})") from error
    if (ids.ndim, names.ndim) != (1, 1) or labels.shape != (*ids.shape, *names.shape):
        raise ValueError(f"{path}: labels are {labels.shape}, not {ids.shape} ids x {names.shape}")
    for identity, row in zip(ids.tolist(), labels, strict=True):
        yield str(identity), tuple(str(names[place]) for place in np.flatnonzero(row))


READERS: dict[str, Callable[[Path, Source, Report], Rows]] = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".txt": _from_csv,
    ".json": _from_json,
    ".npz": _from_npz,
}
