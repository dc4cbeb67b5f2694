"""A user's own photos: found by file, folder or pattern, decoded ahead of use, in even batches."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data.loader import ahead
from data.photos import read_photo
from data.records import SUFFIXES, Problem, find_photos, ignore

WAITING = 6
"""Full batches' worth of decoded pixels that may wait for photos of their own size."""


class OwnPhoto(NamedTuple):
    """One photo, not yet opened."""

    id: str
    """What its outputs are called: posix path below the folder that was named, without suffix."""
    path: Path


class Decoded(NamedTuple):
    """A photo with its pixels, or with the reason why it has none."""

    photo: OwnPhoto
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: str | None


def gather(
    named: Sequence[str],
    *,
    without: Path | None = None,
    report: Callable[[Problem], None] = ignore,
) -> list[OwnPhoto]:
    """The photos that files, folders (searched to the bottom) and patterns name, sorted by id.

    An id is the path below the folder, below the fixed part of the pattern, or the name of the
    file. Where two photos of one folder differ in their suffix alone, the later one keeps it in
    its id. What lies below `without`, the folder of outputs, is no input. Files of folders that
    cannot be used for their names go to `report`.

    Raises FileNotFoundError where a name finds nothing, ValueError where two photos of different
    places would have one id, and for a pattern with ".." behind its first wildcard.
    """
    found: dict[str, Path] = {}
    for name in named:
        home, files = _files(name, report)
        inner = [file for file in files if without is None or not _below(home / file, without)]
        if not inner:
            raise FileNotFoundError(
                f"{name} names no photo ({', '.join(SUFFIXES)}): check the path, and put patterns "
                "into quotes"
            )
        own: dict[str, Path] = {}
        for file in inner:
            stem = Path(file).with_suffix("").as_posix()
            own[stem if stem not in own else file] = home / file
        for identity, path in own.items():
            first = found.setdefault(identity, path)
            if first.resolve() != path.resolve():
                raise ValueError(
                    f"{first} and {path} would both be called {identity!r}: name a folder that "
                    "holds both, or predict them into two folders"
                )
    return [OwnPhoto(identity, found[identity]) for identity in sorted(found)]


def _files(name: str, report: Callable[[Problem], None]) -> tuple[Path, list[str]]:
    """The folder that ids start from, and the photos below it."""
    path = Path(name)
    if path.is_dir():
        files, problems = find_photos(path, "")
        for problem in problems:
            report(problem)
        return path, [file for identity in sorted(files) for file in files[identity]]
    if path.is_file() or not glob.has_magic(name):
        return path.parent, [path.name] if path.is_file() else []
    fixed: list[str] = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    home = Path(*fixed) if fixed else Path()
    if ".." in path.parts[len(fixed) :]:  # ids would lead out of the folder of outputs
        raise ValueError(f"{name}: put .. in front of the first * of a pattern, not behind it")
    matches = (Path(match) for match in glob.iglob(name, recursive=True))
    photos = (one for one in matches if one.suffix.lower() in SUFFIXES and one.is_file())
    return home, sorted(one.relative_to(home).as_posix() for one in photos)


def _below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def decode(photo: OwnPhoto) -> Decoded:
    """Read a photo, upright and as 8-bit RGB; a bad one comes with the reason."""
    try:
        return Decoded(photo, read_photo(photo.path), None)
    except (ValueError, OSError) as problem:
        return Decoded(photo, None, str(problem))


def in_batches(
    photos: Iterable[OwnPhoto],
    *,
    pixels: int,
    workers: int,
    report: Callable[[OwnPhoto, str], None],
) -> Iterator[tuple[list[OwnPhoto], UInt8[np.ndarray, "b h w 3"]]]:
    """Photos of one size together, decoded on `workers` threads ahead of use.

    pixels: of a batch; a larger photo is a batch of its own. Photos of rare sizes wait for their
    like until `WAITING` batches' worth of pixels wait, then the largest group goes. Bad photos go
    to `report`; the others come once each, in an order that depends on their sizes alone.
    """
    groups: dict[tuple[int, ...], list[Decoded]] = {}
    waiting = 0
    for decoded in ahead(decode, photos, threads=max(1, workers), depth=2 * max(1, workers)):
        if decoded.pixels is None:
            report(decoded.photo, decoded.problem or "")
            continue
        size = decoded.pixels.shape
        group = groups.setdefault(size, [])
        group.append(decoded)
        area = size[0] * size[1]
        waiting += area
        if (len(group) + 1) * area > pixels:
            waiting -= len(group) * area
            yield _stacked(groups.pop(size))
        elif waiting > WAITING * pixels:
            size = max(groups, key=lambda one: len(groups[one]) * one[0] * one[1])
            waiting -= len(groups[size]) * size[0] * size[1]
            yield _stacked(groups.pop(size))
    for group in groups.values():
        yield _stacked(group)


def _stacked(group: list[Decoded]) -> tuple[list[OwnPhoto], UInt8[np.ndarray, "b h w 3"]]:
    pixels = [one.pixels for one in group if one.pixels is not None]
    return [one.photo for one in group], np.stack(pixels)
