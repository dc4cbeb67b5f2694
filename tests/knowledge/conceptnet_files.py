"""Small assertions files in ConceptNet's format, written for the tests."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

Edge = tuple[str, str, str, float]
"""Relation, start, end, weight: ("IsA", "dog", "animal", 1.0); "fr:chien" is another language's."""


def uri(concept: str) -> str:
    language, _, term = concept.rpartition(":")
    return f"/c/{language or 'en'}/{term}"


def line(edge: Edge) -> str:
    relation, start, end, weight = edge
    ends = f"{uri(start)}/,{uri(end)}/"
    facts = json.dumps({"dataset": "/d/test", "weight": weight})
    return f"/a/[/r/{relation}/,{ends}]\t/r/{relation}\t{uri(start)}\t{uri(end)}\t{facts}\n"


def write_assertions(path: Path, edges: Iterable[Edge], *, extra: str = "") -> Path:
    """Write `edges` and then the `extra` lines as they are; gzip where the name ends in .gz."""
    data = ("".join(line(edge) for edge in edges) + extra).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path
