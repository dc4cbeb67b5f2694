"""inspect: its figures are those of counting by hand, with masks and without."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cams import read_cam, write_cam
from data.files import read_lines
from data.labels import read_label, write_grey
from data.manifest import Manifest
from data.masks import MaskIndex, write_masks
from pipeline.context import Context
from stages import inspect
from stages.confusion import Confusion


def inspected(run, out: Path, **settings) -> tuple[dict, list[dict]]:
    inspect.run(inspect.Config(**settings), run.inputs, out, run.context)
    return json.loads((out / "quality.json").read_text()), list(read_lines(out / "photos.jsonl"))


def no_masks(run, folder: Path) -> dict[str, Path]:
    folder.mkdir()
    write_masks(folder, [], by_category=False)
    (folder / "classes.json").write_bytes((run.inputs["masks"] / "classes.json").read_bytes())
    return {**run.inputs, "masks": folder}


def test_scores_are_those_of_one_confusion_matrix(tiny_run, tmp_path: Path) -> None:
    figures, rows = inspected(tiny_run, tmp_path / "out")
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    full, covered, filled = (Confusion(4) for _ in range(3))
    ignored = total = 0
    for photo in manifest.split("train"):
        mask = masks.read(photo)
        label = read_label(tiny_run.inputs["labels"] / f"{photo.id}.png")
        full.add(mask, read_label(tiny_run.inputs["labels"] / "full" / f"{photo.id}.png"))
        covered.add(mask[label != 255], label[label != 255])
        filled.add(mask, np.where(label == 255, 0, label).astype(np.uint8))
        ignored, total = ignored + int((label == 255).sum()), total + label.size
    assert figures["miou"] == pytest.approx(full.miou())
    assert figures["miou_covered"] == pytest.approx(covered.miou())
    assert figures["miou_ignored_as_background"] == pytest.approx(filled.miou())
    assert figures["coverage"] == pytest.approx(1 - ignored / total)
    assert figures["miou_all_background"] == pytest.approx(full.trivial().miou())
    assert figures["photos"] == figures["photos_with_mask"] == len(rows) == 6
    assert figures["confusion"] == full.matrix.tolist()
    assert figures["chosen_with_masks"] is True
    assert figures["masks_sha256"]


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_the_sweep_equals_a_confusion_at_each_threshold(
    tiny_run, tmp_path: Path, threshold: float
) -> None:
    figures, _ = inspected(tiny_run, tmp_path / "out", bins=100)
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    direct = Confusion(4)
    for photo in manifest.split("train"):
        cam = read_cam(tiny_run.inputs["cams"] / f"{photo.id}.npz")
        maps = cam.upsampled(cam.normalised())
        bins = np.minimum((maps.max(axis=0) * 100).astype(int), 99)
        painted = np.where(bins >= round(threshold * 100), cam.classes[maps.argmax(axis=0)] + 1, 0)
        direct.add(masks.read(photo), painted.astype(np.uint8))
    place = figures["curves"]["threshold"].index(threshold)
    assert figures["curves"]["miou_cam"][place] == pytest.approx(direct.miou())


def test_the_best_threshold_is_the_best_of_the_whole_range(tiny_run, tmp_path: Path) -> None:
    figures, _ = inspected(tiny_run, tmp_path / "out")
    curve = figures["curves"]["miou_cam"]
    assert figures["miou_cam_best"] == max(curve)
    assert figures["curves"]["threshold"][curve.index(max(curve))] == figures["threshold_best"]
    assert figures["miou_cam"] <= figures["miou_cam_best"]
    assert figures["curves"]["threshold"][0] == 0
    assert figures["curves"]["threshold"][-1] == 1


def test_coverage_falls_and_starts_at_the_plain_score(tiny_run, tmp_path: Path) -> None:
    figures, _ = inspected(tiny_run, tmp_path / "out")
    coverage = figures["curves"]["coverage"]
    assert coverage == sorted(coverage, reverse=True)
    assert coverage[0] == 1
    assert figures["curves"]["miou_at_coverage"][0] == pytest.approx(figures["miou"])


def test_without_masks_scores_are_null_and_the_rest_is_the_same(tiny_run, tmp_path: Path) -> None:
    figures, rows = inspected(tiny_run, tmp_path / "with")
    bare = replace(tiny_run, inputs=no_masks(tiny_run, tmp_path / "none"))
    blind, blind_rows = inspected(bare, tmp_path / "without")
    for name in ("miou", "miou_covered", "miou_ignored_as_background", "miou_cam"):
        assert blind[name] is None
    assert "no train photo has a mask" in blind["masks_missing"]
    free = ("coverage", "threshold", "confidence", "disagreement", "tags", "areas", "leakage")
    assert all(blind[name] == figures[name] for name in free)
    scored = {"iou", "iou_covered", "accuracy"}
    assert blind_rows == [
        {name: value for name, value in row.items() if name not in scored} for row in rows
    ]
    assert "worst_by_iou" not in blind["lists"]
    assert len(blind["lists"]["doubtful_by_disagreement"]) == 6


def test_lists_name_the_worst_and_the_best(tiny_run, tmp_path: Path) -> None:
    figures, rows = inspected(tiny_run, tmp_path / "out", listed=2)
    by_iou = sorted((row["iou"], row["id"]) for row in rows)
    assert [line["id"] for line in figures["lists"]["worst_by_iou"]] == [i for _, i in by_iou[:2]]
    assert figures["lists"]["best_by_iou"][0]["id"] == by_iou[-1][1]
    assert figures["lists"]["best_by_iou"][0]["iou"] == by_iou[-1][0] == pytest.approx(1)


def test_workers_change_nothing(tiny_run, tmp_path: Path) -> None:
    for workers in (1, 2):
        context = Context(workers=workers, places=tiny_run.context.places)
        inspect.run(inspect.Config(), tiny_run.inputs, tmp_path / str(workers), context)
    for name in ("quality.json", "photos.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_label_of_another_size_is_named(tiny_run, tmp_path: Path) -> None:
    path = tiny_run.inputs["labels"] / "full" / "photo-3.png"
    write_grey(path, np.zeros((5, 7), np.uint8))
    with pytest.raises(ValueError, match=r"photo-3: sizes .* full label 5x7"):
        inspected(tiny_run, tmp_path / "out")


def stepped(run, folder: Path, *names: str) -> dict[str, Path]:
    """The inputs of a run with these steps: the run's own maps and labels in their place."""
    own = {"walk": "cams", "rescore": "cams", "spread": "cams", "first": "labels"}
    for name in names:
        shutil.copytree(run.inputs[own[name]], folder / name)
    if "rescore" in names:
        thresholds = run.inputs["labels"] / "thresholds.json"
        thresholds.write_text(json.dumps({"threshold": 2.0, "chosen": "by agreement"}))
    return {**run.inputs, **{name: folder / name for name in names}}


