"""The second look from artifacts to files: probabilities of a photo's tags and the background."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.cams import read_cam
from data.labels import write_label
from data.manifest import Manifest
from pipeline.context import Context
from stages import labels, rescore, rescoring
from stages.nets.streams import one_thread
from stages.normalisation import PROBABILITIES
from tests.stages.conftest import CLASSES, SIZE, TinyRun
from tests.stages.test_cams import files
from tests.stages.test_walk import resized

SMALL: dict[str, Any] = {"rounds": 1, "pixels": {"epochs": 2, "places": 8}}


def run(given: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    config = rescore.Config.model_validate({**SMALL, **changes})
    with one_thread():
        rescore.run(config, given.inputs, out, context or given.context)
    return out


def repainted(given: TinyRun, value: int) -> None:
    """All labels so far say `value` everywhere."""
    for path in (given.inputs["labels"] / "full").glob("*.png"):
        write_label(path, np.full(SIZE, value, np.uint8), CLASSES)


def test_probabilities_are_those_of_the_tags_and_sum_to_one(
    looked: TinyRun, tmp_path: Path
) -> None:
    out = run(looked, tmp_path / "rescore")
    manifest = Manifest.of(looked.inputs, looked.context.places)
    assert set(files(out)) == {f"{photo.id}.npz" for photo in manifest.split("train")}
    for photo in manifest.split("train"):
        cam = read_cam(out / f"{photo.id}.npz")
        assert tuple(cam.classes) == manifest.tag_indices(photo)
        assert cam.background is not None
        total = cam.maps.sum(axis=0) + cam.background
        np.testing.assert_allclose(total, 1, atol=(len(cam.classes) + 1) * 0.5 / 255 + 1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 9)])
@pytest.mark.parametrize("tags", [0, 2])
def test_a_photo_smaller_than_a_cell_or_without_a_tag(
    looked: TinyRun, tmp_path: Path, size: tuple[int, int], tags: int
) -> None:
    identity = resized(looked, size, tags)
    write_label(
        looked.inputs["labels"] / "full" / f"{identity}.png", np.zeros(size, np.uint8), CLASSES
    )
    cam = read_cam(run(looked, tmp_path / "rescore") / f"{identity}.npz")
    assert cam.maps.shape[0] == len(cam.classes) == tags
    assert cam.background is not None
    np.testing.assert_allclose(cam.maps.sum(axis=0) + cam.background, 1, atol=0.01)
    if not tags:
        assert (cam.background == 1).all()


def test_a_huge_photo_is_seen_at_a_smaller_scale(
    looked: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large a photo is, a scale makes no more than `cells` places of it, in both passes."""
    seen: list[int] = []
    look = rescoring.dense_features

    def counted(*given: Any, **settings: Any) -> Any:
        maps, grid = look(*given, **settings)
        seen.append(maps[0].shape[2] * maps[0].shape[3])
        return maps, grid

    monkeypatch.setattr(rescoring, "dense_features", counted)
    run(looked, tmp_path / "all", scales=(1.0, 3.0))
    assert max(seen) == 12 * 9
    seen.clear()
    out = run(looked, tmp_path / "few", scales=(1.0, 3.0), cells=20)
    assert len(files(out)) == 6
    assert seen == [12, 20] * 2  # drawing and scoring, at both scales; one batch of all photos


@pytest.mark.parametrize("value", [0, 2, 255])
def test_labels_that_show_one_class_or_none(looked: TinyRun, tmp_path: Path, value: int) -> None:
    repainted(looked, value)
    if value == 255:
        with pytest.raises(ValueError, match="no place of any photo has a label"):
            run(looked, tmp_path / "rescore")
        return
    out = run(looked, tmp_path / "rescore")
    assert len(files(out)) == 6


def test_the_labels_so_far_decide(looked: TinyRun, tmp_path: Path) -> None:
    means = []
    for value in (0, 1):
        repainted(looked, value)
        out = run(looked, tmp_path / str(value), pixels={"epochs": 40, "lr": 0.05})
        found = [read_cam(out / name).background for name in files(out)]
        means.append(np.mean([background.mean() for background in found if background is not None]))
    assert means[0] > means[1] + 0.05


