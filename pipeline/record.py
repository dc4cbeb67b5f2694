"""`runs/<name>/`: links to the artifacts of a run under the stages' names, and `run.json`."""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.store import Artifact, write_json

RECORD = "run.json"
STORE = ".store"


class Record:
    """The folder of one named run below `runs`.

    Raises ValueError for a name that is no plain folder name.
    """

    def __init__(self, runs: Path, name: str) -> None:
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(
                f"--name {name!r}: a run is named like a folder, without / or leading ."
            )
        self.runs = runs
        self.folder = runs / name

    def read(self) -> dict[str, Any] | None:
        """What `run.json` says, or None where there is no such run."""
        path = self.folder / RECORD
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise ValueError(f"{path} is no JSON: remove it, the next run writes it anew") from None

    def write(self, record: Mapping[str, Any]) -> None:
        """Writes `run.json` unless it says the same already."""
        with suppress(ValueError):
            if self.read() == json.loads(json.dumps(record)):
                return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / RECORD, record)

    def link(self, stage: str, artifact: Artifact, below: Collection[str] = ()) -> Path:
        """Points `runs/<name>/<stage>` at the artifact; returns the link.

        Where it pointed at another one, the links of the stages `below` go: what they show was
        made from that other one. They come back as those stages are settled.
        """
        link = self.folder / stage
        target = os.path.relpath(artifact.path, self.folder)
        if link.is_symlink() and os.readlink(link) == target:
            return link
        for name in below:
            if (self.folder / name).is_symlink():
                (self.folder / name).unlink()
        if link.exists() and not link.is_symlink():
            raise ValueError(f"{link} is in the way of a link to an artifact: move it elsewhere")
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".{stage}.{os.getpid()}.tmp"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target, target_is_directory=True)
        os.replace(fresh, link)
        return link


def linked(runs: Path) -> set[Path]:
    """Artifact directories that some run below `runs` links to."""
    return {link.resolve() for link in runs.glob("*/*") if link.is_symlink()}
