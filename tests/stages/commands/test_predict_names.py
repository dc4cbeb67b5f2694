"""predict: no name of a photo ends the run."""

import json
import os
from pathlib import Path

from stages.commands import predict
from tests.datasets import write_photo


def test_names_that_fill_a_file_system_stop_nothing(run_folder, tmp_path, capsys) -> None:
    """254 bytes for a photo leave no room for .json: it is shortened, and stays apart."""
    home, out = tmp_path / "long", tmp_path / "out"
    arguments = [str(home), "--run", str(run_folder), "--out", str(out), "--device", "cpu"]
    names = ["short", "a" * 251, "a" * 250 + "b", "ü" * 124 + "z"]
    for seed, name in enumerate(names):
        write_photo(home / f"{name}.jpg", seed, (40, 56))
    assert predict.main(arguments) == 0
    assert "4 photos labelled" in capsys.readouterr().out
    assert not (out / "problems.jsonl").exists()
    said = [json.loads(path.read_text()) for path in (out / "found").iterdir()]
    assert {Path(one["photo"]).stem for one in said} == set(names)
    for kind in ("masks", "overlays", "found"):
        stems = {path.stem for path in (out / kind).iterdir()}
        assert len(stems) == 4
        assert "short" in stems
    assert predict.main(arguments) == 0
    assert "4 were done before" in capsys.readouterr().out


def test_a_name_that_is_no_text_is_listed_in_a_folder_and_taken_by_a_pattern(
    run_folder, tmp_path, capsys
) -> None:
    home, out = tmp_path / "odd", tmp_path / "out"
    odd = os.fsdecode(b"caf\xe9")
    for seed, name in enumerate(("short", odd)):
        write_photo(home / f"{name}.jpg", seed, (40, 56))
    arguments = ["--run", str(run_folder), "--out", str(out), "--device", "cpu"]
    assert predict.main([str(home), *arguments]) == 0
    assert "1 cannot be used" in capsys.readouterr().out
    (line,) = (out / "problems.jsonl").read_text().splitlines()
    assert json.loads(line)["photo"] == "caf\\udce9.jpg"
    assert predict.main([str(home / "*.jpg"), *arguments]) == 0
    said = json.loads((out / "found" / f"{odd}.json").read_text())
    assert Path(said["photo"]).stem == odd
    assert not (out / "problems.jsonl").exists()
