"""The numbers of a comparison of heads: read off the artifacts of every arm, seed by seed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.compare import Arm
from stages.reports.artifacts import STAGES, Artifact, Run, read_artifact
from stages.reports.card import Card, differences, make_card
from stages.reports.ledger import ledger
from stages.reports.spread import RULE, paired, ratio, spread

REFERENCE = "none"
"""The head that the others must beat."""
SHARED = STAGES[: STAGES.index("inspect") + 1]
"""The stages that all arms have in common."""
OWN = ("context head", "seeds")
"""Lines of the card in which arms may differ: they are what is compared."""


@dataclass(frozen=True)
class Trained:
    """One arm with its artifacts."""

    arm: Arm
    segment: Artifact
    evaluate: Artifact
    scores: Mapping[str, Any]
    """Its scores.json."""

    @classmethod
    def of(cls, arm: Arm, inputs: Mapping[str, Path]) -> "Trained":
        """Raises FileNotFoundError where `inputs` lacks the arm or the arm its scores."""
        lacking = [name for name in (arm.segment, arm.evaluate) if name not in inputs]
        if lacking:
            raise FileNotFoundError(f"the comparison lacks {', '.join(lacking)}: run it first")
        evaluate = read_artifact(arm.evaluate, inputs[arm.evaluate])
        scores = evaluate.json("scores.json")
        if not scores:
            raise FileNotFoundError(f"{evaluate.path / 'scores.json'} is missing: run `verify`")
        return cls(arm, read_artifact(arm.segment, inputs[arm.segment]), evaluate, scores)


class Comparison:
    """All arms of a comparison beside the stages that they share."""

    def __init__(self, arms: Sequence[Arm], inputs: Mapping[str, Path]) -> None:
        """Raises FileNotFoundError where an arm, its scores or the index is missing."""
        self.shared = Run.of({name: inputs[name] for name in SHARED if name in inputs})
        self.arms = [Trained.of(arm, inputs) for arm in arms]
        self.heads = tuple(dict.fromkeys(arm.head for arm in arms))

    def of(self, head: str, *, masks: bool = False) -> dict[int, Trained]:
        """Seed -> arm of one head, trained on pseudo-labels or on masks."""
        found = (one for one in self.arms if (one.arm.head, one.arm.masks) == (head, masks))
        return {one.arm.seed: one for one in found}

    def run_of(self, one: Trained) -> Run:
        """The arm with all that it was made from, as a run of its own."""
        own = {"segment": one.segment, "evaluate": one.evaluate}
        return Run({**self.shared.artifacts, **own})

    def card(self) -> Card:
        """What all arms trained on pseudo-labels have in common.

        Raises ValueError where they differ in what forbids to rank them, saying in what.
        """
        each = [next(iter(self.of(head).values())) for head in self.heads]
        cards = [make_card(self.run_of(one)) for one in each]
        card = cards[0]
        for one, other in zip(each, cards, strict=True):
            # What nobody recorded of shared artifacts is the same for all that share them.
            apart = [d for d in differences(card, other) if d.matters and d.first != d.second]
            if apart:
                said = "; ".join(f"{d.name}: {d.first} and {d.second}" for d in apart)
                pair = f"{self.heads[0]} and {one.arm.head}"
                raise ValueError(f"heads {pair} cannot be ranked, they differ in {said}")
        return {name: entry for name, entry in card.items() if name not in OWN}

    def numbers(self) -> dict[str, Any]:
        """Every number of the comparison as plain JSON values; scores between 0 and 1."""
        quality = self.shared.json("inspect", "quality.json")
        reference = REFERENCE if REFERENCE in self.heads else None
        return {
            "reference": reference,
            "rule": RULE,
            "heads": [self._head(head, reference) for head in self.heads],
            "arms": [_arm_row(one) for one in self.arms],
            "labels": {name: quality.get(name) for name in ("miou", "coverage", "miou_cam")},
            "trivial": self.arms[0].scores.get("miou_all_background"),
            "definition": self.arms[0].scores.get("definition"),
            "reason": self.arms[0].scores.get("reason"),
            "images": self.arms[0].scores.get("images"),
            "card": {name: asdict(entry) for name, entry in self.card().items()},
            "ledger": asdict(ledger(self.run_of(self.arms[0]))),
            "ledger_bound": self._bound_ledger(),
            "settings": self.arms[0].segment.config,
        }

    def _bound_ledger(self) -> dict[str, Any] | None:
        """The ledger of an upper bound, which counts the masks that it is trained on."""
        bounds = [one for one in self.arms if one.arm.masks]
        return asdict(ledger(self.run_of(bounds[0]))) if bounds else None

    def _head(self, head: str, reference: str | None) -> dict[str, Any]:
        weak, bound = self.of(head), self.of(head, masks=True)
        scores = _mious(weak)
        against = _mious(self.of(reference)) if reference not in (None, head) else None
        base = self.of(reference) if reference else {}
        regions = [dict(_flat(one.scores.get("regions", {}))) for one in weak.values()]
        return {
            "head": head,
            "miou": spread(scores),
            "difference": None if against is None else paired(scores, against),
            "upper_bound": spread(_mious(bound)),
            "ratio": ratio(scores, _mious(bound)),
            **_cost(list(weak.values()), list(base.values())),
            "regions": _means(regions),
            "variants": _variants(weak),
        }


def _mious(arms: Mapping[int, Trained]) -> dict[int, float | None]:
    return {seed: one.scores.get("miou") for seed, one in arms.items()}


def _cost(arms: Sequence[Trained], base: Sequence[Trained]) -> dict[str, Any]:
    """Costs of a head's networks; times are means over seeds, memory is the most of any."""
    scores = arms[0].scores
    adds, own = scores.get("multiply_adds"), base[0].scores.get("multiply_adds") if base else None
    memory = _known(one.scores.get("peak_memory_bytes") for one in arms)
    return {
        "params": scores.get("params"),
        "multiply_adds": adds,
        "multiply_adds_size": scores.get("multiply_adds_size"),
        "multiply_adds_ratio": adds / own if adds and own else None,
        "images_per_second": _mean([one.scores.get("images_per_second") for one in arms]),
        "peak_memory_bytes": max(memory, default=None),
        "training_seconds": _mean([one.segment.manifest.get("seconds") for one in arms]),
    }


def _variants(arms: Mapping[int, Trained]) -> dict[str, Any]:
    """Test-time variant -> mIoU over seeds, and how much it gains on the primary figure."""
    names = dict.fromkeys(name for one in arms.values() for name in one.scores.get("variants", {}))
    found = {}
    for name in names:
        values = {
            seed: one.scores.get("variants", {}).get(name, {}).get("miou")
            for seed, one in arms.items()
        }
        found[name] = {"miou": spread(values), "gain": paired(values, _mious(arms))}
    return found


def _arm_row(one: Trained) -> dict[str, Any]:
    return {
        "head": one.arm.head,
        "seed": one.arm.seed,
        "trained_on": "masks" if one.segment.config.get("labels") == "masks" else "pseudo-labels",
        "upper_bound": one.arm.masks,
        "photos": one.scores.get("trained_on", {}).get("photos"),
        "miou": one.scores.get("miou"),
        "miou_present": one.scores.get("miou_present"),
        "pixel_accuracy": one.scores.get("pixel_accuracy"),
        "training_seconds": one.segment.manifest.get("seconds"),
        "key": one.segment.manifest.get("key"),
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested objects as name/name -> number."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}/")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield f"{prefix}{name}", float(inner)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean([row[name] for row in rows if name in row]) for name in names}


def _known(values: Iterable[float | int | None]) -> list[float | int]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None
