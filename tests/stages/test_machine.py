"""What of a machine stands in the way of a run, without asking anybody over the network."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from knowledge.classes import VOC, ClassTable
from stages import machine
from stages.classify import Config as Classify
from stages.graph import Config as Graph
from stages.machine import (
    check_crf,
    check_device,
    check_disk,
    check_memory,
    check_text,
    check_weights,
    free_memory,
    weights_here,
)
from stages.segment import Config as Segment

RARE = "mobilenetv4_hybrid_large.e600_r384_in1k"
"""Weights that nobody who tests this has fetched."""


def test_a_disk_that_is_too_small_prevents_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    found = check_disk(tmp_path / "runs" / "deep", 2e9)
    assert (found.level, found.code) == ("error", "disk")
    assert "--runs" in found.text
    assert "1.0 GB are free" in found.text
    assert "2.00 GB are forecast, up to 1.7 times as much may be needed" in found.text
    assert check_disk(tmp_path, 5e8).level == "ok"


def test_the_real_disk_has_room_for_nothing(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "not" / "there", 0).level == "ok"
    assert not (tmp_path / "not").exists()


def test_too_little_memory_is_a_warning() -> None:
    assert check_memory(free_memory() * 10).level == "warning"
    assert check_memory(1).level == "ok"


def test_devices() -> None:
    assert check_device("cpu", "float32").text.startswith("CPU, networks in float32")
    found = check_device("abacus", "auto")
    assert (found.level, found.code) == ("error", "device")
    assert "use auto, cpu" in found.text


def test_the_engine_of_the_crf() -> None:
    assert check_crf("numba").level == "ok"
    assert check_crf("reference").text == "the dense CRF runs on reference"


def test_a_weight_file_that_is_not_named_or_not_there(tmp_path: Path) -> None:
    found = check_weights("classify", Classify(weights="file"))
    assert found is not None
    assert (found.level, found.code) == ("error", "weights")
    assert "--classify.weights-file" in found.text
    gone = Segment(weights="file", weights_file=tmp_path / "net.safetensors")
    found = check_weights("segment", gone)
    assert found is not None
    assert "no such weight file" in found.text
    assert check_weights("segment", Segment(weights="classifier")) is None


def test_weights_that_are_not_here_are_fetched_unless_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not weights_here(RARE)
    config = Classify(backbone=RARE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "")
    found = check_weights("classify", config)
    assert found is not None
    assert found.level == "warning"
    assert "the first run fetches them" in found.text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = check_weights("classify", config)
    assert found is not None
    assert found.level == "error"
    with pytest.raises(ValueError, match="timm has no pretrained weights of resnet5000"):
        weights_here("resnet5000")


def test_text_vectors(shared: Path) -> None:
    assert "shipped" in check_text(Graph(), VOC).text
    glove = shared / "text" / "glove300_voc20.safetensors"
    assert check_text(Graph(vectors=glove), VOC).level == "ok"
    lacking = check_text(Graph(vectors=glove), ClassTable.of_names("own", ["unicorn"]))
    assert lacking.level == "error"
    assert "'unicorn'" in lacking.text


def test_a_text_model_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    found = check_text(Graph(text_model="nobody/no-such-model"), VOC)
    assert (found.level, found.code) == ("warning", "text-model")
    assert "--graph.vectors" in found.text
