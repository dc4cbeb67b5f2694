"""Text vectors of classes: shipped, cached, encoded afresh, or read from a file of word vectors.

A file of vectors is safetensors: one (n, d) float32 tensor for every list of texts, and in the
metadata, under "card", the model and for every tensor the digest of model and texts. Vectors are
taken only where that digest matches, so an edited description is never served with old vectors.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from knowledge.glove import is_text, read_glove

MODEL = "all-MiniLM-L6-v2"
"""384 numbers a text, unit length (sentence-transformers; Apache-2.0)."""
SHIPPED = Path(__file__).with_name("vectors")
"""Vectors of the three class tables, made by `python -m knowledge.make_vectors`."""


@dataclass(frozen=True)
class Vectors:
    """Text vectors and where they came from."""

    values: Float32[np.ndarray, "n d"]
    """One row a text, as the model gives them."""
    source: str
    """"shipped", "cache", "encoder" or "file"."""
    model: str
    """Name of the model; "folder:" and a digest of its files for a local one; a file's name."""


def text_vectors(
    texts: Sequence[str], model: str | Path = MODEL, *, cache: Path | None = None
) -> Vectors:
    """The vectors of `texts`: shipped ones where they match, else cached, else encoded here.

    `model` is a sentence-transformers name ("all-mpnet-base-v2", "owner/name") or a folder with
    such a model; `cache` is a folder that keeps what was encoded. Raises ValueError where the model
    is not to be had, with the ways out.
    """
    found = kept_vectors(texts, model, cache=cache)
    if found is not None:
        return found
    from knowledge.encoder import encode

    values, identity = encode(texts, model), model_identity(model)
    if cache is not None:
        path = cache / f"{digest(texts, identity)}.safetensors"
        write_vectors(path, {"vectors": (texts, values)}, model=identity)
    return Vectors(values, "encoder", identity)


def kept_vectors(
    texts: Sequence[str], model: str | Path = MODEL, *, cache: Path | None = None
) -> Vectors | None:
    """The shipped vectors of `texts` where they match, else the cached; None: to be encoded."""
    identity = model_identity(model)
    key = digest(texts, identity)
    files = sorted(SHIPPED.glob("*.safetensors"))
    kept = None if cache is None else cache / f"{key}.safetensors"
    for source, candidates in (("shipped", files), ("cache", [kept] if kept else [])):
        for path in candidates:
            found = read_vectors(path, key) if path.is_file() else None
            if found is not None:
                return Vectors(found, source, identity)
    return None


def model_identity(model: str | Path) -> str:
    """What stands for the model in digests: its name, or its files' content for a folder."""
    folder = Path(model)
    if not folder.is_dir():
        return str(model).removeprefix("sentence-transformers/")
    content = hashlib.sha256()
    for path in model_files(folder):
        content.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return f"folder:{content.hexdigest()[:16]}"


def model_files(folder: Path) -> list[Path]:
    """The files of a sentence-transformers folder that its vectors depend on, sorted."""
    kinds = {".json", ".txt", ".model", ".safetensors"}
    return sorted(path for path in folder.rglob("*") if path.suffix in kinds and path.is_file())


def digest(texts: Sequence[str], model: str) -> str:
    """The identity of the vectors of `texts`, in this order, by `model`."""
    return hashlib.sha256(json.dumps([model, list(texts)]).encode()).hexdigest()


def write_vectors(
    path: Path,
    tensors: Mapping[str, tuple[Sequence[str], Float32[np.ndarray, "n d"]]],
    *,
    model: str,
) -> None:
    """Write tensor name -> (texts, vectors) to `path`, complete or not at all."""
    from safetensors.numpy import save

    digests = {name: digest(texts, model) for name, (texts, _) in tensors.items()}
    card = {"model": model, "digests": digests}
    arrays = {name: np.ascontiguousarray(values) for name, (_, values) in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # One metadata entry: safetensors writes several in an order that changes from run to run.
    data = save(arrays, metadata={"card": json.dumps(card, sort_keys=True)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def read_vectors(path: Path, key: str) -> Float32[np.ndarray, "n d"] | None:
    """The tensor of `path` whose digest is `key`, or None where it has none."""
    with _opened(path) as file:
        digests = json.loads((file.metadata() or {}).get("card", "{}")).get("digests", {})
        names = [name for name, value in digests.items() if value == key]
        return np.asarray(file.get_tensor(names[0]), dtype=np.float32) if names else None


def read_word_vectors(path: Path, names: Sequence[str]) -> Vectors:
    """Vectors of `names` from a file of word vectors (GloVe and the like), mapped by name.

    The file is text as `knowledge.glove` reads it (.txt, .vec, also .gz), or safetensors with an
    (n, d) tensor "embeddings" and, in the metadata under "names", the JSON list of the n names of
    its rows, in whatever order. Raises ValueError naming the file and the classes that it lacks.
    """
    if is_text(path):
        return Vectors(read_glove(path, names), "file", path.name)
    with _opened(path) as file:
        listed = (file.metadata() or {}).get("names")
        if listed is None or "embeddings" not in file.keys():  # noqa: SIM118 (no iterator)
            raise ValueError(
                f'{path} holds no word vectors: it needs a tensor "embeddings" and, in its '
                'metadata, "names": the JSON list of the names of its rows'
            )
        rows = np.asarray(file.get_tensor("embeddings"), dtype=np.float32)
    order = json.loads(listed)
    if rows.ndim != 2 or len(order) != len(rows) or len(set(order)) != len(order):
        raise ValueError(f"{path}: {len(order)} names for rows of shape {rows.shape}, or one twice")
    index = {name: row for row, name in enumerate(order)}
    missing = [name for name in names if name not in index]
    if missing:
        raise ValueError(
            f"{path} has no vector for {', '.join(map(repr, missing[:8]))} ({len(missing)} of "
            f"{len(names)} classes): give a file that has them, or leave `vectors` out and let "
            "a text model read the names"
        )
    return Vectors(rows[[index[name] for name in names]], "file", path.name)


def random_vectors(like: Float32[np.ndarray, "c d"], *, seed: int) -> Float32[np.ndarray, "c d"]:
    """The control for text knowledge: random directions, each with the norm of its text vector."""
    noise = np.random.default_rng(seed).standard_normal(like.shape)
    noise *= np.linalg.norm(like, axis=1, keepdims=True) / np.linalg.norm(
        noise, axis=1, keepdims=True
    )
    return noise.astype(np.float32)


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file ({error}): make or copy it again"
        ) from None
