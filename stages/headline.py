"""The few lines that a run ends with: scores, what they stand beside, and where the report lies."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def headline(artifacts: Mapping[str, Path]) -> str | None:
    """Lines about the finished stages; `artifacts` maps a stage's name to its directory.

    Scores are mIoU in percent. What needs masks is left out where there were none. A comparison
    ends with its table.
    """
    if "compare" in artifacts:
        text = (artifacts["compare"] / "compare.txt").read_text(encoding="utf-8")
        return f"{text}comparison: {artifacts['compare'] / 'compare.html'}"
    quality = _read(artifacts, "inspect", "quality.json")
    steps = {step["step"]: step for step in quality.get("steps", ())}
    network = _read(artifacts, "evaluate", "scores.json")
    above = _read(artifacts, "evaluate-masks", "scores.json")
    tags = _read(artifacts, "classify", "scores.json")
    rows = (
        ("tags", _percent(tags, "map"), "mAP of the classifier"),
        ("raw CAMs", _percent(quality, "miou_cam"), "mIoU at the mask-free threshold"),
        ("after the walk", _percent(steps.get("walk", {}), "miou"), "mIoU at its own threshold"),
        ("first labels", _percent(steps.get("first", {}), "miou"), "mIoU before they were learnt"),
        ("second labels", _percent(steps.get("second", {}), "miou"), "mIoU before the third look"),
        ("pseudo-labels", _percent(quality, "miou"), _beside(quality, "miou_all_background")),
        ("network", _percent(network, "miou"), _beside(network, "miou_all_background")),
        ("upper bound", _percent(above, "miou"), "the same network trained on masks"),
    )
    lines = [f"{name:<15}{value:>5}  {meaning}" for name, value, meaning in rows if value]
    if "report" in artifacts:
        lines.append(f"report: {artifacts['report'] / 'report.html'}")
    return "\n".join(lines) or None


def _read(artifacts: Mapping[str, Path], stage: str, name: str) -> dict[str, Any]:
    if stage not in artifacts:
        return {}
    found: dict[str, Any] = json.loads((artifacts[stage] / name).read_text(encoding="utf-8"))
    return found


def _percent(scores: Mapping[str, Any], field: str) -> str:
    value = scores.get(field)
    return "" if value is None else f"{100 * value:.1f}"


def _beside(scores: Mapping[str, Any], field: str) -> str:
    trivial = _percent(scores, field)
    return "mIoU" + (f"; {trivial} if everything were background" if trivial else "")
