"""The recipe key of a stage: kind, version, settings, input keys, source, external files."""

import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, TypedDict

from pydantic import BaseModel


class Place:
    """Marks a path setting that says where something lies, not what it is: no part of the key.

    `root: Annotated[Path | None, Place()] = Field(None, description="...")`. A data set that moves
    keeps its keys; its content enters them through the stage's `sources(config)`.
    """

    def __repr__(self) -> str:
        return "Place()"


class Parts(TypedDict):
    """All that a key depends on, kept as `recipe.json` so that `why` can name a difference."""

    stage: str
    """Kind of the stage, not the name that a pipeline gives it."""
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    """Name by which the stage knows an input -> key of that input."""
    source: dict[str, str]
    files: dict[str, str]
    trusted: list[str]


def key_of(parts: Parts) -> str:
    """Sha256 (64 hex digits) of the canonical JSON of `parts`; equal parts have equal keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(config: BaseModel) -> dict[str, Any]:
    """The settings as plain JSON values, without the fields marked as `Place`.

    Raises ValueError for a value that has no canonical JSON form (not a number, an open object).
    """
    fields = type(config).model_fields
    return {
        name: _plain(getattr(config, name), name)
        for name, info in fields.items()
        if not _is_place(info.metadata)
    }


def places(section: str, config: BaseModel) -> dict[str, Path]:
    """ "section.field" -> path on this machine, of every `Place` field that is set."""
    found: dict[str, Path] = {}
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            found |= places(f"{section}.{name}", value)
        elif _is_place(info.metadata) and value is not None:
            found[f"{section}.{name}"] = Path(value)
    return found


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names: {"crf": {"steps": 5}} -> {"crf.steps": 5}."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            flat |= flattened(inner, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = inner
    return flat


def _is_place(metadata: list[Any]) -> bool:
    return any(isinstance(mark, Place) or mark is Place for mark in metadata)


def _plain(value: object, name: str) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, name)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"setting {name} is {value}: settings are finite numbers")
        return value
    if isinstance(value, BaseModel):
        return canonical(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{name}.{k}") for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(v, name) for v in value), key=json.dumps)
    if isinstance(value, list | tuple):
        return [_plain(v, name) for v in value]
    raise ValueError(f"setting {name} is a {type(value).__name__}, which has no JSON form")
