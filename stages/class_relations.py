"""Builds the adjacency that the settings of `graph` ask for, from what is known of the classes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from data.manifest import Manifest
from knowledge import forms, relations
from knowledge.conceptnet import concept_similarity
from knowledge.matrix_file import read_matrix
from knowledge.vectors import Vectors
from pipeline.context import Context
from stages.graph import Config

Matrix = Float64[np.ndarray, "c c"]


@dataclass
class Relations:
    """The similarities of C classes that the settings have files for, each made when it is used."""

    config: Config
    manifest: Manifest
    vectors: Vectors
    context: Context
    card: dict[str, Any] = field(default_factory=dict)
    """What the files that were read hold, by relation."""

    def similarity(self, name: str) -> Matrix:
        """S of one relation, S_ij >= 0: how much class i should hear from class j."""
        found: dict[str, Callable[[], Matrix]] = {
            "text": lambda: self._text,
            "cooccurrence": lambda: self._conditional,
            "conceptnet": lambda: self._conceptnet,
            "matrix": lambda: self._matrix,
        }
        return found[name]()

    def available(self) -> list[str]:
        """Relations that can be looked at beside the one that is used: those without a new file."""
        return ["text", "cooccurrence", *self.config.read_files()]

    def adjacency(self) -> Matrix:
        """A (C, C) by relation, form and control; float64, not yet rounded."""
        config = self.config
        controls: dict[str, Callable[..., Matrix]] = {
            "random": relations.random,
            "permuted": relations.permuted,
        }
        if config.relation == "identity":
            return np.eye(len(self.manifest.classes))
        if config.relation in controls:
            return controls[config.relation](self._formed(config.base), seed=config.seed)
        return self._formed(config.relation)

    def _formed(self, name: str) -> Matrix:
        config = self.config
        if config.form == "ours":
            mixed = self._mixed() if name == "mix" else self._neighbours(name)
            return relations.weighted(mixed, strength=config.strength)
        if config.form == "released":
            return forms.released(self.similarity(name))
        form = {"mlgcn": forms.mlgcn_paper, "mlgcn_code": forms.mlgcn_code}[config.form]
        return form(self._binary(), strength=config.strength)

    def _mixed(self) -> Matrix:
        first, second = (self._neighbours(name) for name in self.config.mixed)
        return relations.mix(first, second, mu=self.config.mu)

    def _neighbours(self, name: str) -> Matrix:
        """The row-stochastic neighbours O of one relation."""
        config, found = self.config, self.similarity(name)
        hard = self._binary() if name == "cooccurrence" and config.tau is not None else found
        return relations.neighbours(hard, alpha=config.alpha, top_k=config.top_k, ranking=found)

    def _binary(self) -> Matrix:
        assert self.config.tau is not None  # the settings refuse what would need it and lacks it
        return relations.binarised(self._conditional, self.config.tau)

    @cached_property
    def _text(self) -> Matrix:
        return relations.text_similarity(self.vectors.values)

    @cached_property
    def _conditional(self) -> Matrix:
        tags = self.manifest.tag_matrix(self.manifest.split("train"))
        return relations.conditional(relations.cooccurrence_counts(tags))

    @cached_property
    def _conceptnet(self) -> Matrix:
        path = self.config.conceptnet
        assert path is not None
        found = concept_similarity(
            path,
            self.manifest.classes.names,
            cache=self.config.cache,
            progress=lambda done, total: self.context.listener.progress(
                done // 1_000_000, -(-total // 1_000_000), "MB"
            ),
        )
        self.card["conceptnet"] = found.card
        if found.card["bad_lines"]:
            self.context.note(
                f"{found.card['bad_lines']} lines of {path.name} are no assertion and are left out"
            )
        if found.card["unknown"]:
            self.context.note(
                f"ConceptNet does not know {', '.join(found.card['unknown'][:6])} "
                f"({len(found.card['unknown'])} of {len(self.manifest.classes)} classes)"
            )
        return found.similarity

    @cached_property
    def _matrix(self) -> Matrix:
        path = self.config.matrix
        assert path is not None
        values = read_matrix(path, self.manifest.classes.names)
        # The content in class order, not the file: the same matrix as JSON and as CSV is one.
        self.card["matrix"] = {"sha256": hashlib.sha256(values.tobytes()).hexdigest()}
        return values


def agreement(adjacency: Matrix, known: Relations) -> dict[str, dict[str, float | None]]:
    """Rank correlations over the pairs of classes of the graph and of every relation at hand.

    The controls random and permuted, made of the graph itself, show what chance would give.
    """
    off = adjacency * (1.0 - np.eye(len(adjacency)))
    controls = {
        "random": relations.random(off, seed=known.config.seed),
        "permuted": relations.permuted(off, seed=known.config.seed),
    }
    found = {"graph": off} | {name: known.similarity(name) for name in known.available()} | controls
    names = list(found)
    return {
        name: {
            other: _rounded(relations.rank_correlation(found[name], found[other]))
            for other in names[place + 1 :]
        }
        for place, name in enumerate(names[:-1])
        if name not in controls
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0