def test_steps_are_scored_where_there_are_some(tiny_run, tmp_path: Path) -> None:
    plain, _ = inspected(tiny_run, tmp_path / "plain")
    assert plain["steps"] == []
    more = replace(tiny_run, inputs=stepped(tiny_run, tmp_path, "walk", "first", "rescore"))
    figures, _ = inspected(more, tmp_path / "out")
    names = ["walk", "first", "rescore", "labels"]
    assert [step["step"] for step in figures["steps"]] == names
    assert figures["steps"][-1]["miou"] == pytest.approx(figures["miou"])
    assert all(0 <= step["miou"] <= 1 and step["shown"] for step in figures["steps"])


def test_raw_maps_are_cut_at_a_score_of_their_own(tiny_run, tmp_path: Path) -> None:
    again = replace(tiny_run, inputs=stepped(tiny_run, tmp_path / "a", "first", "rescore"))
    figures, _ = inspected(again, tmp_path / "again")
    assert (figures["threshold"], figures["threshold_chosen"]) == (0.4, "by hand")
    walked = replace(tiny_run, inputs=again.inputs | stepped(tiny_run, tmp_path / "w", "walk"))
    figures, _ = inspected(walked, tmp_path / "walked")
    assert 0 < figures["threshold"] < 1
    assert figures["threshold_chosen"].startswith("Li's")


def test_a_score_of_maps_spread_between_boundaries_is_none_of_raw_maps(
    tiny_run, tmp_path: Path
) -> None:
    spread = replace(tiny_run, inputs=stepped(tiny_run, tmp_path / "a", "spread"))
    figures, _ = inspected(spread, tmp_path / "alone")
    assert figures["threshold_chosen"].startswith("Li's")
    both = replace(tiny_run, inputs=stepped(tiny_run, tmp_path / "b", "first", "spread"))
    figures, _ = inspected(both, tmp_path / "both")
    assert figures["threshold_chosen"] == "by hand"


def test_maps_that_know_no_threshold_take_that_of_the_walk(tiny_run, tmp_path: Path) -> None:
    inputs = stepped(tiny_run, tmp_path, "walk")
    for path in inputs["cams"].glob("*.npz"):
        cam = read_cam(path)
        write_cam(path, replace(cam, maps=np.zeros_like(cam.maps)))
    figures, _ = inspected(replace(tiny_run, inputs=inputs), tmp_path / "out")
    assert figures["threshold_chosen"] == "by hand"
