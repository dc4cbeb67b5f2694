"""The sweep over how labels are made, as tables: settings that somebody chooses, by criterion."""

from collections.abc import Mapping
from typing import Any

from stages.reports.artifacts import Run

TITLES = {
    "painted": "tags painted",
    "before": "step before",
    "others": "other step",
    "unrefined": "before CRF",
    "consensus": "majority",
    "edges": "edges",
    "sure": "sure pixels",
}
"""Of the columns; `criteria` in quality.json says what they mean."""
RATIOS = ("edges",)
"""Criteria that are no share."""


def calibration_tables(run: Run) -> dict[str, Any] | None:
    """A table for each stage of labels, the verdict and what the columns mean; None without one."""
    found = run.json("inspect", "quality.json").get("calibration")
    if not found:
        return None
    meanings = {TITLES[name]: shown for name, shown in found["criteria"].items() if name in TITLES}
    return {
        "verdict": found["verdict"],
        "photos": found["photos"],
        "settings": len(found["settings"]),
        "meanings": meanings,
        "tables": [_table(step, found["settings"]) for step in found["steps"]],
    }


def _table(step: Mapping[str, Any], settings: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in TITLES if name in step["values"]]
    who: dict[int, list[str]] = {step["in_force"]: ["in force"]}
    for name in names:
        who.setdefault(step["chosen"][name]["setting"], []).append(TITLES[name])
    best = step["best_with_masks"]
    if best is not None:
        who.setdefault(best, []).append("best with masks")
    return {
        "step": step["step"],
        "columns": [TITLES[name] for name in names],
        "rows": [
            {
                "setting": settings[place],
                "chosen_by": chosen_by,
                "values": [_shown(name, step["values"][name][place]) for name in names],
                "miou": step["miou"][place],
                "behind": None if best is None else step["miou"][best] - step["miou"][place],
            }
            for place, chosen_by in who.items()
        ],
        "rank_correlations": [
            step["chosen"][name]["rank_correlation_with_masks"] for name in names
        ],
    }


def _shown(name: str, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if name in RATIOS else f"{100 * value:.1f}"
