"""mIoU of the labels on their way: each step as if it had been counted by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cams import Cam, map_size, write_cam
from data.labels import read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from stages.confusion import Confusion
from stages.quality.steps import Step, step_scores, steps_of
from tests.stages.conftest import SIZE, TinyRun, scene


def added(run: TinyRun, folder: Path) -> dict[str, Path]:
    """Inputs of a run with all steps: scores that equal the masks but for their grid."""
    for name, walked in (("walk", True), ("rescore", False), ("spread", False)):
        for place, photo in enumerate(photos_of(run)):
            cells = scene(place)[2::4, 2::4][: map_size(SIZE)[0]]
            kept = np.stack([cells == label for label in (1, 2)][: len(photo.tags)])
            maps = (0.6 * kept).astype(np.float32)
            background = None if walked else np.full(map_size(SIZE), 0.2, np.float32)
            cam = Cam(np.arange(len(photo.tags)), maps, SIZE, background)
            write_cam(folder / name / f"{photo.id}.npz", cam)
    first = folder / "first"
    first.mkdir(parents=True)
    (first / "thresholds.json").write_text(json.dumps({"threshold": 0.5}))
    (first / "full").symlink_to(run.inputs["labels"] / "full")
    (run.inputs["labels"] / "thresholds.json").write_text(json.dumps({"threshold": 1.5}))
    return {
        **run.inputs,
        **{name: folder / name for name in ("walk", "first", "rescore", "spread")},
    }


def photos_of(run: TinyRun):
    """Train photos in the order of the scenes."""
    photos = Manifest.of(run.inputs, run.context.places).split("train")
    return sorted(photos, key=lambda photo: (photo.id != "disc-<i>&\"'", photo.id))


def scores_of(run: TinyRun, steps: list[Step], workers: int = 1) -> list[dict]:
    masks = MaskIndex.of(run.inputs, run.context.places)
    return step_scores(steps, photos_of(run), masks, classes=4, workers=workers)


def test_steps_come_in_the_order_of_the_flow(tiny_run: TinyRun, tmp_path: Path) -> None:
    inputs = added(tiny_run, tmp_path / "steps")
    found = steps_of(inputs)
    assert [(step.name, step.background) for step in found] == [
        ("walk", 0.5),
        ("first", None),
        ("rescore", 1.5),
        ("spread", 1.5),
        ("labels", None),
    ]
    walked = {name: path for name, path in inputs.items() if name in ("index", "walk", "labels")}
    assert [(s.name, s.background) for s in steps_of(walked)] == [("walk", 1.5), ("labels", None)]
    second = tmp_path / "second"
    second.mkdir()
    (second / "thresholds.json").write_text(json.dumps({"threshold": 2.5}))
    more = inputs | {"rescore-first": inputs["rescore"], "second": second}
    assert [(step.name, step.background) for step in steps_of(more)][2:4] == [
        ("rescore-first", 2.5),
        ("second", None),
    ]
    again = {name: path for name, path in inputs.items() if name != "walk"}
    assert [step.name for step in steps_of(again)] == ["first", "rescore", "spread", "labels"]
    assert steps_of(tiny_run.inputs) == []
    alone = {name: inputs[name] for name in ("index", "walk", "spread", "labels")}
    assert [step.name for step in steps_of(alone)] == ["spread", "labels"]


def test_each_step_is_scored_as_one_confusion(tiny_run: TinyRun, tmp_path: Path) -> None:
    steps = steps_of(added(tiny_run, tmp_path / "steps"))
    found = scores_of(tiny_run, steps)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    full = Confusion(4)
    for photo in photos_of(tiny_run):
        label = read_label(tiny_run.inputs["labels"] / "full" / f"{photo.id}.png")
        full.add(masks.read(photo), label)
    by_name = {row["step"]: row["miou"] for row in found}
    assert by_name["labels"] == by_name["first"] == pytest.approx(full.miou())
    assert 0.85 < by_name["walk"] < 1
    assert 0.85 < by_name["rescore"] < 1


def test_the_background_score_decides(tiny_run: TinyRun, tmp_path: Path) -> None:
    steps = steps_of(added(tiny_run, tmp_path / "steps"))
    blind = [replace(step, background=9.0) for step in steps if step.background is not None]
    trivial = Confusion(4)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    for photo in photos_of(tiny_run):
        trivial.add(masks.read(photo), np.zeros(SIZE, np.uint8))
    for row in scores_of(tiny_run, blind):
        assert row["miou"] == pytest.approx(trivial.miou())


def test_workers_change_nothing(tiny_run: TinyRun, tmp_path: Path) -> None:
    steps = steps_of(added(tiny_run, tmp_path / "steps"))
    assert scores_of(tiny_run, steps) == scores_of(tiny_run, steps, workers=2)


def test_without_masks_or_steps_there_is_nothing_to_say(tiny_run: TinyRun, tmp_path: Path) -> None:
    steps = steps_of(added(tiny_run, tmp_path / "steps"))
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    none = replace(masks, masks=())
    assert step_scores(steps, photos_of(tiny_run), none, classes=4, workers=1) == []
    assert scores_of(tiny_run, []) == []


def test_scores_of_another_photo_are_named(tiny_run: TinyRun, tmp_path: Path) -> None:
    steps = steps_of(added(tiny_run, tmp_path / "steps"))
    small = Cam(np.array([0, 1]), np.ones((2, 2, 2), np.float32), (8, 8))
    write_cam(tmp_path / "steps" / "walk" / "photo-1.npz", small)
    with pytest.raises(ValueError, match=r"walk/photo-1\.npz is of a photo of \(8, 8\)"):
        scores_of(tiny_run, steps)
