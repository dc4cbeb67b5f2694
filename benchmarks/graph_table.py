"""The table of the stage-one comparison and the paragraph that it says, both from the numbers.

A stage of `benchmarks.graph_bench`. Reads scores.json of every classifier (mAP) and of
`graph_scores` (mIoU of raw maps). Writes table.json (every number) and table.md.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from pipeline.context import Context
from stages.reports.spread import BEATS, BELOW, FEW, RULE, paired, spread

VERSION = 1

MEASURES = ("cam", "map", "best")
"""mIoU of raw maps at the mask-free background score; mAP of the tags; mIoU at the best score."""
LONG = {"cam": "raw CAM mIoU", "map": "mAP", "best": "raw CAM mIoU at the best background score"}


class Listed(BaseModel, frozen=True, extra="forbid"):
    """An arm as the table wants it."""

    name: str
    changes: str = Field(description="what it changes, as text")
    against: tuple[str, ...] = Field((), description="controls that it is held against")
    control: bool = Field(False, description="nothing that anybody would choose")


class Config(BaseModel, frozen=True, extra="forbid"):
    """What is in the table, simplest arms first."""

    arms: tuple[Listed, ...] = Field(description="rows")
    seeds: tuple[int, ...] = Field(description="seeds of every arm")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write table.json and table.md."""
    from data.files import replacing

    del context
    maps = _json(inputs["graph-scores"] / "scores.json")
    tags = {
        arm.name: {
            str(seed): _json(inputs[f"classify-{arm.name}-{seed}"] / "scores.json")
            for seed in config.seeds
        }
        for arm in config.arms
    }
    numbers = table(config, tags, maps)
    with replacing(out / "table.json") as path:
        path.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", "utf-8")
    with replacing(out / "table.md") as path:
        path.write_text(markdown(numbers), "utf-8")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def table(config: Config, tags: Mapping[str, Any], maps: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of the comparison as plain JSON; scores between 0 and 1.

    tags, maps: {arm: {seed: scores.json}}; `maps` is empty where there is no mask.
    """
    values = {arm.name: _values(tags[arm.name], maps.get(arm.name, {})) for arm in config.arms}
    rows = [_row(arm, values, tags[arm.name], maps.get(arm.name, {})) for arm in config.arms]
    some = next((one for arm in maps.values() for one in arm.values()), {})
    numbers = {
        "seeds": list(config.seeds),
        "photos": some.get("photos", 0),
        "threshold_chosen": some.get("threshold_chosen"),
        "val_photos": next(iter(tags[config.arms[0].name].values())).get("photos"),
        "rule": RULE,
        "arms": rows,
    }
    return {**numbers, "verdict": verdict(rows, values, config)}


Values = dict[str, dict[int, float | None]]
"""Measure -> seed -> value."""


def _values(tags: Mapping[str, Any], maps: Mapping[str, Any]) -> Values:
    found: Values = {"map": {int(seed): one["map"] for seed, one in tags.items()}}
    fields = {"cam": "miou", "best": "miou_best_with_masks"}
    for measure, name in fields.items():
        found[measure] = {int(seed): one[name] for seed, one in maps.items()}
    return found


def _row(
    arm: Listed, values: Mapping[str, Values], tags: Mapping[str, Any], maps: Mapping[str, Any]
) -> dict[str, Any]:
    own = values[arm.name]
    return {
        "arm": arm.name,
        "changes": arm.changes,
        "control": arm.control,
        **{measure: spread(own[measure]) for measure in MEASURES},
        "threshold": spread({int(seed): one["threshold"] for seed, one in maps.items()}),
        "against": {
            name: {m: paired(own[m], values[name][m]) for m in MEASURES}
            for name in arm.against
            if name in values and name != arm.name
        },
        "classes": {
            "ap": _means(one["ap"] for one in tags.values()),
            "iou": _means(one["iou"] for one in maps.values()),
        },
    }


def _means(scores: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Class -> mean over the seeds."""
    found: dict[str, list[float]] = {}
    for one in scores:
        for name, value in one.items():
            found.setdefault(name, [])
            found[name] += [] if value is None else [value]
    return {name: sum(kept) / len(kept) if kept else None for name, kept in found.items()}


def verdict(rows: Sequence[Mapping[str, Any]], values: Mapping[str, Values], config: Config) -> str:
    """One paragraph: which arm is best, what it beats, and which arm is the simplest as good."""
    measure = "cam" if any(row["cam"] for row in rows) else "map"
    known = [row for row in rows if row[measure] and not row["control"]]
    if not known:
        return "Nothing was measured: neither a mask nor a val photo is there."
    best = max(known, key=lambda row: row[measure]["mean"])
    seeds = len(config.seeds)
    said = [
        f"By {LONG[measure]} over {seeds} seed{'s' if seeds > 1 else ''} the best arm is "
        f"{best['arm']} ({_figure(best[measure])})."
    ]
    held = [row for row in known if row["against"] and (row is best or row["arm"] == "as-set")]
    said += [_held(row, name) for row in held for name in (measure, "map") if _asked(row, name)]
    simplest = next(
        row
        for row in known
        if row is best
        or (paired(values[best["arm"]][measure], values[row["arm"]][measure]) or {}).get("verdict")
        not in (BEATS, FEW)
    )
    if best is known[0]:
        said.append("It is also the simplest one.")
    elif simplest is best:
        said.append(f"No simpler arm is as good as {best['arm']}.")
    else:
        gap = paired(values[best["arm"]][measure], values[simplest["arm"]][measure])
        said.append(
            f"The simplest arm that it does not beat by more than the spread of the paired "
            f"differences is {simplest['arm']} ({_figure(gap, signed=True)} between them)."
        )
    controls = [row for row in rows if row["control"] and row[measure]]
    top = max(controls, key=lambda row: row[measure]["mean"], default=None)
    if top is not None and top[measure]["mean"] > best[measure]["mean"]:
        said.append(
            f"A control is better still: {top['arm']} ({_figure(top[measure])}); what helps is "
            "then no knowledge about the classes."
        )
    return " ".join(dict.fromkeys(said))


def _asked(row: Mapping[str, Any], measure: str) -> bool:
    return any(one[measure] for one in row["against"].values())


def _held(row: Mapping[str, Any], measure: str) -> str:
    """ "It beats identity by more than the spread of the paired differences: yes (+0.5 ± 0.1)"."""
    answers = []
    for name, differences in row["against"].items():
        difference = differences[measure]
        if difference is None:
            continue
        found = {BEATS: "yes", BELOW: "no, it is worse", FEW: "too few seeds to say"}
        answer = found.get(difference["verdict"], "no")
        answers.append(f"{name} {answer} ({_figure(difference, signed=True)})")
    return (
        f"In {LONG[measure]} {row['arm']} beats its controls by more than the spread of the paired "
        f"differences: {', '.join(answers)}."
    )


def _figure(value: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """A figure in percent with its spread, as in the tables of heads."""
    from stages.reports.comparison_text import with_spread

    return with_spread(value, signed=signed)


def markdown(numbers: Mapping[str, Any]) -> str:
    """The verdict, a line an arm, and each class's mean below."""
    rows = numbers["arms"]
    controls = list(dict.fromkeys(name for row in rows for name in row["against"]))
    measure = "cam" if any(row["cam"] for row in rows) else "map"
    head = ["arm", "mAP", LONG["cam"], "best score, chosen with masks"]
    head += [f"{'CAM' if measure == 'cam' else 'mAP'} against {name}" for name in controls]
    lines = [
        numbers["verdict"],
        "",
        f"In percent, mean \N{PLUS-MINUS SIGN} standard deviation over the seeds "
        f"{', '.join(map(str, numbers['seeds']))}; mAP on {numbers['val_photos']} val photos, raw "
        f"maps against the masks of {numbers['photos']} train photos; differences are paired.",
        "",
        *_lined(head, [_cells(row, controls, measure) for row in rows]),
        "",
        "By class, mean over the seeds: mAP, then IoU of the raw maps.",
        "",
    ]
    for kind in ("ap", "iou"):
        names = list(dict.fromkeys(name for row in rows for name in row["classes"][kind]))
        if names:
            lines += [*_lined([kind, *names], [_classes(row, kind, names) for row in rows]), ""]
    changes = [f"- `{row['arm']}`: {row['changes'] or 'nothing'}" for row in rows]
    return "\n".join([*lines, "What each arm changes:", "", *changes]) + "\n"


def _cells(row: Mapping[str, Any], controls: Sequence[str], measure: str) -> list[str]:
    differences = [(row["against"].get(name) or {}).get(measure) for name in controls]
    return [
        row["arm"],
        *(_figure(row[name]) for name in ("map", "cam", "best")),
        *(_figure(one, signed=True) for one in differences),
    ]


def _classes(row: Mapping[str, Any], kind: str, names: Sequence[str]) -> list[str]:
    from stages.reports.render import percent

    return [row["arm"], *(percent(row["classes"][kind].get(name)) for name in names)]


def _lined(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
