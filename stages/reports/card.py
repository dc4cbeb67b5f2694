"""The card of a run: what one must know before believing or comparing its numbers.

`differences` says in what two cards differ, and which of that makes a ranking unfair.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.reports.artifacts import Run, read_json
from stages.reports.ledger import ledger

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Entry:
    """One line of a card."""

    value: Any
    """A JSON value."""
    matters: bool
    """Whether runs that differ here must not be ranked against each other."""


@dataclass(frozen=True)
class Difference:
    """One line in which two cards differ."""

    name: str
    first: Any
    second: Any
    matters: bool


Card = dict[str, Entry]


def make_card(run: Run) -> Card:
    """The card of `run`, read off its artifacts."""
    return {**_fairness(run), **_facts(run)}


def _fairness(run: Run) -> Card:
    """What makes a ranking unfair where it differs."""
    used = ledger(run)
    quality, scores = run.json("inspect", "quality.json"), run.json("evaluate", "scores.json")
    values = {
        "initial weights, classifier": _weights(run, "classify"),
        "initial weights, network": _weights(run, "segment"),
        "text knowledge": _text(run),
        "source of tags": _chosen(run.config("index"), "reader", "untagged"),
        "train photos": _photos(run, "train"),
        "val photos": _photos(run, "val"),
        "masks, train": _masks(run, "train"),
        "masks, val": _masks(run, "val"),
        "scales and flip, evaluation": _chosen(run.config("evaluate"), "scales", "flip"),
        "CRF, evaluation": scores.get("crf") or "none",
        "metric": scores.get("definition") or quality.get("metric"),
        "masks used for training": UNKNOWN if used.training is None else used.training,
        "masks used for choosing settings": UNKNOWN if used.choosing is None else used.choosing,
        "labels of the network": run.config("segment").get("labels"),
        "what training sees": (scores.get("trained_on") or {}).get("seen"),
        "oracle tags": scores.get("oracle_tags", False),
    }
    return {name: Entry(_said(value), matters=True) for name, value in values.items()}


def _facts(run: Run) -> Card:
    """What a reader wants to know, and what two runs may well differ in to be compared."""
    final = run.json("labels", "thresholds.json")
    thresholds = run.json("labels-first", "thresholds.json") or final
    quality = run.json("inspect", "quality.json")
    values = {
        "class graph": run.json("graph", "graph.json").get("card", {}).get("relation"),
        "context head": run.config("segment").get("head"),
        "masks made from": _chosen(run.json("masks", "policy.json"), "source", "overlap", "crowd"),
        "scales and flip, CAM": _chosen(run.config("cams"), "scales", "flip"),
        "CAM normalisation": thresholds.get("normalisation"),
        "background score": thresholds.get("threshold"),
        "background score chosen by": thresholds.get("chosen"),
        "CRF, pseudo-labels": final.get("crf"),
        "walk over the CAMs": _walk(run),
        "second look at the labels": _second_look(run, final),
        "boundaries": _boundaries(run),
        "coverage": quality.get("coverage"),
        "seeds": {name: run.config(name)["seed"] for name in _seeded(run)},
        "batch sizes": {
            name: run.config(name)["batch_size"]
            for name in ("classify", "segment")
            if "batch_size" in run.config(name)
        },
        "versions": _versions(run),
    }
    return {name: Entry(_said(value), matters=False) for name, value in values.items()}


def differences(first: Card, second: Card) -> list[Difference]:
    """Every line in which two cards differ, those that forbid a ranking first.

    A line that only one card has counts as different; it matters where that card says so. What
    nobody recorded is no agreement: "not recorded" differs from itself in lines that matter.
    """
    names = [*first, *(name for name in second if name not in first)]
    found = []
    for name in names:
        own, other = first.get(name), second.get(name)
        matters = any(entry is not None and entry.matters for entry in (own, other))
        values = [UNKNOWN if entry is None else entry.value for entry in (own, other)]
        if values[0] != values[1] or (matters and values[0] == UNKNOWN):
            found.append(Difference(name, values[0], values[1], matters))
    return sorted(found, key=lambda difference: not difference.matters)


def read_card(run: Path) -> Card:
    """The card in the report of the run in folder `run` (runs/<name>).

    Raises:
        FileNotFoundError: the run has no report.
        ValueError: its report is damaged or has no card.
    """
    path = run / "report" / "report.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make the report of that run first")
    try:
        lines = read_json(path)["card"]
        return {name: Entry(line["value"], bool(line["matters"])) for name, line in lines.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no card: make the report again with --force") from error


def compare(first: Path, second: Path) -> tuple[list[Difference], list[dict[str, Any]]]:
    """(differences of the cards, headline figures side by side) of two runs/<name> folders.

    The figures carry "ranked": False, all of them, where a difference forbids to rank the runs.
    """
    found = differences(read_card(first), read_card(second))
    fair = not any(difference.matters for difference in found)
    pair = [
        read_json(run / "report" / "report.json").get("headline", {}) for run in (first, second)
    ]
    names = [name for name in pair[0] if name in pair[1]]
    figures = [
        {"name": name, "first": pair[0][name], "second": pair[1][name], "ranked": fair}
        for name in names
    ]
    return found, figures


def _weights(run: Run, stage: str) -> Any:
    """Name of the backbone, where its weights come from and what supervised them."""
    backbone = run.json(stage, "model.json").get("backbone", {})
    card = backbone.get("card", {})
    said = {name: value for name, value in card.items() if isinstance(value, str | int | float)}
    return {"backbone": backbone["name"], **said} if "name" in backbone else None


def _text(run: Run) -> Any:
    card = run.json("graph", "graph.json").get("card", {})
    text = card.get("text")
    if not text:
        return None
    said = {key: text[key] for key in ("model", "template") if key in text}
    return said | {"sha256": str(text.get("sha256", UNKNOWN))[:16]}


def _photos(run: Run, split: str) -> str:
    lines = [line for line in run.lines("index", "manifest.jsonl") if line["split"] == split]
    text = "".join(f"{line['id']} {line['sha256']}\n" for line in lines)
    return f"{len(lines)}, sha256 {_hash(text)}"


def _masks(run: Run, split: str) -> str:
    lines = [line for line in run.lines("masks", "masks.jsonl") if line["split"] == split]
    text = "".join(f"{line['id']} {line['sha256']}\n" for line in lines)
    return f"{len(lines)}, sha256 {_hash(text)}" if lines else "none"


def _walk(run: Run) -> Any:
    return _chosen(run.config("walk"), "steps", "affinity") or "none"


def _second_look(run: Run, thresholds: Mapping[str, Any]) -> Any:
    """How labels were scored again, and what stood in for masks; "none" where they were not."""
    if "rescore" not in run:
        return "none"
    return {
        "learnt from": "the labels before, by a linear classifier of places",
        **_chosen(run.config("rescore"), "rounds", "scales", "levels", "steps"),
        "factor on the background": thresholds.get("threshold", UNKNOWN),
        "factor chosen by": thresholds.get("chosen", UNKNOWN),
        "masks used": thresholds.get("masks_used", UNKNOWN),
    }


def _boundaries(run: Run) -> Any:
    """What boundaries were learned from, and the walk between them; "none" where there are none."""
    if "edges" not in run:
        return "none"
    config = run.config("edges")
    # Where no label showed two classes there was nothing to learn, and colours decided.
    learned = config.get("kind") == "learned" and bool(run.lines("edges", "metrics.jsonl"))
    return {
        "learnt from": "the labels so far without their ignored band" if learned else "nothing",
        **_chosen(config, *(("epochs", "scale", "levels", "radius") if learned else ("contrast",))),
        "walk": _chosen(run.config("spread"), "steps", "radius", "beta", "damped"),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _chosen(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: config[name] for name in names if name in config}


def _seeded(run: Run) -> list[str]:
    return [name for name, artifact in run.artifacts.items() if "seed" in artifact.config]


def _versions(run: Run) -> dict[str, str]:
    """Of the libraries that results depend on, as recorded with the stages that ran."""
    wanted = ("python", "torch", "timm", "numpy", "PIL", "scipy", "torch_geometric", "torchvision")
    found: dict[str, set[str]] = {}
    for artifact in run.artifacts.values():
        for name, version in artifact.manifest.get("versions", {}).items():
            if name in wanted:
                found.setdefault(name, set()).add(str(version))
    return {name: ", ".join(sorted(found[name])) for name in wanted if name in found}


def _said(value: Any) -> Any:
    return UNKNOWN if value is None or value in ({}, [], "") else value
