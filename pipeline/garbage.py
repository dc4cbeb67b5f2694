"""Removes artifacts that no run needs: keeps the newest of each stage and all that runs link to."""

import os
import shutil
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from pipeline.digests import files_below
from pipeline.store import Store


@dataclass(frozen=True)
class Waste:
    """One directory that nothing needs, and the bytes that removing it frees."""

    path: Path
    bytes: int


def waste(store: Store, *, keep: int, linked: Set[Path]) -> Iterator[Waste]:
    """Directories of `store` to remove: all but the `keep` newest of a stage and the linked ones.

    Unfinished work counts like an artifact, by the time of its last change. What was set aside by
    a publication that was killed (`.old`) is always waste.
    """
    stages = sorted(path for path in store.root.glob("*") if path.is_dir())
    for stage in stages:
        complete = [artifact.path for artifact in store.all(stage.name)]
        partial = sorted(stage.glob("*.partial"), key=lambda p: p.stat().st_mtime, reverse=True)
        torn = [p for p in stage.iterdir() if p.is_dir() and "." not in p.name]
        useless = [*complete[keep:], *partial[keep:], *stage.glob("*.old")]
        useless += [path for path in torn if path not in complete]
        for path in useless:
            if path.resolve() not in linked:
                yield Waste(path, _bytes(path))


def remove(store: Store, found: Waste) -> bool:
    """Removes one directory under the lock of its key; False where a run is at work on it."""
    from filelock import FileLock, Timeout

    key = found.path.name.partition(".")[0]
    try:
        with FileLock(found.path.with_name(f"{key}.lock"), timeout=0):
            # Renamed first: a reader finds the artifact whole or not at all.
            doomed = found.path.with_name(f"{key}.old")
            if found.path != doomed:
                shutil.rmtree(doomed, ignore_errors=True)
                os.replace(found.path, doomed)
            shutil.rmtree(doomed)
    except Timeout:
        return False
    if not found.path.with_name(key).exists():
        found.path.with_name(f"{key}.damaged").unlink(missing_ok=True)
    return True


def _bytes(path: Path) -> int:
    return sum((path / name).stat().st_size for name in files_below(path))
