"""How do the classes relate, before any photo is looked at? Text vectors and an adjacency.

    python run_pipeline.py --only graph --graph.relation text

Reads the class table and, for co-occurrence, the tags of the train split from the artifact of
`index`; writes graph.safetensors (embeddings C x d, adjacency C x C) and graph.json (names and the
card: relation, settings, text model, figures, strongest edges). Reads no photo and no mask.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from pipeline.context import Context
from pipeline.key import Place

if TYPE_CHECKING:
    import numpy as np

    from knowledge.classes import ClassTable
    from knowledge.graph import ClassGraph
    from knowledge.vectors import Vectors
    from stages.class_relations import Relations

VERSION = 1

Source = Literal["cooccurrence", "text", "conceptnet", "matrix"]
Knowledge = Literal["cooccurrence", "text", "conceptnet", "matrix", "mix"]
Control = Literal["identity", "random", "permuted"]

EDGES = 20
"""Edges listed in the card."""
PLACES = {"vectors", "cache", "conceptnet", "matrix", "descriptions"}
"""Settings that say where something lies: no part of the card."""


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the class graph A = (1 - p) I + p O, O the row-stochastic neighbours."""

    relation: Knowledge | Control = Field(
        "cooccurrence",
        description="who is a neighbour: co-occurrence of the training tags, similarity of the "
        "class texts, nearness in ConceptNet, a matrix of your own, a mix of two of them; or a "
        "control: nobody, random classes, another class's neighbours",
    )
    base: Knowledge = Field(
        "cooccurrence", description="relation from which the controls random and permuted are made"
    )
    mixed: tuple[Source, Source] = Field(
        ("text", "cooccurrence"), description="the two relations of mix"
    )
    form: Literal["ours", "mlgcn", "mlgcn_code", "released"] = Field(
        "ours",
        description="how a relation becomes an adjacency: (1 - p) I + p O with alpha and top_k; "
        "ML-GCN's of the paper; ML-GCN's of its program, which turns the direction around (both "
        "for cooccurrence at tau); D^-1/2 (S + I) D^-1/2 of the GRM program",
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
    mu: float = Field(0.5, ge=0, le=1, description="share of the first relation in mix")
    conceptnet: Annotated[Path | None, Place()] = Field(
        None,
        description="assertions file of ConceptNet 5 (conceptnet-assertions-5.7.0.csv.gz), for the "
        "relation conceptnet",
    )
    matrix: Annotated[Path | None, Place()] = Field(
        None,
        description="similarities with the names of their rows, for the relation matrix: JSON "
        "(names, matrix), CSV with names in its first line and column, safetensors; or the "
        "released CM_kg_*_info.json",
    )
    text_model: str = Field(
        "all-MiniLM-L6-v2", description="sentence-transformers model that reads the class texts"
    )
    vectors: Annotated[Path | None, Place()] = Field(
        None,
        description="instead of text_model: a folder with such a model, or word vectors: GloVe's "
        "or word2vec's text (glove.6B.300d.txt, .vec, .gz), or safetensors with the names of rows",
    )
    cache: Annotated[Path | None, Place()] = Field(
        None,
        description="folder that keeps encoded vectors and what was made of ConceptNet for other "
        "runs; none: keep nothing",
    )
    describe: bool = Field(
        True, description="texts are 'name: description' where there is one, else the bare names"
    )
    descriptions: Annotated[Path | None, Place()] = Field(
        None, description="JSON of class name to what a photo of it shows, before the table's own"
    )
    embeddings: Literal["text", "random"] = Field(
        "text", description="vectors of the nodes; random: the control, same norms, no knowledge"
    )
    seed: int = Field(0, ge=0, description="of the controls' random numbers")

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        used = self.used()
        for name, given in (("conceptnet", self.conceptnet), ("matrix", self.matrix)):
            if name in used and given is None:
                raise ValueError(f"relation {name} needs --graph.{name} FILE")
        if self.mixed[0] == self.mixed[1]:
            raise ValueError(f"--graph.mixed {self.mixed[0]} twice: name two relations")
        if self.form == "ours":
            return self
        relation = self.base if self.relation in ("random", "permuted") else self.relation
        if relation == "mix":
            raise ValueError(f"--graph.form {self.form} takes one relation; a mix has form ours")
        if self.form != "released" and relation != "identity":
            if relation != "cooccurrence":
                raise ValueError(f"--graph.form {self.form} is made of cooccurrence alone")
            if self.tau is None:
                raise ValueError(f"--graph.form {self.form} needs --graph.tau, 0.4 in ML-GCN")
        return self

    def used(self) -> set[str]:
        """The relations that the graph is made of."""
        name = self.base if self.relation in ("random", "permuted") else self.relation
        return set(self.mixed) if name == "mix" else {name}

    def read_files(self) -> list[str]:
        """The relations that the graph is made of and that have a file of their own."""
        return [name for name in ("conceptnet", "matrix") if name in self.used()]

    def class_files(self) -> list[Path]:
        """The files that list classes in an order of their own, for a check before a run."""
        listing = [self.matrix] if "matrix" in self.used() else []
        vectors = self.vectors
        texts = (".txt", ".vec", ".gz")  # every word of a language, in no order
        if vectors is not None and not vectors.is_dir() and vectors.suffix.lower() not in texts:
            listing.append(vectors)
        return [path for path in listing if path is not None]


def sources(config: Config) -> dict[str, Path]:
    """The files that the graph is made of: their content is part of the result, their place not.

    Without `vectors` that is the folder of vectors that ship with the project, and a model's own
    where `text_model` names one.
    """
    given = {name: getattr(config, name) for name in config.read_files()}
    if config.describe and config.descriptions is not None:
        given["descriptions"] = config.descriptions
    if config.vectors is not None:
        return {**given, "vectors": config.vectors}
    given["shipped"] = Path(__file__).parents[1] / "knowledge" / "vectors"
    model = Path(config.text_model)
    return given | ({"text_model": model} if model.is_dir() else {})


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Build the graph and write it below `out`.

    Raises:
        FileNotFoundError: a setting names a file that is not there.
        ValueError: the text model cannot be had, or a file lacks a class or has another form.
    """
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from knowledge.vectors import random_vectors
    from stages.class_relations import Relations

    manifest = Manifest.of(inputs, context.places)
    vectors = _vectors(config, manifest.classes)
    known = Relations(config, manifest, vectors, context)
    adjacency = known.adjacency()
    embeddings = vectors.values
    if config.embeddings == "random":
        embeddings = random_vectors(embeddings, seed=config.seed)
    card = _card(known, adjacency)
    graph = ClassGraph(manifest.classes.names, embeddings, adjacency.astype("float32"), card)
    card["edges"] = _edges(graph)
    graph.save(out)
    alone = card["figures"]["without_neighbours"]
    if alone and config.relation != "identity":
        context.note(
            f"{len(alone)} of {len(graph.names)} classes have no neighbour in the class graph "
            f"({', '.join(alone[:4])}{', ...' if len(alone) > 4 else ''})"
        )


def _vectors(config: Config, classes: "ClassTable") -> "Vectors":
    from knowledge.descriptions import class_texts
    from knowledge.vectors import read_word_vectors, text_vectors

    place = config.vectors
    if place is not None and not place.exists():
        raise FileNotFoundError(
            f"graph.vectors: there is no {place}; give a folder with a sentence-transformers model "
            "or a file of word vectors"
        )
    texts = class_texts(classes, described=config.describe, descriptions=config.descriptions)
    if place is not None and place.is_file():
        return read_word_vectors(place, classes.names)
    return text_vectors(texts, place or config.text_model, cache=config.cache)


def _card(known: "Relations", adjacency: "np.ndarray") -> dict[str, Any]:
    """What the graph was made from, and the figures that say how much of a graph it is."""
    from knowledge.relations import effective_neighbours, off_diagonal_share
    from stages.class_relations import agreement

    config, manifest, vectors = known.config, known.manifest, known.vectors
    names = manifest.classes.names
    effective = [round(float(value), 3) for value in effective_neighbours(adjacency)]
    alone = [name for name, value in zip(names, effective, strict=True) if value == 0]
    shares = off_diagonal_share(adjacency)
    described = config.describe and vectors.source != "file"
    return {
        "relation": config.relation,
        "settings": config.model_dump(mode="json", exclude=PLACES),
        "text": {
            "model": vectors.model,
            "source": vectors.source,
            "template": "name: description" if described else "name",
            "size": int(vectors.values.shape[1]),
            "sha256": hashlib.sha256(vectors.values.tobytes()).hexdigest(),
        },
        "tags": {"split": "train", "photos": len(manifest.split("train"))},
        "figures": {
            "off_diagonal_mass": round(float(shares[shares > 0].mean()), 6)
            if shares.any()
            else 0.0,
            "without_neighbours": alone,
            "effective_neighbours": dict(zip(names, effective, strict=True)),
            "agreement": agreement(adjacency, known),
        },
        **known.card,
    }


def _edges(graph: "ClassGraph") -> list[dict[str, Any]]:
    return [
        {"receiver": edge.receiver, "sender": edge.sender, "weight": round(edge.weight, 6)}
        for edge in graph.strongest(EDGES)
    ]
