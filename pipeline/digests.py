"""Digests of files, remembered by what `stat` says, so that unchanged files are not read again."""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

ABSENT = "absent"
"""Stands for the digest of a file that is not there, so that its arrival changes the key."""
YOUNG_SECONDS = 2.0
"""A file changed this recently may change again within one tick of its clock: not remembered."""
FEW = 500
"""Up to this many paths are asked for one by one; beyond, the whole table is read at once."""

Progress = Callable[[int, int], None]


class DigestCache:
    """Values computed from single files (a content hash, the shape of a source), by path.

    A value holds as long as size, mtime and ctime (both in nanoseconds) of its file do. The table
    lies in one sqlite file; where that cannot be written or read, everything is computed anew.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def contents(
        self, paths: Mapping[str, Path], progress: Progress | None = None
    ) -> dict[str, str]:
        """Label -> sha256 of the content; a folder stands for every file below it.

        A file that cannot be read counts as absent: the stage that needs it says so, or does
        without it.
        """
        files: dict[str, str] = {}
        for label, path in paths.items():
            files |= _below(label, path) if os.path.isdir(path) else {label: str(path)}
        known = self.values("content", list(files.values()), _content, progress)
        return {label: known[path] for label, path in sorted(files.items())}

    def values(
        self,
        kind: str,
        paths: Sequence[str],
        compute: Callable[[str], str],
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """Path -> `compute(path)`, or `ABSENT` where there is no such file."""
        stats = {path: _stat(path) for path in paths}
        present = {path: stat for path, stat in stats.items() if stat is not None}
        known = {
            path: value
            for path, value, *stat in self._rows(kind, present)
            if tuple(stat) == present.get(path)
        }
        missing = [path for path in present if path not in known]
        fresh: dict[str, str] = {}
        with ThreadPoolExecutor(max_workers=8) as threads:  # hashing releases the interpreter
            for path, value in zip(missing, threads.map(compute, missing), strict=True):
                fresh[path] = value
                if progress is not None:
                    progress(len(fresh), len(missing))
        self._remember(kind, fresh, present)
        return {path: known.get(path) or fresh.get(path, ABSENT) for path in paths}

    def _rows(self, kind: str, present: Mapping[str, object]) -> list[tuple]:
        if self.path is None or not self.path.is_file() or not present:
            return []
        select = "SELECT path, value, size, mtime, ctime FROM digests WHERE kind = ?"
        try:
            with closing(self._connect()) as table:
                if len(present) > FEW:
                    return table.execute(select, (kind,)).fetchall()
                one = f"{select} AND path = ?"
                return [r for p in present for r in table.execute(one, (kind, p)).fetchall()]
        except sqlite3.Error:
            return []

    def _remember(self, kind: str, fresh: Mapping[str, str], stats: Mapping[str, tuple]) -> None:
        settled = (time.time() - YOUNG_SECONDS) * 1e9
        rows = [
            (kind, path, value, *stats[path])
            for path, value in fresh.items()
            if value != ABSENT and max(stats[path][1:]) < settled
        ]
        if self.path is None or not rows:
            return
        with suppress(sqlite3.Error, OSError):  # a cache that cannot be written is only slower
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as table, table:
                table.execute(
                    "CREATE TABLE IF NOT EXISTS digests (kind TEXT, path TEXT, value TEXT,"
                    " size INTEGER, mtime INTEGER, ctime INTEGER, PRIMARY KEY (kind, path))"
                    " WITHOUT ROWID"
                )
                table.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self.path), timeout=30)


def sha256_of(path: str | Path) -> str:
    """Sha256 of a file's content as 64 hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content(path: str) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ABSENT


def digest_of(value: object) -> str:
    """Sha256 of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def files_below(folder: Path) -> Iterable[str]:
    """Path of every file below `folder`, relative, with "/", sorted."""
    root = str(folder)
    found = [
        os.path.join(where, name)[len(root) + 1 :].replace(os.sep, "/")
        for where, _, names in os.walk(root)
        for name in names
    ]
    return sorted(found)


def _below(label: str, folder: Path) -> dict[str, str]:
    return {f"{label}/{name}": os.path.join(folder, name) for name in files_below(folder)}


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:  # not there, not ours to ask about, or a link that leads to itself
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
