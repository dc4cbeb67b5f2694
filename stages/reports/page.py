"""Composes the page: reads a run, makes its tables, charts and gallery, renders the template."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from data.files import replacing
from data.manifest import Manifest
from data.masks import MaskIndex
from stages.reports.artifacts import Run
from stages.reports.card import make_card
from stages.reports.figures import charts, confusions, headline, matrices
from stages.reports.gallery import Group
from stages.reports.groups import gallery
from stages.reports.ledger import ledger
from stages.reports.tables import class_rows, problem_rows, stage_rows
from stages.reports.views import Predict

DASH = "\N{EN DASH}"
"""Stands where there is no number."""


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
        "card": {name: asdict(entry) for name, entry in make_card(run).items()},
        "ledger": asdict(ledger(run)),
        "stages": stage_rows(run, trusted),
        "problems": problem_rows(run),
        "classes": class_rows(run, manifest),
        "quality": run.json("inspect", "quality.json"),
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
    environment = Environment(
        loader=PackageLoader("stages", "reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        title=look.title or f"{manifest.classes.name}: {len(manifest.photos)} photos",
        style=style,
        style_hash=f"sha256-{fingerprint}",
        groups=groups,
        sections=_sections(facts["headline"]),
        charts=charts(run),
        matrices=matrices(run),
        confusions=confusions(run),
        **facts,
    )


def _sections(figures: Mapping[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The headline figures by group, in the order in which they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for figure in figures.values():
        found.setdefault(figure["group"], []).append(figure)
    return found


def percent(value: float | int | None, digits: int = 1) -> str:
    """0.4321 -> "43.2"; a dash where there is no number."""
    return DASH if value is None else f"{100 * value:.{digits}f}"


def seconds(value: float | int | None) -> str:
    """3.2 -> "3.2 s", 200 -> "3 min 20 s"; a dash where there is no number."""
    if value is None:
        return DASH
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def size(value: float | int | None) -> str:
    """Bytes with a decimal unit; a dash where there is no number."""
    if value is None:
        return DASH
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def plain(value: Any) -> str:
    """A value of the card as one line: "name a, seed 3"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


FILTERS = {"percent": percent, "seconds": seconds, "size": size, "plain": plain}
