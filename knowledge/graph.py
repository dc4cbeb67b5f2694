"""ClassGraph: what is known about the classes before any photo, as vectors and as an adjacency."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

TENSORS = "graph.safetensors"
CARD = "graph.json"


class Edge(NamedTuple):
    """`receiver` hears from `sender`: one off-diagonal entry of the adjacency."""

    receiver: str
    sender: str
    weight: float
    """Share of what the receiver hears, 0..1."""


@dataclass(frozen=True)
class ClassGraph:
    """Vectors and relations of C classes. Read-only: normalised once, when it was built.

    Raises ValueError where sizes disagree or a number is not finite.
    """

    names: tuple[str, ...]
    """Names of the classes, in the order of the rows below."""
    embeddings: Float32[np.ndarray, "c d"]
    """One text vector a class."""
    adjacency: Float32[np.ndarray, "c c"]
    """Row i holds what class i receives from every class: >= 0; rows of form "ours" sum to 1."""
    card: dict[str, Any]
    """What it was made from: relation, settings, text model, strongest edges, figures."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.adjacency.shape != (count, count) or self.embeddings.shape[:1] != (count,):
            raise ValueError(
                f"class graph of {count} names has an adjacency of {self.adjacency.shape} and "
                f"vectors of {self.embeddings.shape}: make the graph again"
            )
        for part, array in (("adjacency", self.adjacency), ("embeddings", self.embeddings)):
            if not np.isfinite(array).all():
                raise ValueError(f"the class graph's {part} holds numbers that are not finite")
            array.setflags(write=False)

    def check(self, names: tuple[str, ...]) -> None:
        """Raise ValueError unless `names` are this graph's, in this order."""
        if tuple(names) == self.names:
            return
        if len(names) != len(self.names):
            raise ValueError(
                f"the class graph has {len(self.names)} classes, the data set {len(names)}: "
                "make the graph again for this data set"
            )
        index = next(i for i, (a, b) in enumerate(zip(self.names, names, strict=True)) if a != b)
        order = (
            "the same names in another order" if set(names) == set(self.names) else "other names"
        )
        raise ValueError(
            f"the class graph has {order} than the data set: class {index + 1} is "
            f"{self.names[index]!r} there and {names[index]!r} here; make the graph again"
        )

    def strongest(self, count: int) -> list[Edge]:
        """The `count` heaviest edges between two classes, heaviest first, ties in class order."""
        off = self.adjacency.astype(np.float64)
        np.fill_diagonal(off, 0.0)
        order = np.argsort(-off, axis=None, kind="stable")[:count]
        pairs = [divmod(int(flat), len(self.names)) for flat in order]
        return [
            Edge(self.names[row], self.names[column], float(off[row, column]))
            for row, column in pairs
            if off[row, column] > 0
        ]

    def save(self, folder: Path) -> None:
        """Write graph.safetensors and graph.json into `folder`, same bytes for the same graph."""
        from safetensors.numpy import save

        arrays = {
            "adjacency": np.ascontiguousarray(self.adjacency),
            "embeddings": np.ascontiguousarray(self.embeddings),
        }
        # One metadata entry: safetensors writes several in an order that changes from run to run.
        names = json.dumps(self.names, ensure_ascii=False)
        (folder / TENSORS).write_bytes(save(arrays, metadata={"names": names}))
        document = {"names": self.names, "card": self.card}
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        (folder / CARD).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ClassGraph":
        """Read what `save` wrote. Raises ValueError where the two files are not of one graph."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(folder / TENSORS, framework="numpy") as file:
                names = tuple(json.loads((file.metadata() or {})["names"]))
                arrays = {key: file.get_tensor(key) for key in ("adjacency", "embeddings")}
            document = json.loads((folder / CARD).read_text(encoding="utf-8"))
            if tuple(document["names"]) != names:
                raise ValueError("its two files name different classes")
            return cls(names=names, card=document["card"], **arrays)
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"{folder} holds no class graph: {error}; make it again") from error
