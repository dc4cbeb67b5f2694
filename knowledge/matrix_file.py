"""A similarity of classes that somebody else has made: JSON, CSV or safetensors, with its names.

Rows are taken by name, never by position: data sets list the same classes in several orders.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from knowledge.classes import COCO, VOC

KEYS = ("matrix", "similarity", "adjacency", "cooccurrence", "S")
"""What the matrix may be called in a JSON or safetensors file."""
NAMES = ("names", "classes")
RELEASED = {"KG_VOC_info": VOC.names, "KG_COCO_info": COCO.names}
"""Parts of the released CM_kg_*_info.json, which lists no names: its program's own order."""


class Named(NamedTuple):
    """A matrix and what its rows and columns stand for."""

    names: tuple[str, ...]
    values: Any


def read_matrix(path: Path, names: Sequence[str]) -> Float64[np.ndarray, "c c"]:
    """The similarity of the classes `names`, in their order, from `path`.

    JSON: {"names": [...], "matrix": [[...]]}, or the released CM_kg_*_info.json for exactly the
    classes of VOC or COCO. CSV: a header line of names, each further line a name and its numbers.
    safetensors: a tensor "matrix" and "names", a JSON list, in the metadata. Classes that are not
    wanted are left out. Raises FileNotFoundError; ValueError for a class without a row, a name
    twice, a matrix that is not square, and numbers that are negative or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"graph.matrix: there is no {path}; give a file with a matrix")
    found = listed(path, names)
    try:
        values = np.asarray(found.values, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"{path}: the matrix has rows of several lengths, or no numbers") from None
    count = len(found.names)
    if values.shape != (count, count) or len(set(found.names)) != count:
        raise ValueError(f"{path}: {count} names for a matrix of {values.shape}, or a name twice")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{path}: similarities must be finite and at least 0; some are not")
    rows = {name: row for row, name in enumerate(found.names)}
    missing = [name for name in names if name not in rows]
    if missing:
        raise ValueError(
            f"{path} has no row for {', '.join(map(repr, missing[:8]))} ({len(missing)} of "
            f"{len(names)} classes; its own are {', '.join(found.names[:8])}): rename them there"
        )
    order = [rows[name] for name in names]
    return values[np.ix_(order, order)]


def listed(path: Path, names: Sequence[str] = ()) -> Named:
    """The file as it is: its names and its matrix, unchecked. `names` choose a part of a release.

    Raises ValueError where it is none of the formats.
    """
    read = {".json": _json, ".csv": _csv, ".safetensors": _safetensors}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: a matrix is a .json, .csv or .safetensors file")
    return read(path, tuple(names))


def is_released(path: Path, names: Sequence[str]) -> bool:
    """Whether `path` is a JSON of the released layout that is read for exactly these classes."""
    try:
        return "S" in json.loads(path.read_text(encoding="utf-8"))[_part(tuple(names))]
    except (ValueError, KeyError, TypeError):
        return False


def _part(names: tuple[str, ...]) -> str:
    return next((part for part, own in RELEASED.items() if own == names), "")


def _json(path: Path, names: tuple[str, ...]) -> Named:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): make or copy it again") from None
    if not isinstance(document, dict):
        raise _nameless(path)
    part = document.get(_part(names))
    if isinstance(part, dict) and "S" in part:
        return Named(names, part["S"])
    own_names = next((document[key] for key in NAMES if key in document), None)
    values = next((document[key] for key in KEYS if key in document), None)
    if not isinstance(own_names, list) or not isinstance(values, list):
        raise _nameless(path)
    return Named(tuple(map(str, own_names)), values)


def _csv(path: Path, names: tuple[str, ...]) -> Named:
    del names
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV ({error}): save it again as UTF-8") from None
    header = tuple(cell.strip() for cell in lines[0][1:]) if lines else ()
    if tuple(line[0].strip() for line in lines[1:]) != header or not header:
        raise ValueError(
            f"{path}: a matrix in CSV begins with a line of names behind an empty cell, and every "
            "further line with the same names in the same order"
        )
    return Named(header, [line[1:] for line in lines[1:]])


def _safetensors(path: Path, names: tuple[str, ...]) -> Named:
    from safetensors import SafetensorError, safe_open

    del names
    try:
        with safe_open(path, framework="numpy") as file:
            own = _listed((file.metadata() or {}).get("names"))
            key = next((key for key in KEYS if key in file.keys()), None)  # noqa: SIM118
            if own is None or key is None:
                raise _nameless(path)
            return Named(own, file.get_tensor(key))
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}): copy it again") from None
    except TypeError as error:  # numpy has no bfloat16
        raise ValueError(f"{path}: {error}; save the matrix as float32") from None


def _listed(text: str | None) -> tuple[str, ...] | None:
    """The names in a metadata entry; None where it is no JSON list."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None


def _nameless(path: Path) -> ValueError:
    return ValueError(
        f"{path} holds no matrix with the names of its rows: it needs {NAMES[0]!r} (a list) and "
        f"{KEYS[0]!r} (a list of lists; in safetensors a tensor, with the names as JSON in the "
        "metadata). The released CM_kg_*_info.json is read for exactly VOC's or COCO's classes"
    )
