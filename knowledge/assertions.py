"""ConceptNet's assertions file: from 34 million lines to a sparse matrix of English concepts.

A line has five columns between tabs: URI of the assertion, relation (/r/IsA), start and end concept
(/c/en/dog/n), JSON with "weight" (Speer et al., "ConceptNet 5.5", AAAI 2017; format of the
downloads of ConceptNet 5). The file is read once, line by line; kept are 24 bytes an edge.
"""

import gzip
import hashlib
import json
import math
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64
from scipy.sparse import csr_array

EXCLUDED = (
    "Antonym",
    "DistinctFrom",
    "NotDesires",
    "NotHasProperty",
    "NotCapableOf",
    "NotUsedFor",
    "ObstructedBy",
)
"""Relations that say what two concepts are not (GRM_layer:knowledge_graph_prep.py)."""
ENGLISH = b"/c/en/"
EVERY = 200_000
"""Lines between two reports of progress."""

Progress = Callable[[int, int], None]
"""Given the bytes read so far and those of the whole file."""


@dataclass(frozen=True)
class Assertions:
    """Directed, weighted edges between n English concepts."""

    keys: UInt64[np.ndarray, " n"]
    """Ascending: the number that stands for each concept, of `concept_key`."""
    weights: csr_array
    """(n, n) float64: entry (u, v) is the summed weight of the edges from u to v."""
    edges: int
    """Assertions that were kept."""
    bad: int
    """Lines that are no assertion, or without a positive finite weight: left out."""

    def places(self, terms: Sequence[str]) -> Int64[np.ndarray, " k"]:
        """Rows of those of `terms` ("potted_plant") that the file has, in the order given."""
        wanted = np.array([concept_key(term.encode()) for term in terms], dtype=np.uint64)
        found = np.searchsorted(self.keys, wanted)
        there = found < len(self.keys)
        there[there] = self.keys[found[there]] == wanted[there]
        return found[there].astype(np.int64)


def concept_key(term: bytes) -> int:
    """64 bits that stand for a concept: names of 1.5 million would take ten times the memory.

    Two of them fall together with a probability of about one in ten million.
    """
    return int.from_bytes(hashlib.blake2b(term, digest_size=8).digest(), "little")


def read_assertions(path: Path, progress: Progress | None = None) -> Assertions:
    """The English edges of an assertions file, plain or gzip, without self-loops and `EXCLUDED`.

    "/c/en/dog/n" and "/c/en/dog/v" are one concept; several assertions about one pair add up.
    Raises FileNotFoundError, and ValueError for a file that is cut off or holds no such edge.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: give an assertions file of ConceptNet 5, "
            "conceptnet-assertions-5.7.0.csv.gz or the like"
        )
    starts, ends, weights = array("Q"), array("Q"), array("d")
    bad = 0
    with _opened(path) as lines:
        for row in _english(lines, path.stat().st_size, progress):
            edge = _edge(row)
            if edge is None:
                bad += 1
            elif edge[0] != edge[1]:
                starts.append(concept_key(edge[0]))
                ends.append(concept_key(edge[1]))
                weights.append(edge[2])
    if not weights:
        raise ValueError(
            f"{path} holds no English assertion of ConceptNet ({bad} lines are none at all): five "
            "columns between tabs, concepts as /c/en/dog; copy or download it again"
        )
    return _assembled(starts, ends, weights, bad)


@dataclass
class Lines:
    """An open file: its lines, and the bytes of the file itself that were read for them."""

    stream: BufferedIOBase
    raw: BufferedIOBase


@contextmanager
def _opened(path: Path) -> Iterator[Lines]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            yield Lines(gzip.GzipFile(fileobj=raw) if zipped else raw, raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is cut off or damaged ({error}): copy or download it again"
            ) from error


def _english(lines: Lines, size: int, progress: Progress | None) -> Iterator[bytes]:
    """Lines between two English concepts, and those that are no assertion of any language."""
    for number, line in enumerate(lines.stream, start=1):
        if line.count(b"\t" + ENGLISH) == 2 or b"\t/c/" not in line:
            yield line
        if progress is not None and number % EVERY == 0:
            progress(lines.raw.tell(), size)
    if progress is not None:
        progress(size, size)


LEFT_OUT = {f"/r/{name}".encode() for name in EXCLUDED}


def _edge(line: bytes) -> tuple[bytes, bytes, float] | None:
    """Start, end and weight of a line; None where it is no assertion, a loop where it is unwanted.

    Whether two terms are one is for the caller: an excluded relation comes as a self-loop.
    """
    cells = line.rstrip(b"\r\n").split(b"\t")
    if len(cells) != 5 or not (cells[2].startswith(ENGLISH) and cells[3].startswith(ENGLISH)):
        return None
    if cells[1] in LEFT_OUT:
        return b"", b"", 0.0
    try:
        weight = float(json.loads(cells[4])["weight"])
    except (ValueError, KeyError, TypeError):
        return None
    if not (math.isfinite(weight) and weight > 0):
        return None
    start, end = (cell[len(ENGLISH) :].split(b"/", 1)[0] for cell in cells[2:4])
    return (start, end, weight) if start and end else None


def _assembled(
    starts: "array[int]", ends: "array[int]", weights: "array[float]", bad: int
) -> Assertions:
    count = len(weights)
    both = np.concatenate([np.frombuffer(one, dtype=np.uint64) for one in (starts, ends)])
    keys, places = np.unique(both, return_inverse=True)
    values = np.frombuffer(weights, dtype=np.float64)
    shape = (len(keys), len(keys))
    matrix = csr_array((values, (places[:count], places[count:])), shape=shape)
    return Assertions(keys, matrix, count, bad)
