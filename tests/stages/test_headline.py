"""What a run ends with: the scores that there are, and the report's place."""

import json
from pathlib import Path
from typing import Any

from stages.headline import headline


def _artifact(folder: Path, name: str, scores: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / name).write_text(json.dumps(scores))
    return folder


def test_scores_in_percent_beside_what_is_trivial(tmp_path: Path) -> None:
    found = {
        "classify": _artifact(tmp_path / "classify", "scores.json", {"map": 0.785}),
        "inspect": _artifact(
            tmp_path / "inspect",
            "quality.json",
            {"miou": 0.4512, "miou_cam": 0.387, "miou_all_background": 0.035},
        ),
        "evaluate-masks": _artifact(tmp_path / "above", "scores.json", {"miou": 0.61}),
        "report": tmp_path / "report",
    }
    lines = (headline(found) or "").splitlines()
    assert [line.split()[0] for line in lines] == [
        "tags",
        "raw",
        "pseudo-labels",
        "upper",
        "report:",
    ]
    assert "78.5" in lines[0]
    assert "38.7" in lines[1]
    assert "45.1" in lines[2]
    assert "3.5 if everything were background" in lines[2]
    assert "61.0" in lines[3]
    assert lines[4].endswith(str(tmp_path / "report" / "report.html"))


def test_what_needs_masks_is_left_out_where_there_are_none(tmp_path: Path) -> None:
    found = {"evaluate": _artifact(tmp_path / "evaluate", "scores.json", {"miou": None})}
    assert headline(found) is None
    assert headline({}) is None


def test_labels_on_their_way_have_their_lines(tmp_path: Path) -> None:
    found = {"walk": 0.41, "first": 0.44, "second": 0.447}
    steps = [{"step": name, "miou": value} for name, value in found.items()]
    scores = {"miou": 0.45, "miou_cam": 0.387, "steps": [*steps, {"step": "labels", "miou": 0.45}]}
    made = {"inspect": _artifact(tmp_path / "inspect", "quality.json", scores)}
    lines = (headline(made) or "").splitlines()
    assert [line[:15].strip() for line in lines] == [
        "raw CAMs",
        "after the walk",
        "first labels",
        "second labels",
        "pseudo-labels",
    ]
    assert [line[15:20].strip() for line in lines] == ["38.7", "41.0", "44.0", "44.7", "45.0"]
