"""What a report reads: the artifacts of one run and the two files that the store adds to each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import read_lines

STAGES = (
    "index",
    "masks",
    "graph",
    "features",
    "classify",
    "cams",
    "walk",
    "labels-first",
    "rescore-first",
    "labels-second",
    "rescore",
    "edges",
    "spread",
    "labels",
    "inspect",
    "segment-first",
    "relabel",
    "segment",
    "evaluate",
    "segment-masks",
    "evaluate-masks",
)
"""All stages that a report knows, in the order of the flow."""


@dataclass(frozen=True)
class Artifact:
    """One stage's artifact with what the store wrote beside its files."""

    name: str
    path: Path
    recipe: dict[str, Any]
    """Parts of the key: stage, version, config, inputs (name -> key), source, files."""
    manifest: dict[str, Any]
    """Files and digests, versions, seconds, peak memory; empty where there is no manifest.json."""

    @property
    def config(self) -> dict[str, Any]:
        """Settings that the stage ran with."""
        return dict(self.recipe.get("config", {}))

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the artifact, empty where there is none."""
        return read_json(self.path / name)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """A JSON-lines file of the artifact, empty where there is none."""
        path = self.path / name
        return list(read_lines(path)) if path.is_file() else []


@dataclass(frozen=True)
class Run:
    """The artifacts of one run by stage name."""

    artifacts: Mapping[str, Artifact]

    @classmethod
    def of(cls, inputs: Mapping[str, Path]) -> "Run":
        """Those of `inputs` whose directory exists. Raises FileNotFoundError without an index."""
        found = {name: path for name, path in inputs.items() if path.is_dir()}
        if "index" not in found:
            raise FileNotFoundError(
                "a report needs at least the index of its run: make it with --until index"
            )
        return cls({name: read_artifact(name, path) for name, path in found.items()})

    @classmethod
    def at(cls, folder: Path) -> "Run":
        """The run in `folder` (runs/<name>): one directory or link a stage."""
        return cls.of({name: folder / name for name in STAGES})

    def __contains__(self, name: str) -> bool:
        return name in self.artifacts

    def json(self, stage: str, name: str) -> dict[str, Any]:
        """A JSON file of a stage, empty where either is missing."""
        artifact = self.artifacts.get(stage)
        return artifact.json(name) if artifact else {}

    def lines(self, stage: str, name: str) -> list[dict[str, Any]]:
        """A JSON-lines file of a stage, empty where either is missing."""
        artifact = self.artifacts.get(stage)
        return artifact.lines(name) if artifact else []

    def config(self, stage: str) -> dict[str, Any]:
        """Settings of a stage, empty where it is missing."""
        artifact = self.artifacts.get(stage)
        return artifact.config if artifact else {}

    def inputs(self) -> dict[str, Path]:
        """Directories by stage name, as stages are given them."""
        return {name: artifact.path for name, artifact in self.artifacts.items()}


def read_artifact(name: str, path: Path) -> Artifact:
    """The artifact of stage `name` in `path`."""
    recipe, manifest = read_json(path / "recipe.json"), read_json(path / "manifest.json")
    return Artifact(name, path, recipe, manifest)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing. Raises ValueError naming a damaged one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no JSON ({error}): `verify` names damaged artifacts"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object: `verify` names damaged artifacts")
    return found
