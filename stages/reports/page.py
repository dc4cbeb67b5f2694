"""Composes the page: reads a run, makes its tables, charts and gallery, renders the template."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.files import replacing
from data.manifest import Manifest
from data.masks import MaskIndex
from stages.reports.artifacts import Run
from stages.reports.calibration import calibration_tables
from stages.reports.card import make_card
from stages.reports.figures import charts, confusions, headline, matrices
from stages.reports.gallery import Group
from stages.reports.graph_picture import graph_picture
from stages.reports.groups import gallery
from stages.reports.ledger import ledger
from stages.reports.render import render
from stages.reports.tables import class_rows, problem_rows, stage_rows, step_rows
from stages.reports.views import Predict


@dataclass(frozen=True)
class Look:
    """How the page looks: nothing of it changes a number."""

    title: str = ""
    shown: int = 6
    thumbnail: int = 256
    quality: int = 78
    megabytes: float = 6.0


@dataclass(frozen=True)
class Surroundings:
    """What a report is told about the machine and the run beside its artifacts."""

    places: Mapping[str, Path]
    trusted: tuple[str, ...] = ()
    predict: Predict | None = None
    """Labels a photo with the run's own network; None where it has none."""


def write_page(look: Look, inputs: Mapping[str, Path], out: Path, around: Surroundings) -> None:
    """Write report.html and report.json below `out` from the artifacts in `inputs`.

    Raises:
        FileNotFoundError: `inputs` lacks the index, or a file that its stage promises.
    """
    run = Run.of(inputs)
    manifest = Manifest.of(run.inputs(), around.places)
    masks = MaskIndex.of(run.inputs(), around.places) if "masks" in run else None
    facts = _facts(run, manifest, around.trusted)
    groups = _bounded(look, run, manifest, masks, around.predict)
    numbers = {
        **facts,
        "gallery": [
            {"title": group.title, "photos": [{"id": r.id, "score": r.score} for r in group.rows]}
            for group in groups
        ],
    }
    with replacing(out / "report.json") as path:
        path.write_text(json.dumps(numbers, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    with replacing(out / "report.html") as path:
        path.write_text(_rendered(look, run, manifest, facts, groups), encoding="utf-8")


def _facts(run: Run, manifest: Manifest, trusted: tuple[str, ...]) -> dict[str, Any]:
    """Every number of the page as plain JSON values."""
    return {
        "headline": headline(run),
        "steps": step_rows(run),
        "card": {name: asdict(entry) for name, entry in make_card(run).items()},
        "ledger": asdict(ledger(run)),
        "stages": stage_rows(run, trusted),
        "problems": problem_rows(run),
        "classes": class_rows(run, manifest),
        "quality": run.json("inspect", "quality.json"),
        "calibration": calibration_tables(run),
        "evaluate": run.json("evaluate", "scores.json"),
        "upper_bound": run.json("evaluate-masks", "scores.json"),
        "classify": run.json("classify", "scores.json"),
        "graph": run.json("graph", "graph.json"),
    }


def _bounded(
    look: Look,
    run: Run,
    manifest: Manifest,
    masks: MaskIndex | None,
    predict: Predict | None,
) -> list[Group]:
    """The gallery within the size of the page: coarser pictures first, then fewer rows."""
    room = look.megabytes * 1e6 - 4e5  # the rest of the page
    steps = [(look.shown, look.quality), (look.shown, 60), (look.shown, 40)]
    steps += [(look.shown // part, 40) for part in (2, 4) if look.shown >= part]
    groups: list[Group] = []
    for shown, quality in steps:
        groups = gallery(
            run,
            manifest,
            masks,
            shown=shown,
            longest=look.thumbnail,
            quality=quality,
            predict=predict,
        )
        if sum(group.bytes for group in groups) <= room:
            return groups
    return []


def _rendered(
    look: Look, run: Run, manifest: Manifest, facts: dict[str, Any], groups: list[Group]
) -> str:
    return render(
        "report.html",
        title=look.title or f"{manifest.classes.name}: {len(manifest.photos)} photos",
        groups=groups,
        sections=_sections(facts["headline"]),
        charts=charts(run),
        matrices=matrices(run),
        graph_picture=graph_picture(run),
        confusions=confusions(run),
        **facts,
    )


def _sections(figures: Mapping[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The headline figures by group, in the order in which they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for figure in figures.values():
        found.setdefault(figure["group"], []).append(figure)
    return found
