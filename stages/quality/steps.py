"""How good labels are after each step on their way: walk, further looks, boundaries."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from data.cams import fitting_cam
from data.labels import read_label
from data.masks import MaskIndex
from data.records import Photo
from pipeline.parallel import map_unordered
from stages.confusion import Confusion
from stages.pseudo_label import weighed

SHOWN = {
    "walk": "activation maps after the walk, cut at their background score",
    "first": "first labels",
    "rescore-first": "scores of the second look, before the dense CRF",
    "second": "second labels",
    "rescore": "scores of the last look, before the dense CRF",
    "spread": "scores shared between boundaries, before the dense CRF",
    "labels": "labels",
}
"""Names of the inputs, in the order of the flow, and what a page calls them."""


@dataclass(frozen=True)
class Step:
    """One intermediate result: label files, or scores with the background score they are cut at."""

    name: str
    folder: Path
    background: float | None
    """None where the folder holds labels."""

    def label(self, photo: Photo) -> np.ndarray:
        """What the step says of every pixel, from 0 for the background."""
        if self.background is None:
            return read_label(self.folder / "full" / f"{photo.id}.png")
        cam = fitting_cam(self.folder / f"{photo.id}.npz", photo.size)
        scores = weighed(cam.upsampled(cam.scores()), self.background)
        return np.asarray(cam.labels[scores.argmax(axis=0)])


def steps_of(inputs: Mapping[str, Path]) -> list[Step]:
    """The steps among a stage's inputs, in the order of the flow; none where labels are all."""
    final = _threshold(inputs["labels"])
    first = _threshold(inputs["first"]) if "first" in inputs else final
    second = _threshold(inputs["second"]) if "second" in inputs else final
    scores = {"walk": first, "rescore-first": second, "rescore": final, "spread": final}
    # Without first labels no background score belongs to maps that are spread afterwards.
    unscored = {"walk"} if "spread" in inputs and "first" not in inputs else set()
    names = [name for name in SHOWN if name in inputs and name not in unscored]
    found = [Step(name, inputs[name], scores.get(name)) for name in names]
    return found if len(found) > 1 else []


@dataclass(frozen=True)
class _Measure:
    steps: Sequence[Step]
    classes: int

    def __call__(self, given: tuple[Photo, MaskIndex]) -> Int64[np.ndarray, "s c c"]:
        photo, masks = given
        truth, found = masks.read(photo), []
        for step in self.steps:
            confusion = Confusion(self.classes)
            confusion.add(truth, step.label(photo))
            found.append(confusion.matrix)
        return np.stack(found)


def step_scores(
    steps: Sequence[Step],
    photos: Sequence[Photo],
    masks: MaskIndex,
    *,
    classes: int,
    workers: int,
) -> list[dict[str, Any]]:
    """mIoU of each step over the photos that have a mask; `classes` counts the background."""
    by_id = {mask.id: mask for mask in masks.masks}
    jobs = [(p, replace(masks, masks=(by_id[p.id],))) for p in photos if p.id in by_id]
    if not steps or not jobs:
        return []
    total = np.zeros((len(steps), classes, classes), np.int64)
    measure = _Measure(steps, classes)
    for found in map_unordered(measure, jobs, workers=workers, name=lambda job: job[0].id):
        total += found
    return [
        {"step": step.name, "shown": SHOWN[step.name], "miou": Confusion.of(matrix).miou()}
        for step, matrix in zip(steps, total, strict=True)
    ]


def _threshold(labels: Path) -> float:
    said = json.loads((labels / "thresholds.json").read_text(encoding="utf-8"))
    return float(said["threshold"])