def test_a_killed_second_look_goes_on(looked: TinyRun, tmp_path: Path) -> None:
    whole = files(run(looked, tmp_path / "whole"))
    out = run(looked, tmp_path / "rescore")
    pixels = out / "pixels.safetensors"
    content, written = pixels.read_bytes(), pixels.stat().st_mtime_ns
    assert content == (tmp_path / "whole" / "pixels.safetensors").read_bytes()
    first, second = sorted(whole)[:2]
    (out / first).unlink()
    (out / second).write_bytes(b"as it was")
    run(looked, out)
    assert pixels.stat().st_mtime_ns == written
    found = files(out)
    assert set(found) == set(whole)
    assert found[second] == b"as it was"
    assert all(found[name] == whole[name] for name in sorted(whole)[2:])


def test_two_workers_write_what_one_writes(looked: TinyRun, tmp_path: Path) -> None:
    one = run(looked, tmp_path / "one")
    two = run(looked, tmp_path / "two", replace(looked.context, workers=2))
    assert files(one) == files(two)
    name = "pixels.safetensors"
    assert (one / name).read_bytes() == (two / name).read_bytes()


def test_two_ranks_write_the_same_photos(looked: TinyRun, tmp_path: Path) -> None:
    one, two = files(run(looked, tmp_path / "one")), tmp_path / "two"
    for rank in (0, 1):
        run(looked, two, replace(looked.context, rank=rank, world=2))
    assert set(files(two)) == set(one)


def test_the_settings_change_the_scores(looked: TinyRun, tmp_path: Path) -> None:
    made = [
        files(run(looked, tmp_path / str(at), **changes))
        for at, changes in enumerate(
            [{}, {"steps": 3}, {"scales": (1.0,)}, {"levels": 1}, {"seed": 4}]
        )
    ]
    assert all(made[0] != other for other in made[1:])


def test_few_samples_are_shared_by_all_photos(looked: TinyRun, tmp_path: Path) -> None:
    changes = {"pixels": {"epochs": 1, "samples": 1}}
    assert len(files(run(looked, tmp_path / "rescore", **changes))) == 6


def test_a_label_of_another_size_is_named(looked: TinyRun, tmp_path: Path) -> None:
    path = looked.inputs["labels"] / "full" / "photo-2.png"
    write_label(path, np.zeros((5, 7), np.uint8), CLASSES)
    with pytest.raises(ValueError, match=r"photo-2\.png is \(5, 7\), its photo \(64, 48\)"):
        run(looked, tmp_path / "rescore")


def test_the_last_labels_are_made_of_the_new_scores(looked: TinyRun, tmp_path: Path) -> None:
    scores = run(looked, tmp_path / "rescore")
    out = tmp_path / "labels"
    inputs = looked.inputs | {"cams": scores, "before": looked.inputs["labels"]}
    config = labels.Config.model_validate({"crf": {"backend": "reference", "iterations": 1}})
    labels.run(config, inputs, out, looked.context)
    said = json.loads((out / "thresholds.json").read_text())
    assert said["masks_used"] == 0
    assert "without masks" in said["chosen"]
    assert str(said["threshold"]) in said["agreement"]
    assert len(list((out / "full").rglob("*.png"))) == 6


def test_a_third_look_takes_the_background_score_of_the_first_labels(
    looked: TinyRun, tmp_path: Path
) -> None:
    """The number of the labels that it learns from is a factor on probabilities, no such score."""
    alone = run(looked, tmp_path / "alone")
    second = tmp_path / "second"
    second.mkdir()
    (second / "full").symlink_to(looked.inputs["labels"] / "full")
    said = {"threshold": 4.0, "normalisation": PROBABILITIES}
    (second / "thresholds.json").write_text(json.dumps(said))
    inputs = {**looked.inputs, "labels": second}
    with pytest.raises(ValueError, match="take the first labels"):
        run(replace(looked, inputs=inputs), tmp_path / "refused")
    inputs["first"] = looked.inputs["labels"]
    assert files(run(replace(looked, inputs=inputs), tmp_path / "third")) == files(alone)
