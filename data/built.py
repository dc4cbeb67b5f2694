"""A folder of masks being built, which says what from: a killed build goes on, another stays out.

`build.json` comes first and stays. Masks appear whole or not at all, so what is there under a
mask's name was finished by a build of the same `build.json`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.files import replacing

MADE = "build.json"


def begin(folder: Path, made: Mapping[str, Any]) -> Path:
    """Make `folder` ready for masks made as `made` (JSON values) says; returns `folder`.

    Raises `ValueError` where it holds something else, or masks that were made in another way.
    """
    wanted = json.loads(json.dumps(made))
    path = folder / MADE
    if path.is_file():
        _check(path, wanted)
        return folder
    if folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir()):
        raise ValueError(f"{folder} is not empty: give another folder, or remove it first")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    return folder


def _check(path: Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: give another folder, or remove {path.parent} first")
    other = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if other:
        raise ValueError(
            f"{path.parent} holds masks that were made with another {', '.join(other)}: give "
            "another folder, or remove it first"
        )
