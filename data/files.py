"""Files that appear whole or not at all, and paths that stay below their root."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK = 1 << 20  # bytes read at a time when hashing
LONGEST_NAME = 255
"""Bytes of a file's name that every usual file system takes."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary name starts with a dot, keeps the suffix and is always the same for one `path`:
    what a killed run leaves is overwritten by the next, so one path has one writer at a time.
    When the block raises, the temporary file is removed and `path` stays as it was. Missing
    parent folders are made. The content reaches the disk before the name does, so that a power
    cut leaves no empty file that a resumed run would take for a finished one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    if len(os.fsencode(temporary.name)) > LONGEST_NAME:
        mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()
        temporary = path.with_name(f".{mark}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, streaming and atomically; return the number of lines.

    Bytes of a file's name that are no UTF-8 become JSON escapes and come back as they were.
    """
    count = 0
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a JSONL file line by line.

    Raises `FileNotFoundError` where it is absent and `ValueError` naming the line that is broken.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path} line {number} is no JSON ({error.msg}): the artifact is damaged; "
                    "`verify` names it and the next run makes it again"
                ) from error


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes in hex."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            state.update(block)
    return state.hexdigest()


def inside(root: Path, name: str) -> Path:
    """The path of `name` (posix, relative) below `root`, or a `ValueError` where it leads out.

    Absolute names and ".." are refused. A symbolic link is followed: it may lead anywhere below
    `root`. A folder directly below `root` may itself be a link to another disk (data sets are
    often laid out so); its files then have to stay below the folder that it points to.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ValueError(f"{name!r} leads out of {root}: use paths relative to that folder")
    path = root.joinpath(*parts)
    real = path.resolve()
    homes = [root.resolve()]
    if len(parts) > 1:
        homes.append((root / parts[0]).resolve())
    if not any(real.is_relative_to(home) for home in homes):
        raise ValueError(f"{name!r} is a link that leads out of {root}: copy the file into it")
    return path
