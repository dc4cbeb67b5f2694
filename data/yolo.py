"""YOLO label files reduced to tags: which classes have a box in a photo; the boxes are dropped.

A photo's labels lie in a text file of its name, one `class x y width height` a line, in a folder
`labels` where the photo's path says `images` (`images/train/a.jpg` and `labels/train/a.txt`, or
`train/images/a.jpg` and `train/labels/a.txt`), else beside the photo. Classes are counted from 0 in
the order of `names` in `data.yaml`, or of the lines of `classes.txt`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import inside
from data.records import Problem, Report, Source
from knowledge.classes import ClassTable

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", "labels.txt")
MOST_BYTES = 4 << 20  # of one label file


def names_path(source: Source) -> Path:
    """The file of class names: as set, else one of `NAMES` in the root."""
    if source.names is not None:
        return source.names
    found = next((path for name in NAMES if (path := source.root / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{source.root} has no {' or '.join(NAMES[:3])} with the names of the classes: add one "
            "or set --dataset.names"
        )
    return found


def read_names(path: Path) -> list[str]:
    """Class names in the order of their numbers, from 0.

    Raises `ValueError` naming the file where it holds none, or numbers with gaps.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: save the names as UTF-8") from error
    if path.suffix in (".yaml", ".yml"):
        return _of_yaml(path, text)
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} names no class: write one a line")
    return names


def table(source: Source) -> ClassTable:
    """The classes in the order of their numbers."""
    path = names_path(source)
    try:
        return ClassTable.of_names("own", read_names(path))
    except ValueError as error:
        raise ValueError(str(error) if path.name in str(error) else f"{path}: {error}") from error


def label_path(photo: str) -> str:
    """Where the label file of a photo lies, both posix paths below the root."""
    path = PurePosixPath(photo)
    parts = list(path.parent.parts)
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        parts[place] = "labels"
    return PurePosixPath(*parts, f"{path.stem}.txt").as_posix()


def files(source: Source, photos: Sequence[str]) -> dict[str, Path]:
    """The file of names and the label files of the photos, those that are there."""
    path = names_path(source)
    found = {f"names {path.name}": path}
    for photo in photos:
        name = label_path(photo)
        if (source.root / name).is_file():
            found[name] = source.root / name
    return found


def tags(source: Source, photos: Mapping[str, str], report: Report) -> dict[str, tuple[str, ...]]:
    """Names of the classes with a box in each photo, by id; () for an empty label file.

    `photos`: path below the root by id. A photo without a label file is left out of the outcome and
    what cannot be read goes to `report`.
    """
    names = read_names(names_path(source))
    found: dict[str, tuple[str, ...]] = {}
    for identity, photo in photos.items():
        name = label_path(photo)
        try:
            lines = _lines(inside(source.root, name))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            reason = f"{name} cannot be read ({error}): export the labels again"
            report(Problem(name, identity, "labels-broken", reason, used=False))
            continue
        numbers = [_number(line, len(names)) for line in lines]
        for line, number in zip(lines, numbers, strict=True):
            if number is None:
                reason = f"{name} has the line {line[:40]!r}, which does not start with a class "
                reason += f"number 0..{len(names) - 1}: correct it"
                report(Problem(name, identity, "tag-row", reason, used=True))
        known = dict.fromkeys(names[number] for number in numbers if number is not None)
        if known or not lines:
            found[identity] = tuple(known)
    return found


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
    text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _number(line: str, classes: int) -> int | None:
    first = line.split()[0]
    return int(first) if first.isdecimal() and first.isascii() and int(first) < classes else None


def _of_yaml(path: Path, text: str) -> list[str]:
    import yaml  # only where there is such a file

    try:
        document: Any = yaml.safe_load(text)
        names = document["names"]
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
    except (yaml.YAMLError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} has no list `names` of the classes, numbered 0, 1, 2, ... ({error}): add it"
        ) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str | int) for n in names):
        raise ValueError(f"{path}: `names` is no list of names: write names: [cat, dog]")
    return [str(name) for name in names]
