import random
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.nets.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)


def test_plain_data_comes_back(tmp_path: Path) -> None:
    state = {"weights": torch.arange(3), "epoch": 2, "lines": [{"loss": 0.5}], "name": "x"}
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    read = load_checkpoint(tmp_path / "checkpoint.pt")
    assert torch.equal(read.pop("weights"), torch.arange(3))
    assert read == {"epoch": 2, "lines": [{"loss": 0.5}], "name": "x"}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_every_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    def draws() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand()), random.random(), random.gauss(0, 1)]

    random.gauss(0, 1)  # python keeps a second value: part of the state
    save_checkpoint(tmp_path / "checkpoint.pt", {"random": random_state()})
    expected = draws()
    draws()
    restore_random_state(load_checkpoint(tmp_path / "checkpoint.pt")["random"])
    assert draws() == expected


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*delete it"):
        load_checkpoint(path)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"path": Path("x")}, path)
    with pytest.raises(ValueError, match=r"checkpoint\.pt"):
        load_checkpoint(path)


def test_a_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")
