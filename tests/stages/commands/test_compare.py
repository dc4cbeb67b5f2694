"""compare RUN RUN: a table where it is fair, else in what the runs differ and no ranking."""

import json
from pathlib import Path

import pytest

from stages import report
from stages.commands.compare import main
from tests.stages.conftest import TinyRun


@pytest.fixture
def finished(tiny_run: TinyRun, tmp_path: Path) -> list[Path]:
    """Three runs with a report and a short, complete card each."""
    folders = [tmp_path / "runs" / name for name in ("a", "b", "c")]
    for place, folder in enumerate(folders):
        report.run(report.Config(), tiny_run.inputs, folder / "report", tiny_run.context)
        numbers = said(folder)
        numbers["card"] = {
            "metric": {"value": "mean IoU", "matters": True},
            "context head": {"value": f"head {place}", "matters": False},
        }
        numbers["headline"]["network"]["value"] = 0.5 + place / 10
        (folder / "report" / "report.json").write_text(json.dumps(numbers))
    return folders


def said(folder: Path) -> dict:
    return json.loads((folder / "report" / "report.json").read_text())


def test_fair_runs_get_a_table(finished: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) for folder in finished]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["percent", "a", "b", "c"]
    network = next(line for line in lines if line.startswith("Network"))
    assert network.split()[-3:] == ["50.0", "60.0", "70.0"]
    assert "  context head: head 0 | head 2" in lines


def test_unfair_runs_are_not_ranked(
    finished: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = said(finished[1])
    numbers["card"]["metric"]["value"] = "pixel accuracy"
    (finished[1] / "report" / "report.json").write_text(json.dumps(numbers))
    assert main([str(folder) for folder in finished]) == 1
    text = capsys.readouterr().out
    assert text.splitlines()[1].endswith(f"{finished[1]} are not ranked, they differ in")
    assert "  metric: mean IoU | pixel accuracy" in text
    assert "Network" not in text


def test_what_is_no_run_is_named(finished: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give two runs or more"):
        main([str(finished[0])])
    with pytest.raises(FileNotFoundError, match="nowhere is no folder of a run"):
        main([str(finished[0]), str(tmp_path / "nowhere")])
    with pytest.raises(FileNotFoundError, match=r"report\.json is missing"):
        main([str(finished[0]), str(tmp_path)])
