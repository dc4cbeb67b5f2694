"""What a reader is told, and what it hands over: one record a photo, one problem a bad file.

A reader is a module (`data.voc`, `data.folder`) with three functions, all of them light:

    classes(source) -> ClassTable            the classes that tags are checked against
    files(source) -> dict[str, Path]         every file that the index depends on, by a name that
                                             stays the same when the data set moves
    records(source, report) -> Iterator[Record]   sorted by id; bad files go to `report`
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple
from unicodedata import category

from data.files import inside

Split = Literal["train", "val"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Of photos; where two photos share a name, the earlier suffix wins."""


@dataclass(frozen=True)
class Photo:
    """One usable photo: a line of manifest.jsonl."""

    id: str
    """Path below the photo folder without suffix, posix: "2007_000027", "dogs/rex"."""
    photo: str
    """Posix path of the file below the root of the data set."""
    size: tuple[int, int]
    """(height, width) in pixels, upright."""
    tags: tuple[str, ...]
    """Names of its classes in table order; none for a photo known to show no class."""
    split: Split
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True)
class Mask:
    """One usable mask: a line of masks.jsonl."""

    id: str
    path: str
    """Posix path below the folder of masks."""
    split: Split
    size: tuple[int, int]
    """(height, width) in pixels."""
    sha256: str
    labels: tuple[int, ...]
    """The labels of classes in it, ascending: 1..C, without background and ignore."""


@dataclass(frozen=True)
class Problem:
    """One line of problems.jsonl: what is wrong with one file, and what to do about it."""

    path: str
    """Posix path below the root of the data set, or the list entry that has no file."""
    id: str | None
    problem: str
    """Short code: "damaged", "no-tag", "exif-rotated"..."""
    reason: str
    """One sentence with the way out."""
    used: bool
    """Whether the photo takes part all the same."""


Report = Callable[[Problem], None]


class Record(NamedTuple):
    """A photo as a reader found it, not yet opened."""

    id: str
    photo: str
    """Posix path below the root."""
    tags: tuple[str, ...] | None
    """Names as written in the data set; None where nothing is known about the photo's tags."""
    split: Split


@dataclass(frozen=True)
class Source:
    """Where a data set lies and which parts of it are wanted; see `stages.index.Config`."""

    root: Path
    table: str | None = None
    names: Path | None = None
    tags: str | None = None
    train_list: str | None = None
    val_list: str | None = None
    photos: str | None = None
    val_fraction: float = 0.0
    seed: int = 0
    crowds: bool = True
    """COCO: whether a crowd counts as showing its category."""


class Found(NamedTuple):
    """The photo files below one folder."""

    files: dict[str, list[str]]
    """Names below the folder (posix, with suffix) by id, the preferred suffix first."""
    problems: list[Problem]
    """Links that lead out and folders that are links: neither is entered."""


def find_photos(
    root: Path, folder: str, *, skip: tuple[str, ...] = (), suffixes: tuple[str, ...] = SUFFIXES
) -> Found:
    """Find every photo file below `root/folder`, hidden ones and the folders `skip` excepted.

    `skip`: shell patterns, in lower case, of folders directly below. `folder` is posix, "" for the
    root itself. No file is opened and, links apart, none is asked for its state: the names in the
    folders are enough.
    """
    home = root / folder if folder else root
    found = Found({}, [])
    for name, is_link in _walk(home, "", skip, found.problems):
        if not name.lower().endswith(suffixes):
            continue
        path = f"{folder}/{name}" if folder else name
        if not name.isprintable() and any(category(sign) in ("Cc", "Cs") for sign in name):
            found.problems.append(_odd_name(path))
            continue
        if is_link and not _stays(root, path, found.problems):
            continue
        found.files.setdefault(os.path.splitext(name)[0], []).append(name)
    for names in found.files.values():
        names.sort(key=lambda name: (suffixes.index(os.path.splitext(name)[1].lower()), name))
    return found


