"""How do the classes relate, before any photo is looked at? Text vectors and an adjacency.

    python run_pipeline.py --only graph --graph.relation text

Reads the class table and, for co-occurrence, the tags of the train split from the artifact of
`index`; writes graph.safetensors (embeddings C x d, adjacency C x C) and graph.json (names and the
card: relation, settings, text model, figures, strongest edges). Reads no photo and no mask.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from pipeline.context import Context
from pipeline.key import Place

if TYPE_CHECKING:
    import numpy as np

    from data.manifest import Manifest
    from knowledge.classes import ClassTable
    from knowledge.graph import ClassGraph
    from knowledge.vectors import Vectors

VERSION = 1

Knowledge = Literal["cooccurrence", "text", "mix"]
Control = Literal["identity", "random", "permuted"]

EDGES = 20
"""Edges listed in the card."""


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the class graph A = (1 - p) I + p O, O the row-stochastic neighbours."""

    relation: Knowledge | Control = Field(
        "cooccurrence",
        description="who is a neighbour: co-occurrence of the training tags, similarity of the "
        "class texts, their mix; or a control: nobody, random classes, another class's neighbours",
    )
    base: Knowledge = Field(
        "cooccurrence", description="relation from which the controls random and permuted are made"
    )
    strength: float = Field(
        0.2, ge=0, le=1, description="p: share of what a class hears from its neighbours"
    )
    alpha: float = Field(0.5, gt=0, le=8, description="power on similarities: below 1 levels them")
    top_k: int = Field(5, ge=1, description="neighbours kept per class")
    tau: float | None = Field(
        0.25,
        gt=0,
        le=1,
        description="co-occurrence counts as 1 from P(j|i) = tau on and as 0 below; none: P itself",
    )
    mu: float = Field(0.5, ge=0, le=1, description="share of the text relation in mix")
    text_model: str = Field(
        "all-MiniLM-L6-v2", description="sentence-transformers model that reads the class texts"
    )
    vectors: Annotated[Path | None, Place()] = Field(
        None,
        description="instead of text_model: a folder with such a model, or a safetensors file of "
        "word vectors (GloVe) with the names of its rows",
    )
    cache: Annotated[Path | None, Place()] = Field(
        None, description="folder that keeps encoded vectors for other runs; none: keep nothing"
    )
    describe: bool = Field(
        True, description="texts are 'name: description' where there is one, else the bare names"
    )
    embeddings: Literal["text", "random"] = Field(
        "text", description="vectors of the nodes; random: the control, same norms, no knowledge"
    )
    seed: int = Field(0, ge=0, description="of the controls' random numbers")


def sources(config: Config) -> dict[str, Path]:
    """The files that vectors come from: their content belongs to the result, their place does not.

    Without `vectors` those are the ones that ship with the project, and a model's own folder where
    `text_model` names one.
    """
    if config.vectors is not None:
        return {"vectors": config.vectors}
    shipped = {"shipped": Path(__file__).parents[1] / "knowledge" / "vectors"}
    model = Path(config.text_model)
    return shipped | ({"text_model": model} if model.is_dir() else {})


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Build the graph and write it below `out`.

    Raises:
        FileNotFoundError: `vectors` names nothing.
        ValueError: the text model cannot be had, or the word vectors lack a class.
    """
    from data.manifest import Manifest
    from knowledge import relations
    from knowledge.graph import ClassGraph
    from knowledge.vectors import random_vectors

    manifest = Manifest.of(inputs, context.places)
    vectors = _vectors(config, manifest.classes)
    neighbours = _neighbours(config, manifest, vectors)
    adjacency = relations.adjacency(neighbours, strength=config.strength)
    embeddings = vectors.values
    if config.embeddings == "random":
        embeddings = random_vectors(embeddings, seed=config.seed)
    card = _card(config, vectors, neighbours, manifest)
    graph = ClassGraph(manifest.classes.names, embeddings, adjacency, card)
    card["edges"] = _edges(graph)
    graph.save(out)
    alone = card["figures"]["without_neighbours"]
    if alone and config.relation != "identity":
        context.note(
            f"{len(alone)} of {len(graph.names)} classes have no neighbour in the class graph "
            f"({', '.join(alone[:4])}{', ...' if len(alone) > 4 else ''})"
        )


def _vectors(config: Config, classes: "ClassTable") -> "Vectors":
    from knowledge.vectors import read_word_vectors, text_vectors

    place = config.vectors
    if place is not None and not place.exists():
        raise FileNotFoundError(
            f"graph.vectors: there is no {place}; give a folder with a sentence-transformers model "
            "or a safetensors file of word vectors"
        )
    if place is not None and place.is_file():
        return read_word_vectors(place, classes.names)
    texts = [entry.text if config.describe else entry.name for entry in classes.classes]
    return text_vectors(texts, place or config.text_model, cache=config.cache)


def _neighbours(config: Config, manifest: "Manifest", vectors: "Vectors") -> "np.ndarray":
    """The row-stochastic neighbours O (C, C) of the relation that `config` asks for."""
    from knowledge import relations

    def text() -> "np.ndarray":
        similarity = relations.text_similarity(vectors.values)
        return relations.neighbours(similarity, alpha=config.alpha, top_k=config.top_k)

    def cooccurrence() -> "np.ndarray":
        tags = manifest.tag_matrix(manifest.split("train"))
        soft = relations.conditional(relations.cooccurrence_counts(tags))
        hard = soft if config.tau is None else relations.binarised(soft, config.tau)
        return relations.neighbours(hard, alpha=config.alpha, top_k=config.top_k, ranking=soft)

    knowledge: dict[str, Callable[[], np.ndarray]] = {
        "text": text,
        "cooccurrence": cooccurrence,
        "mix": lambda: relations.mix(text(), cooccurrence(), mu=config.mu),
    }
    controls: dict[str, Callable[[], np.ndarray]] = {
        "identity": lambda: relations.identity(len(manifest.classes)),
        "random": lambda: relations.random(knowledge[config.base](), seed=config.seed),
        "permuted": lambda: relations.permuted(knowledge[config.base](), seed=config.seed),
    }
    return (knowledge | controls)[config.relation]()


def _card(
    config: Config, vectors: "Vectors", neighbours: "np.ndarray", manifest: "Manifest"
) -> dict[str, Any]:
    """What the graph was made from, and the figures that say how much of a graph it is."""
    from knowledge.relations import effective_neighbours

    names = manifest.classes.names
    effective = [round(float(value), 3) for value in effective_neighbours(neighbours)]
    alone = [name for name, value in zip(names, effective, strict=True) if value == 0]
    described = config.describe and vectors.source != "file"
    return {
        "relation": config.relation,
        "settings": config.model_dump(mode="json", exclude={"vectors", "cache"}),
        "text": {
            "model": vectors.model,
            "source": vectors.source,
            "template": "name: description" if described else "name",
            "size": int(vectors.values.shape[1]),
            "sha256": hashlib.sha256(vectors.values.tobytes()).hexdigest(),
        },
        "tags": {"split": "train", "photos": len(manifest.split("train"))},
        "figures": {
            "off_diagonal_mass": 0.0 if len(alone) == len(names) else config.strength,
            "without_neighbours": alone,
            "effective_neighbours": dict(zip(names, effective, strict=True)),
        },
    }


def _edges(graph: "ClassGraph") -> list[dict[str, Any]]:
    return [
        {"receiver": edge.receiver, "sender": edge.sender, "weight": round(edge.weight, 6)}
        for edge in graph.strongest(EDGES)
    ]
