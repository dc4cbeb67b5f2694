"""All engines of the dense CRF make the labels of a run again; inspect says how many pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.cams import read_cam, write_cam
from data.labels import read_label, write_label
from data.manifest import Manifest
from stages import inspect, labels
from stages.quality.engines import engine_agreement


class Said:
    """A listener that keeps what a stage says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, done: int, total: int, unit: str) -> None: ...

    def figures(self, figures: object) -> None: ...

    def note(self, text: str) -> None:
        self.lines.append(text)


def labelled(run, out: Path, **settings) -> dict[str, Path]:
    """The run's inputs, with labels that the dense CRF made."""
    config = labels.Config(background="fixed", threshold=0.4, **settings)
    labels.run(config, run.inputs, out, run.context)
    return {**run.inputs, "labels": out}


def figures_of(run, inputs: dict[str, Path], out: Path, *, engines: int) -> tuple[dict, list[str]]:
    said = Said()
    context = replace(run.context, listener=said)
    inspect.run(inspect.Config(engines=engines), inputs, out, context)
    return json.loads((out / "quality.json").read_text())["crf_engines"], said.lines


@pytest.mark.parametrize("unary", ["scores", "hard"])
def test_all_engines_give_the_labels(tiny_run, tmp_path: Path, unary: str) -> None:
    inputs = labelled(tiny_run, tmp_path / "labels", unary=unary, scale=0.5)
    found, said = figures_of(tiny_run, inputs, tmp_path / "out", engines=2)
    assert found["photos"] == 2
    assert found["made_by"] == "numba"
    assert list(found["equal"]) == ["numba", "torch", "reference", "pydensecrf"]
    assert found["equal"]["numba"] == 1
    assert all(share is None or share >= 0.999 for share in found["equal"].values())
    assert any("numba 100.0000 %" in line for line in said)


def test_another_label_lowers_the_share(tiny_run, tmp_path: Path) -> None:
    inputs = labelled(tiny_run, tmp_path / "labels")
    manifest = Manifest.of(inputs, tiny_run.context.places)
    photo = manifest.split("train")[0]
    path = inputs["labels"] / "full" / f"{photo.id}.png"
    label = read_label(path).copy()
    label[:8] = (label[:8] + 1) % 4
    write_label(path, label, manifest.classes)
    found = engine_agreement(manifest, [photo], inputs)
    assert found is not None
    assert found["equal"]["numba"] == pytest.approx(1 - 8 / label.shape[0])


def test_scores_of_the_last_step_are_those_of_the_labels(tiny_run, tmp_path: Path) -> None:
    changed = tmp_path / "walk"
    for photo in Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train"):
        cam = read_cam(tiny_run.inputs["cams"] / f"{photo.id}.npz")
        turned = replace(cam, maps=np.ascontiguousarray(cam.maps[:, ::-1]))
        write_cam(changed / f"{photo.id}.npz", turned)
    walked = replace(tiny_run, inputs={**tiny_run.inputs, "cams": changed})
    made = labelled(walked, tmp_path / "labels")
    manifest = Manifest.of(made, tiny_run.context.places)
    photos = manifest.split("train")[:1]
    seen = {**tiny_run.inputs, "labels": made["labels"]}
    right = engine_agreement(manifest, photos, seen | {"walk": changed})
    wrong = engine_agreement(manifest, photos, seen)
    assert right is not None
    assert wrong is not None
    assert right["equal"]["numba"] == 1 > wrong["equal"]["numba"]


def test_labels_of_no_crf_are_passed_over(tiny_run, tmp_path: Path) -> None:
    assert figures_of(tiny_run, tiny_run.inputs, tmp_path / "out", engines=2)[0] is None
