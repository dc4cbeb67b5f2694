import json
from pathlib import Path

import pytest

from benchmarks import heads

SMALL = ["--backbone", "test_resnet", "--size", "64", "64", "--width", "16", "--classes", "5"]


def test_every_head_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert heads.main([*SMALL, "--no-time", "--json", str(tmp_path / "heads.json")]) == 0
    rows = json.loads((tmp_path / "heads.json").read_text())["rows"]
    assert [row["head"] for row in rows] == list(heads.HEADS)
    trunk = {row["multiply_adds"] - row["head_multiply_adds"] for row in rows}
    assert len(trunk) == 1
    assert all(row["head_params"] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert all(f"| {head} |" in printed for head in heads.HEADS)


def test_a_head_is_timed_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--heads", "none", "--repeats", "1", "--threads", "1", "--device", "cpu"]
    assert heads.main([*SMALL, *flags]) == 0
    speed, memory = (float(cell) for cell in capsys.readouterr().out.split("|")[-3:-1])
    assert speed > 0
    assert 0 < memory < 2048


def test_the_claim_holds_against_output_stride_8_and_not_against_16() -> None:
    found = heads.claim(256, 19)
    assert len(found) == 8
    assert all((row["share"] <= heads.CLAIM) == (row["aspp_output_stride"] == 8) for row in found)
    first = found[0]
    assert (first["backbone"], first["size"], first["aspp_output_stride"]) == (
        "resnet50",
        [512, 512],
        8,
    )
    assert round(first["aspp"] / 1e9, 1) == 163.6
    assert heads.claim_table(found).count("| yes |") == 4
