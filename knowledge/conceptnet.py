"""How near classes are in ConceptNet: a walk with restart from the concepts of each.

The paper's knowledge graph (arXiv 2309.14057; GRM_layer:knowledge_graph_prep.py after Fang et al.
2017), from an assertions file that the user has. Reading it takes minutes, so a cache keeps the
small result.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from knowledge.assertions import EXCLUDED, Progress, read_assertions
from knowledge.phrases import phrases
from knowledge.restart_walk import ITERATIONS, RESTART, TOLERANCE, walk_similarity

FORMAT = 1
"""To be raised where the same file comes to mean other numbers: kept results are left alone."""


@dataclass(frozen=True)
class ConceptNet:
    """The walk's similarity of C classes and what it was made from."""

    similarity: Float64[np.ndarray, "c c"]
    """S_ij = sqrt(R_ij R_ji) >= 0, symmetric; 0 in row and column of an unknown class."""
    card: dict[str, Any]
    """edges, concepts, bad_lines; unknown: classes without a concept; of: concepts by class."""


def concept_similarity(
    path: Path,
    names: Sequence[str],
    *,
    cache: Path | None = None,
    restart: float = RESTART,
    progress: Progress | None = None,
) -> ConceptNet:
    """The similarity of the classes `names` by the assertions file `path`.

    `cache`: a folder that keeps the result under a digest of file, names and settings. Raises
    FileNotFoundError or ValueError as `read_assertions` does, and ValueError where the file knows
    none of the classes.
    """
    kept = None
    if cache is not None and path.is_file():
        kept = cache / f"conceptnet-{_digest(path, names, restart)}.safetensors"
        if kept.is_file():
            return _read(kept)
    found = _made(path, names, restart=restart, progress=progress)
    if kept is not None:
        _write(kept, found)
    return found


def concepts(name: str) -> tuple[str, ...]:
    """The concepts that may mean a class, as ConceptNet spells them: "potted_plant"."""
    spelt = (phrase.replace("-", "_").replace(" ", "_") for phrase in phrases(name))
    return tuple(dict.fromkeys(spelt))


def _made(
    path: Path, names: Sequence[str], *, restart: float, progress: Progress | None
) -> ConceptNet:
    assertions = read_assertions(path, progress)
    of = {name: [one for one in concepts(name) if len(assertions.places([one]))] for name in names}
    if not any(of.values()):
        raise ValueError(
            f"{path} knows none of the classes ({', '.join(names[:5])}): ConceptNet has English "
            "words; take --graph.relation text for names like these"
        )
    groups = [assertions.places(of[name]) for name in names]
    similarity = walk_similarity(assertions.weights, groups, restart=restart)
    card = {
        "edges": assertions.edges,
        "concepts": len(assertions.keys),
        "bad_lines": assertions.bad,
        "unknown": [name for name in names if not of[name]],
        "of": of,
    }
    return ConceptNet(similarity, card)


def _digest(path: Path, names: Sequence[str], restart: float) -> str:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    parts = [FORMAT, content, [[name, concepts(name)] for name in names]]
    parts += [restart, TOLERANCE, ITERATIONS, EXCLUDED]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _write(path: Path, found: ConceptNet) -> None:
    from safetensors.numpy import save

    data = save({"similarity": found.similarity}, metadata={"card": json.dumps(found.card)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _read(path: Path) -> ConceptNet:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads(file.metadata()["card"])
            return ConceptNet(np.asarray(file.get_tensor("similarity")), card)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, it is made again") from None
