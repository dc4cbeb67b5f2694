"""Learned boundaries from artifacts to files, and the walk between them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.cams import map_size
from data.labels import read_grey, write_label
from data.manifest import Manifest
from pipeline.context import Context
from stages import edge_training, edges
from stages.nets.streams import one_thread
from tests.stages.conftest import CLASSES, SIZE, TinyRun
from tests.stages.test_walk import resized

SMALL: dict[str, Any] = {"kind": "learned", "epochs": 2, "width": 8, "batch_size": 4, "scale": 1.0}


def run(given: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    config = edges.Config.model_validate({**SMALL, **changes})
    with one_thread():
        edges.run(config, given.inputs, out, context or given.context)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_every_train_photo_has_a_boundary_map(looked: TinyRun, tmp_path: Path) -> None:
    out = run(looked, tmp_path / "edges")
    photos = Manifest.of(looked.inputs, looked.context.places).split("train")
    named = {"model.safetensors", "metrics.jsonl"}
    assert set(contents(out)) == named | {f"{photo.id}.png" for photo in photos}
    maps = [read_grey(out / f"{photo.id}.png") for photo in photos]
    assert all(one.shape == map_size(SIZE) for one in maps)
    assert any(one.std() > 0 for one in maps)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]


def test_the_loss_falls(looked: TinyRun, tmp_path: Path) -> None:
    out = run(looked, tmp_path / "edges", epochs=30, lr=0.02, batch_size=2)
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0]


def test_the_same_seed_gives_the_same_files(looked: TinyRun, tmp_path: Path) -> None:
    one = contents(run(looked, tmp_path / "one"))
    again = run(looked, tmp_path / "again", replace(looked.context, workers=2))
    assert contents(again) == one
    other = contents(run(looked, tmp_path / "other", seed=1))
    assert other["model.safetensors"] != one["model.safetensors"]


def test_a_killed_training_and_a_missing_map_are_made_good(
    looked: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(run(looked, tmp_path / "whole"))
    out, steps = tmp_path / "edges", [0]
    plain = edge_training.pair_loss

    def killed(*given: Any) -> Any:
        steps[0] += 1
        if steps[0] == 4:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(edge_training, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(edge_training, "pair_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run(looked, out)
    assert (out / "checkpoint.pt").exists()
    run(looked, out)
    assert contents(out) == whole
    first = next(name for name in sorted(whole) if name.endswith(".png"))
    (out / first).unlink()
    run(looked, out)
    assert {**contents(out), first: b""} == {**whole, first: b""}
    close = read_grey(out / first).astype(int) - read_grey(tmp_path / "whole" / first)
    assert np.abs(close).max() <= 1


def test_two_ranks_write_the_same_photos(looked: TinyRun, tmp_path: Path) -> None:
    one, two = contents(run(looked, tmp_path / "one")), tmp_path / "two"
    for rank in (0, 1):
        run(looked, two, replace(looked.context, rank=rank, world=2))
    assert set(contents(two)) == set(one)
    assert contents(two)["model.safetensors"] == one["model.safetensors"]


def test_it_learns_from_no_more_photos_than_asked_for(looked: TinyRun, tmp_path: Path) -> None:
    out = run(looked, tmp_path / "edges", photos=2)
    assert (
        contents(out)["model.safetensors"]
        != (contents(run(looked, tmp_path / "all"))["model.safetensors"])
    )
    assert sum(name.endswith(".png") for name in contents(out)) == 6


def test_ignored_pixels_tell_nothing(looked: TinyRun, tmp_path: Path) -> None:
    """What is ignored in labels/ may say anything in labels/full: no pair is of it."""
    for path in looked.inputs["labels"].glob("*.png"):
        write_label(path, np.full(SIZE, 255, np.uint8), CLASSES)
    made = contents(run(looked, tmp_path / "edges"))
    assert made == contents(run(looked, tmp_path / "image", kind="image"))  # so colours decide


def test_changes_of_colour_need_neither_network_nor_labels(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    kept = {"index": tiny_run.inputs["index"]}
    given = replace(tiny_run, inputs=kept)
    found = contents(run(given, tmp_path / "soft", kind="image", contrast=200.0))
    assert len(found) == 6
    assert {Path(name).suffix for name in found} == {".png"}
    sharp = run(given, tmp_path / "sharp", kind="image", contrast=20.0)
    for name in found:
        soft, hard = read_grey(tmp_path / "soft" / name), read_grey(sharp / name)
        assert soft.shape == map_size(SIZE)
        assert (hard >= soft).all()
        assert hard.mean() > soft.mean()


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 9)])
@pytest.mark.parametrize("kind", ["learned", "image"])
def test_a_photo_smaller_than_a_cell(
    looked: TinyRun, tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    identity = resized(looked, size)
    write_label(looked.inputs["labels"] / f"{identity}.png", np.zeros(size, np.uint8), CLASSES)
    found = read_grey(run(looked, tmp_path / "edges", kind=kind) / f"{identity}.png")
    assert found.shape == map_size(size)


def test_a_label_of_another_photo_is_named(looked: TinyRun, tmp_path: Path) -> None:
    path = looked.inputs["labels"] / "photo-1.png"
    assert path.exists()
    write_label(path, np.zeros((8, 8), np.uint8), CLASSES)
    with pytest.raises(ValueError, match=r"photo-1\.png is \(8, 8\), its photo"):
        run(looked, tmp_path / "edges")
