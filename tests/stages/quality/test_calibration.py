"""The sweep over how labels are made: equal to single runs, blind to masks, one lattice a photo."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cams import Cam, map_size, read_cam, write_cam
from data.labels import read_label
from data.manifest import Manifest
from data.masks import MaskIndex, write_masks
from data.photos import read_photo
from stages import labels
from stages.confusion import Confusion
from stages.crf.lattice import Lattice
from stages.inspect import Calibration
from stages.quality import trials
from stages.quality.calibration import calibration, rank_correlation, sample, verdict
from stages.quality.criteria import border_contrast, majority, mean_overlap, overlaps
from stages.quality.trials import grid_of, in_force, sources_of, tried
from tests.stages.conftest import SIZE, TinyRun

SMALL = Calibration(photos=4, sets=("psa_seam",), powers=(0.5, 1.0, 2.0), factors=(0.5, 1.0, 1.5))
CONFIG = labels.Config(background="fixed", threshold=0.4)


@pytest.fixture
def run(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """The tiny run with labels of the dense CRF, a walk before and a second look after them."""
    rng = np.random.default_rng(0)
    for photo in Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train"):
        cam = read_cam(tiny_run.inputs["cams"] / f"{photo.id}.npz")
        shaken = np.maximum(cam.maps + rng.normal(0, 0.8, cam.maps.shape), 0).astype(np.float32)
        write_cam(tmp_path / "walk" / f"{photo.id}.npz", replace(cam, maps=shaken))
        rest = np.full(map_size(SIZE), 1.5, np.float32)
        total = shaken.sum(axis=0) + rest
        looked = Cam(cam.classes, shaken / total, SIZE, rest / total)
        write_cam(tmp_path / "rescore" / f"{photo.id}.npz", looked)
    first, last = tmp_path / "first", tmp_path / "last"
    inputs = {**tiny_run.inputs, "walk": tmp_path / "walk", "rescore": tmp_path / "rescore"}
    labels.run(CONFIG, inputs | {"cams": inputs["walk"]}, first, tiny_run.context)
    again = {"index": inputs["index"], "cams": inputs["rescore"], "before": first}
    labels.run(CONFIG, again, last, tiny_run.context)
    return replace(tiny_run, inputs={**inputs, "first": first, "labels": last})


def swept(run: TinyRun, config: Calibration = SMALL, *, workers: int = 1) -> dict:
    manifest = Manifest.of(run.inputs, run.context.places)
    masks = MaskIndex.of(run.inputs, run.context.places)
    found = calibration(config, manifest, masks, run.inputs, workers=workers)
    assert found is not None
    return found


def test_every_setting_is_a_run_of_the_labels(run: TinyRun, tmp_path: Path) -> None:
    sources = sources_of(run.inputs)
    assert [source.name for source in sources] == ["first", "labels"]
    assert [source.before.name for source in sources if source.before] == ["cams", "first"]
    grid = grid_of(sources[0], SMALL.sets, SMALL.powers, SMALL.factors)
    manifest = Manifest.of(run.inputs, run.context.places)
    photo = manifest.split("train")[1]
    first, _ = tried(read_photo(manifest.path(photo)), photo, sources, grid)
    assert len(grid.settings) == len(first.labels) == 18
    assert len(np.unique(first.labels, axis=0)) > 6
    inputs = {"index": run.inputs["index"], "cams": run.inputs["walk"]}
    for place, setting in enumerate(grid.settings):
        single = CONFIG.model_copy(
            update={
                "threshold": 0.4 * setting.factor,
                "power": setting.power,
                "crf": grid.crfs[setting.set],
            }
        )
        out = tmp_path / f"single-{place}"
        labels.run(single, inputs, out, run.context)
        alone = read_label(out / "full" / f"{photo.id}.png")
        np.testing.assert_array_equal(first.labels[place], alone)


def test_what_is_in_force_gives_the_labels_of_the_run(run: TinyRun) -> None:
    found = swept(run, SMALL.model_copy(update={"photos": 6}))
    masks = MaskIndex.of(run.inputs, run.context.places)
    for name, step in zip(("first", "labels"), found["steps"], strict=True):
        confusion = Confusion(4)
        for photo in Manifest.of(run.inputs, run.context.places).split("train"):
            confusion.add(
                masks.read(photo), read_label(run.inputs[name] / "full" / f"{photo.id}.png")
            )
        assert step["miou"][step["in_force"]] == pytest.approx(confusion.miou())
        assert step["best_with_masks"] == int(np.argmax(step["miou"]))
        assert found["settings"][step["in_force"]] == {
            "set": "irn_label",
            "power": 1.0,
            "factor": 1.0,
        }


def test_masks_choose_nothing(run: TinyRun, tmp_path: Path) -> None:
    seen = swept(run)
    none = tmp_path / "none"
    none.mkdir()
    write_masks(none, [], by_category=False)
    shutil.copy(run.inputs["masks"] / "classes.json", none)
    shutil.rmtree(run.root / "masks")
    blind = swept(replace(run, inputs={**run.inputs, "masks": none}))
    assert (seen["photos_with_mask"], blind["photos_with_mask"]) == (4, 0)
    for with_masks, without in zip(seen["steps"], blind["steps"], strict=True):
        assert without["values"] == with_masks["values"]
        assert len(without["values"]) == 7
        for name, choice in without["chosen"].items():
            assert choice["setting"] == with_masks["chosen"][name]["setting"]
            assert choice["behind_best_with_masks"] is None
        assert set(without["miou"]) == {None}
    assert blind["follows"] == []
    assert "unknown" in blind["verdict"]


def test_a_photo_has_one_lattice_for_each_set(
    run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    class Counted(Lattice):
        def __init__(self, image, parameters, **scale) -> None:
            built.append(parameters.set)
            super().__init__(image, parameters, **scale)

    monkeypatch.setattr(trials, "Lattice", Counted)
    found = swept(run)
    assert len(found["settings"]) * len(found["steps"]) == 36
    assert built == ["irn_label", "psa_seam"] * 4


def test_the_sample_is_drawn_by_the_seed(run: TinyRun) -> None:
    photos = Manifest.of(run.inputs, run.context.places).split("train")
    drawn = [sample(photos, SMALL.model_copy(update={"seed": seed})) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert any(other != drawn[0] for other in drawn[2:])
    assert all(len(one) == 4 for one in drawn)
    assert sample(photos, SMALL.model_copy(update={"photos": 99})) == list(photos)


def test_workers_change_nothing(run: TinyRun) -> None:
    assert json.dumps(swept(run)) == json.dumps(swept(run, workers=2))


def test_labels_of_no_crf_are_passed_over(tiny_run: TinyRun) -> None:
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    assert calibration(SMALL, manifest, masks, tiny_run.inputs, workers=1) is None


def test_a_hard_unary_has_no_power_to_sweep(run: TinyRun) -> None:
    source = sources_of(run.inputs)[0]
    hard = replace(source, recipe=source.recipe._replace(unary="hard"))
    grid = grid_of(hard, SMALL.sets, SMALL.powers, SMALL.factors)
    assert {setting.power for setting in grid.settings} == {1.0}
    assert grid.settings[in_force(grid, hard)].factor == 1.0


def test_overlaps_are_those_of_a_confusion() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (9, 7))
    found = rng.choice(np.array([0, 1, 3], np.uint8), (2, 9, 7))
    for place, miou in enumerate(mean_overlap(overlaps([truth], found, 5))):
        confusion = Confusion(5)
        confusion.add(truth, found[place])
        assert miou == pytest.approx(confusion.miou())
    own = mean_overlap(overlaps(list(found), found, 5))
    assert own.tolist() == [1, 1]


def test_borders_on_edges_have_the_higher_contrast() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 90
    on, off, none = (np.zeros((8, 8), np.uint8) for _ in range(3))
    on[:, 4:] = off[:, 3:] = 1
    contrast = border_contrast(image, np.stack([on, off, none]))
    assert contrast[0] == pytest.approx(112 / 8)
    assert contrast[1] == 0
    assert np.isnan(contrast[2])


def test_the_majority_is_that_of_the_settings() -> None:
    found = np.array([[[0, 2]], [[1, 2]], [[1, 0]]], np.uint8)
    assert majority(found).tolist() == [[1, 2]]


def test_ranks_are_compared_and_not_values() -> None:
    first = np.array([1.0, 2.0, 3.0, np.nan])
    assert rank_correlation(first, np.array([1.0, 10.0, 11.0, 0.0])) == pytest.approx(1)
    assert rank_correlation(first, np.array([3.0, 2.0, 1.0, 9.0])) == pytest.approx(-1)
    assert rank_correlation(first, np.ones(4)) is None


def test_the_verdict_is_that_of_the_worst_step() -> None:
    def step(painted: float, edges: float) -> dict:
        chosen = {"painted": painted, "edges": edges}
        return {
            "best_with_masks": 3,
            "in_force_behind_best_with_masks": 0.021,
            "chosen": {name: {"behind_best_with_masks": v} for name, v in chosen.items()},
        }

    both = verdict([step(0.004, 0.001), step(0.006, 0.002)])
    assert both.startswith("within 0.5 points")
    assert "colour contrast" in both
    assert "tags" not in both
    assert "at most 2.1 points" in both
    assert verdict([step(0.004, 0.2), step(0.006, 0.0)]).startswith("no criterion follows")