def _walk(
    home: Path, below: str, skip: tuple[str, ...], problems: list[Problem]
) -> Iterator[tuple[str, bool]]:
    with os.scandir(home / below if below else home) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link that leads to itself, say
                problems.append(_lost(name, error))
                continue
            if is_folder:
                if not below and any(fnmatchcase(name.lower(), pattern) for pattern in skip):
                    continue
                if entry.is_symlink():
                    problems.append(_linked_folder(name))
                    continue
                yield from _walk(home, name, skip, problems)
            else:
                yield name, entry.is_symlink()


def _stays(root: Path, path: str, problems: list[Problem]) -> bool:
    try:
        inside(root, path)
    except ValueError as error:
        reason = f"{str(error).replace(str(root), 'the data set')}"
        problems.append(Problem(path, None, "outside", reason, used=False))
        return False
    return True


def _linked_folder(name: str) -> Problem:
    reason = f"the folder {name!r} is a link and is not entered: move or copy its photos here"
    return Problem(name, None, "linked-folder", reason, used=False)


def _lost(name: str, error: OSError) -> Problem:
    reason = f"{name!r} leads nowhere ({error.strerror}): remove the link or point it to a file"
    return Problem(name, None, "broken-link", reason, used=False)


def _odd_name(path: str) -> Problem:
    """A name that is no text (bytes of another encoding) or holds control characters."""
    shown = path.encode("unicode_escape").decode("ascii")
    reason = f"the name {shown!r} is no text in UTF-8 on one line: rename the file"
    return Problem(shown, None, "odd-name", reason, used=False)


def same_name(folder: str, identity: str, names: list[str]) -> Iterator[Problem]:
    """The problems of photo files that share one name: the first is used, the others are not."""
    for name in names[1:]:
        path = f"{folder}/{name}" if folder else name
        reason = f"{names[0]!r} has the same name and is used instead: rename one of them"
        yield Problem(path, identity, "same-name", reason, used=False)


def read_list(path: Path) -> list[str]:
    """The entries of a split file: one photo a line, blank lines left out, order kept.

    Raises `FileNotFoundError` or `ValueError` (no entry, not text) naming the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: save the list as UTF-8") from error
    entries = [line.strip() for line in text.splitlines()]
    entries = [entry for entry in entries if entry]
    if not entries:
        raise ValueError(f"{path} names no photo: write one photo id a line")
    return entries


def list_ids(entries: list[str], label: str, report: Report) -> list[str]:
    """The sorted ids of list entries; entries that lead out or come twice go to `report`.

    An entry may carry a photo suffix ("a/b.jpg" is the id "a/b").
    """
    ids: set[str] = set()
    for entry in entries:
        name = entry.replace("\\", "/").removeprefix("./")
        stem, suffix = os.path.splitext(name)
        identity = stem if suffix.lower() in SUFFIXES else name
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            reason = f"{label} names {entry!r}, outside the photo folder: list ids below it"
            report(Problem(entry, None, "outside", reason, used=False))
        elif identity in ids:
            reason = f"{label} names {entry!r} more than once: it counts once"
            report(Problem(entry, identity, "listed-twice", reason, used=True))
        else:
            ids.add(identity)
    return sorted(ids)


def every_id(path: Path) -> list[str]:
    """The sorted ids of a split file. Raises `ValueError` for one that leads out: none is lost."""

    def refuse(problem: Problem) -> None:
        if not problem.used:
            raise ValueError(problem.reason)

    return list_ids(read_list(path), path.name, refuse)


def no_overlap(train: list[str], val: list[str]) -> None:
    """Raise `ValueError` where a photo is in both splits: its score would be a training score."""
    both = sorted(set(train) & set(val))
    if both:
        shown = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
        raise ValueError(
            f"{len(both)} photos are in the training list and in the val list ({shown}): "
            "take them off one of the two"
        )


def ignore(problem: Problem) -> None:
    """A `report` that drops everything: for `files`, which only asks what there is."""
    del problem
