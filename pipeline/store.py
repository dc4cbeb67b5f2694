"""Artifact directories: begun in `<key>.partial`, described last, published by one rename."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.digests import digest_of, files_below, sha256_of
from pipeline.key import Parts

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
BEGUN = ".begun.json"
SHORT = 16
"""Hex digits of a key in the name of its directory: 64 bits."""
ONE_BY_ONE = 200
"""Up to this many files are flushed one by one; beyond, the whole file system at once."""


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: its directory and what its `manifest.json` says."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        return self.manifest["key"]

    @property
    def digest(self) -> str:
        """Digest of the bytes of all files: equal keys need not mean equal bytes."""
        return self.manifest["digest"]

    @property
    def inputs(self) -> dict[str, str]:
        """Input name -> digest of the artifact that was read."""
        return {name: used["digest"] for name, used in self.manifest["inputs"].items()}

    @cached_property
    def recipe(self) -> Parts:
        """The parts of the key, as they were when the artifact was made.

        Raises OSError or ValueError where the file is gone or broken; see `readable`.
        """
        return json.loads((self.path / RECIPE).read_text())

    @property
    def readable(self) -> bool:
        """Whether the recipe can still be read."""
        try:
            return {*Parts.__annotations__} <= {*self.recipe}
        except (OSError, ValueError, TypeError):
            return False


class Store:
    """All artifacts below `root`, as `<stage>/<first 16 digits of the key>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Where the artifact is once complete."""
        return self.root / stage / key[:SHORT]

    def partial(self, stage: str, key: str) -> Path:
        """Where the artifact is while being made."""
        return self.root / stage / f"{key[:SHORT]}.partial"

    @contextmanager
    def lock(self, stage: str, key: str, waiting: Any = None) -> Iterator[None]:
        """Holds one key on this machine and, where the file system locks, on all of them.

        Calls `waiting()` once where another process holds it.
        """
        from filelock import FileLock, Timeout  # 20 ms that a run of hits need not pay

        (self.root / stage).mkdir(parents=True, exist_ok=True)
        held = FileLock(self.root / stage / f"{key[:SHORT]}.lock")
        try:
            held.acquire(timeout=0)
        except Timeout:
            if waiting is not None:
                waiting()
            held.acquire()
        try:
            yield
        finally:
            held.release()

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artifact of that key, complete when it was published, or None."""
        return _read(self.folder(stage, key))

    def all(self, stage: str) -> list[Artifact]:
        """Every published artifact of a stage, newest first."""
        folder = self.root / stage
        names = os.listdir(folder) if folder.is_dir() else []
        found = [_read(folder / name) for name in names if "." not in name]
        return sorted((a for a in found if a), key=lambda a: a.manifest["made"], reverse=True)

    def damage(self, artifact: Artifact) -> dict[str, str]:
        """File -> what is wrong with it: missing, of another size, or found altered by `verify`."""
        wrong: dict[str, str] = {}
        for name, (size, _) in artifact.manifest["files"].items():
            try:
                found = os.stat(os.path.join(artifact.path, name)).st_size
            except (FileNotFoundError, NotADirectoryError):
                wrong[name] = "is missing"
                continue
            if found != size:
                wrong[name] = f"has {found} bytes instead of {size}"
        if not (artifact.path / RECIPE).is_file():
            wrong[RECIPE] = "is missing"
        marker = _damage_file(artifact.path)
        if marker.exists():
            wrong |= dict.fromkeys(json.loads(marker.read_text()), "is altered")
        return wrong

    def verify(self, artifact: Artifact) -> dict[str, str]:
        """Re-hashes every file; like `damage`, and remembers altered files for the next run."""
        marker = _damage_file(artifact.path)
        marker.unlink(missing_ok=True)
        wrong = self.damage(artifact)
        sound = {n: d for n, (_, d) in artifact.manifest["files"].items() if n not in wrong}
        with ThreadPoolExecutor(max_workers=8) as threads:
            hashes = threads.map(lambda name: sha256_of(artifact.path / name), sound)
            altered = [n for n, h in zip(sound, hashes, strict=True) if h != sound[n]]
        if altered:
            marker.write_text(json.dumps(altered))
        return wrong | dict.fromkeys(altered, "is altered")

    def begun(self, stage: str, key: str) -> dict[str, Any] | None:
        """What is known of a partial artifact: digests of its inputs, seconds spent; or None."""
        try:
            return json.loads((self.partial(stage, key) / BEGUN).read_text())
        except (OSError, ValueError):
            return None

    def begin(
        self, stage: str, key: str, *, parts: Parts, inputs: Mapping[str, str], again: bool
    ) -> tuple[Path, dict[str, Any]]:
        """The directory to fill. Keeps what a killed run left, if it read the same inputs.

        `again`: start from nothing, unless the work that was left was itself begun `again`.
        """
        path = self.partial(stage, key)
        begun = self.begun(stage, key)
        if begun is not None and begun["inputs"] == inputs and (begun["again"] or not again):
            write_json(path / RECIPE, parts)
            return path, begun
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        begun = {"inputs": dict(inputs), "again": again, "spent": 0.0}
        write_json(path / RECIPE, parts)
        write_json(path / BEGUN, begun)
        return path, begun

    def set_back(self, artifact: Artifact, damage: Mapping[str, str]) -> None:
        """Makes a damaged artifact partial again, without the damaged files: a stage repairs it."""
        path = artifact.path.with_name(f"{artifact.path.name}.partial")
        if path.exists():
            shutil.rmtree(path)
        begun = {"inputs": artifact.inputs, "again": False, "spent": artifact.manifest["seconds"]}
        write_json(artifact.path / BEGUN, begun)
        (artifact.path / MANIFEST).unlink()
        for name in damage:
            (artifact.path / name).unlink(missing_ok=True)
        os.replace(artifact.path, path)
        _damage_file(artifact.path).unlink(missing_ok=True)

    def publish(self, stage: str, key: str, facts: Mapping[str, Any]) -> Artifact:
        """Describes, flushes and renames a finished partial. `facts` enter the manifest.

        Nothing is published unless all of it is on disk. An older artifact of the same key, made
        again, is moved aside first and removed afterwards.
        """
        partial, folder = self.partial(stage, key), self.folder(stage, key)
        names = list(_finished_files(partial))
        if not names:
            raise ValueError("the stage ended without writing any file")
        with ThreadPoolExecutor(max_workers=8) as threads:
            hashes = threads.map(lambda name: sha256_of(partial / name), names)
            files = {
                name: [(partial / name).stat().st_size, digest]
                for name, digest in zip(names, hashes, strict=True)
            }
        made = {
            "stage": stage,
            "key": key,
            "digest": digest_of({name: digest for name, (_, digest) in files.items()}),
            **facts,
            "bytes": sum(size for size, _ in files.values()),
            "made": time.time(),
            "files": files,
        }
        flush(partial, [*names, RECIPE])
        write_json(partial / MANIFEST, made)
        flush(partial, [MANIFEST])
        old = folder.with_name(f"{folder.name}.old")
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(partial, folder)
        (folder / BEGUN).unlink(missing_ok=True)  # kept until here: a kill before loses no work
        flush(folder.parent, [])
        shutil.rmtree(old, ignore_errors=True)
        _damage_file(folder).unlink(missing_ok=True)
        return Artifact(folder, made)


def write_json(path: Path, value: object) -> None:
    """Writes JSON so that a reader finds the old text or the new one, never half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(fresh, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def flush(folder: Path, names: list[str]) -> None:
    """Forces files below `folder`, and the folders' own entries, onto the disk."""
    if len(names) > ONE_BY_ONE:
        os.sync()
        return
    holders = {folder, *((folder / name).parent for name in names)}
    for path in [*(folder / name for name in names), *sorted(holders)]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(path: Path) -> Artifact | None:
    try:
        return Artifact(path, json.loads((path / MANIFEST).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return None  # a manifest that is no JSON: as good as none, the stage is made again


def _finished_files(partial: Path) -> Iterator[str]:
    """Every file of the stage; removes what a killed writer left under a hidden name."""
    for name in files_below(partial):
        if name in (RECIPE, MANIFEST, BEGUN):
            continue
        if name.rpartition("/")[2].startswith("."):
            (partial / name).unlink()
        else:
            yield name


def _damage_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
