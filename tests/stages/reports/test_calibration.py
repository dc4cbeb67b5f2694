"""The sweep on the page: who chooses which setting, and how far that is from the best."""

import json
from pathlib import Path

from stages import report
from stages.reports.artifacts import Run
from stages.reports.calibration import calibration_tables
from tests.stages.conftest import TinyRun

FOUND = {
    "photos": 4,
    "criteria": {"painted": "tags that have a pixel", "edges": "contrast <across> borders"},
    "settings": [
        {"set": "irn_label", "power": 0.5, "factor": 1.0},
        {"set": "irn_label", "power": 1.0, "factor": 1.0},
        {"set": "psa_seam", "power": 1.0, "factor": 1.0},
    ],
    "steps": [
        {
            "step": "labels",
            "in_force": 1,
            "values": {"painted": [0.9, 1.0, 1.0], "edges": [2.5, 2.0, None]},
            "chosen": {
                "painted": {"setting": 1, "rank_correlation_with_masks": -0.5},
                "edges": {"setting": 0, "rank_correlation_with_masks": None},
            },
            "miou": [0.3, 0.5, 0.52],
            "best_with_masks": 2,
        }
    ],
    "verdict": "no criterion follows the score here",
}


def with_sweep(run: TinyRun, **changes: object) -> None:
    path = run.inputs["inspect"] / "quality.json"
    found = {**FOUND, "steps": [FOUND["steps"][0] | changes]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": found}))


def test_each_row_says_who_chooses_it(tiny_run: TinyRun) -> None:
    with_sweep(tiny_run)
    tables = calibration_tables(Run.of(tiny_run.inputs))
    assert tables is not None
    (table,) = tables["tables"]
    assert table["columns"] == ["tags painted", "edges"]
    assert [(row["chosen_by"], row["values"]) for row in table["rows"]] == [
        (["in force", "tags painted"], ["100.0", "2.00"]),
        (["edges"], ["90.0", "2.50"]),
        (["best with masks"], ["100.0", None]),
    ]
    assert [round(row["behind"], 3) for row in table["rows"]] == [0.02, 0.22, 0]
    assert table["rank_correlations"] == [-0.5, None]


def test_without_masks_nothing_is_behind(tiny_run: TinyRun) -> None:
    with_sweep(tiny_run, best_with_masks=None, miou=[None] * 3)
    tables = calibration_tables(Run.of(tiny_run.inputs))
    assert tables is not None
    rows = tables["tables"][0]["rows"]
    assert [row["behind"] for row in rows] == [None, None]


def test_the_page_has_the_table_and_escapes_it(tiny_run: TinyRun, tmp_path: Path) -> None:
    report.run(report.Config(), tiny_run.inputs, tmp_path / "before", tiny_run.context)
    assert "Other settings of the labels" not in (tmp_path / "before" / "report.html").read_text()
    with_sweep(tiny_run)
    report.run(report.Config(), tiny_run.inputs, tmp_path / "after", tiny_run.context)
    text = (tmp_path / "after" / "report.html").read_text()
    assert "No criterion follows the score here." in text
    assert "psa_seam, 1, 1" in text
    assert "contrast &lt;across&gt; borders" in text
