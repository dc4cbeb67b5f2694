"""The ledger: how many masks a run used for training, and how many to choose its settings.

It is read off the edges between the stages that really ran (recipe.json of each artifact), not off
what the stages say about themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.reports.artifacts import Artifact, Run

SCORING = frozenset({"inspect", "evaluate", "report", "segment-masks", "evaluate-masks"})
"""Stages that may look at masks: they score, or are the upper bound, which is shown as such."""
TRAINED = frozenset({"classify", "rescore-first", "rescore", "edges", "segment-first", "segment"})
"""Stages that fit weights; any other stage would use masks to choose something."""


@dataclass(frozen=True)
class Ledger:
    """Masks by what they were used for; None where a recipe.json is missing and nobody can know."""

    training: int | None
    choosing: int | None
    scoring: int
    """Masks that were looked at to score."""
    culprits: tuple[str, ...]
    """"labels <- masks": edges by which masks reached a stage that may not see them."""
    unknown: tuple[str, ...]
    """Stages without recipe.json."""

    @property
    def clean(self) -> bool:
        """Whether it is certain that no mask was used but to score."""
        return self.training == 0 and self.choosing == 0


def ledger(run: Run) -> Ledger:
    """The ledger of `run`.

    A stage counts where `masks`, or a stage that scores with masks, is among its inputs: whatever
    those hand down has seen masks. A stage that trains counts with all masks of the train split,
    any other with all that the run has.
    """
    masks = run.lines("masks", "masks.jsonl")
    trainable = sum(line["split"] == "train" for line in masks)
    judged = {
        name: artifact
        for name, artifact in run.artifacts.items()
        if name not in SCORING and name != "masks"
    }
    culprits = {name: tainted for name in judged if (tainted := _tainted(judged, name))}
    unknown = tuple(name for name, artifact in judged.items() if not artifact.recipe)
    learnt = trainable if TRAINED & culprits.keys() else 0
    chosen = len(masks) if culprits.keys() - TRAINED else 0
    return Ledger(
        training=None if unknown and not learnt else learnt,
        choosing=None if unknown and not chosen else chosen,
        scoring=len(masks),
        culprits=tuple(f"{name} <- {other}" for name, seen in culprits.items() for other in seen),
        unknown=unknown,
    )


def _tainted(artifacts: Mapping[str, Artifact], name: str) -> list[str]:
    inputs = artifacts[name].recipe.get("inputs", {})
    return sorted(other for other in inputs if other == "masks" or other in SCORING)
