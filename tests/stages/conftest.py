"""A small finished run, written by the real writers: what later stages and the report read."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import Image

from data.cams import Cam, map_size, write_cam
from data.files import digest, write_lines
from data.labels import write_grey, write_label
from data.manifest import write_classes, write_photos, write_problems
from data.masks import write_masks
from data.records import Mask, Photo, Problem, Split
from knowledge.classes import ClassTable
from knowledge.graph import ClassGraph
from pipeline.context import Context
from pipeline.store import Store
from stages import inspect
from stages.confusion import Confusion

SIZE = (64, 48)
CLASSES = ClassTable.of_names("shapes", ["disc", "bar", "<b>odd & end</b>"])
FILLED = "train/disc-<i>&\"'"
"""An id that would break a page which does not escape."""


@dataclass(frozen=True)
class TinyRun:
    """The artifacts of a run, and where its photos and masks lie."""

    root: Path
    store: Store
    inputs: dict[str, Path]

    @property
    def context(self) -> Context:
        return Context(places={"dataset.root": self.root, "masks.root": self.root / "masks"})

    def without(self, *names: str) -> dict[str, Path]:
        return {name: path for name, path in self.inputs.items() if name not in names}

    def add(
        self,
        stage: str,
        inputs: Iterable[str],
        fill: Callable[[Path], Any],
        **config: Any,
    ) -> Path:
        """Publish an artifact of `stage` that `fill` writes, as the runner would."""
        parts = {
            "stage": stage,
            "version": 1,
            "config": config,
            "inputs": dict.fromkeys(inputs, "0" * 64),
            "source": {},
            "files": {},
            "trusted": [],
        }
        key = digest_text(stage, json.dumps(parts))
        path, _ = self.store.begin(stage, key, parts=parts, inputs={}, again=False)  # type: ignore[arg-type]
        fill(path)
        facts = {"seconds": 1.5, "peak_memory_bytes": 3 << 20, "versions": {"python": "3.x"}}
        self.inputs[stage] = self.store.publish(stage, key, {**facts, "inputs": {}}).path
        return self.inputs[stage]


def digest_text(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def scene(place: int) -> UInt8[np.ndarray, "h w"]:
    """A mask: a disc (1), in every second photo also a bar (2), an ignored rim at the top."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = np.zeros(SIZE, np.uint8)
    if place % 2:
        mask[50:60] = 2
    mask[(rows - 28) ** 2 + (columns - 24) ** 2 < (8 + place) ** 2] = 1
    mask[:2] = 255
    return mask


def guess(mask: UInt8[np.ndarray, "h w"], shift: int) -> UInt8[np.ndarray, "h w"]:
    """A labelling that misses the mask by `shift` pixels."""
    return np.roll(np.where(mask == 255, 0, mask).astype(np.uint8), shift, axis=1)


def tags_of(place: int) -> tuple[str, ...]:
    return ("disc", "bar") if place % 2 else ("disc",)


def identity(place: int) -> str:
    if place == 0:
        return FILLED.removeprefix("train/")
    return f"photo-{place}"


@pytest.fixture
def tiny_run(tmp_path: Path, _made_once: TinyRun) -> TinyRun:
    """Six train and three val photos of 64x48, all nine with masks; a copy to change at will."""
    store = tmp_path / "store"
    shutil.copytree(_made_once.root, tmp_path / "data")
    shutil.copytree(_made_once.store.root, store)
    inputs = {
        name: store / path.relative_to(_made_once.store.root)
        for name, path in _made_once.inputs.items()
    }
    return TinyRun(tmp_path / "data", Store(store), inputs)


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("tiny")
    run = TinyRun(folder / "data", Store(folder / "store"), {})
    photos = [_photo(run.root, place) for place in range(9)]
    run.add("index", (), lambda out: _index(out, photos), root="data")
    run.add("masks", ("index",), lambda out: _masks(out, run.root, photos))
    run.add("graph", ("index",), _graph, relation="text")
    run.add("classify", ("index", "graph"), _classify, seed=3, backbone={"name": "tiny"})
    run.add("cams", ("index", "graph", "classify"), lambda out: _cams(out, photos), flip=True)
    run.add("labels", ("index", "cams"), lambda out: _labels(out, photos), crf={"iterations": 10})
    inspected = ("index", "masks", "cams", "labels")
    run.add(
        "inspect",
        inspected,
        lambda out: inspect.run(inspect.Config(), run.inputs, out, run.context),
    )
    run.add("segment", ("index", "graph", "classify", "labels"), _segment, seed=3)
    evaluated = ("index", "masks", "graph", "segment")
    run.add("evaluate", evaluated, lambda out: _evaluate(out, photos, 3))
    run.add("segment-masks", ("index", "graph", "classify", "masks"), _segment, seed=3)
    run.add("evaluate-masks", evaluated, lambda out: _evaluate(out, photos, 1))
    return run


def _photo(root: Path, place: int) -> Photo:
    name = identity(place)
    path = root / "photos" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(place).integers(60, 200, SIZE, dtype=np.uint8)
    colours = np.stack([grey, np.where(scene(place) == 1, 255, grey), grey], axis=-1)
    Image.fromarray(colours.astype(np.uint8)).save(path)
    split: Split = "train" if place < 6 else "val"
    return Photo(name, f"photos/{name}.png", SIZE, tags_of(place), split, digest(path))


def _index(out: Path, photos: list[Photo]) -> None:
    write_photos(out, sorted(photos, key=lambda photo: photo.id))
    write_classes(out, CLASSES)
    problem = Problem("photos/<bad>.jpg", "<bad>", "damaged", "cannot be <decoded>", used=False)
    write_problems(out, [problem])


def _masks(out: Path, root: Path, photos: list[Photo]) -> None:
    masks = []
    for place, photo in enumerate(photos):
        path = root / "masks" / f"{photo.id}.png"
        write_label(path, scene(place), CLASSES)
        labels = tuple(int(v) for v in np.unique(scene(place)) if 0 < v < 255)
        masks.append(Mask(photo.id, f"{photo.id}.png", photo.split, SIZE, digest(path), labels))
    write_masks(out, sorted(masks, key=lambda mask: mask.id), by_category=False)
    write_classes(out, CLASSES)
    write_problems(out, [])


def _graph(out: Path) -> None:
    adjacency = np.array([[0.5, 0.5, 0], [0.25, 0.5, 0.25], [0, 0, 1]], np.float32)
    vectors = np.eye(3, 4, dtype=np.float32)
    ClassGraph(CLASSES.names, vectors, adjacency, {"relation": "text"}).save(out)


def _metrics(out: Path) -> None:
    lines = [{"phase": 0, "epoch": n, "loss": 1 / (n + 1), "lr": 1 - n / 4} for n in range(4)]
    write_lines(out / "metrics.jsonl", lines)


def _classify(out: Path) -> None:
    _metrics(out)
    ap = {"disc": 1.0, "bar": 0.75, "<b>odd & end</b>": None}
    (out / "scores.json").write_text(json.dumps({"map": 0.875, "ap": ap}))


def _cams(out: Path, photos: list[Photo]) -> None:
    for place, photo in enumerate(photos[:6]):
        height, width = map_size(SIZE)
        mask = guess(scene(place), place)
        maps = [(mask == c + 1).reshape(height, 4, width, 4).mean(axis=(1, 3)) for c in (0, 1)]
        kept = np.stack(maps[: len(photo.tags)]).astype(np.float32)
        cam = Cam(np.arange(len(photo.tags)), kept * np.float32(3), SIZE)
        write_cam(out / f"{photo.id}.npz", cam)


def _labels(out: Path, photos: list[Photo]) -> None:
    for place, photo in enumerate(photos[:6]):
        full = guess(scene(place), place)
        label = full.copy()
        label[:, :6] = 255
        write_label(out / f"{photo.id}.png", label, CLASSES)
        write_label(out / "full" / f"{photo.id}.png", full, CLASSES)
        confidence = np.full(SIZE, 250, np.uint8)
        confidence[:, :6] = 50
        write_grey(out / "confidence" / f"{photo.id}.png", confidence)
    (out / "thresholds.json").write_text(json.dumps({"threshold": 0.4, "chosen": "by hand"}))


def _segment(out: Path) -> None:
    _metrics(out)
    (out / "model.json").write_text(json.dumps({"head": "grm"}))


def _evaluate(out: Path, photos: list[Photo], shift: int) -> None:
    confusion = Confusion(len(CLASSES) + 1)
    for place, photo in enumerate(photos[6:], start=6):
        prediction = guess(scene(place), shift)
        confusion.add(scene(place), prediction)
        write_label(out / f"{photo.id}.png", prediction, CLASSES)
    scores = confusion.scores(("background", *CLASSES.names))
    scores["miou_all_background"] = confusion.trivial().miou()
    (out / "scores.json").write_text(json.dumps({**scores, "images": 3, "seconds": 1.0}))


@pytest.fixture
def looked(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """The tiny run with a classifier of random weights, and maps that the labels were made from."""
    from stages.nets.backbone import Backbone
    from stages.nets.classifier import Classifier, save_classifier

    torch.manual_seed(0)
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    classifier = Classifier(Backbone("test_resnet"), CLASSES.names, graph, hidden=4)
    out = tmp_path / "random"
    out.mkdir()
    save_classifier(classifier, out, extra={})
    tiny_run.inputs["classify"] = out
    return tiny_run


@pytest.fixture
def ready(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """The tiny run with a real, untrained network in its segment artifact."""
    from stages.nets.backbone import Backbone
    from stages.nets.segmenter import build_segmenter, save_segmenter
    from stages.nets.settings import GrmConfig, HeadConfig

    small = HeadConfig(width=16, step_width=8, dilations=(1,), grm=GrmConfig(width=12))
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    network = build_segmenter(backbone, "grm", small, classes=4, graph=graph)
    folder = tmp_path / "network"
    folder.mkdir()
    card = {"labels": "pseudo-labels"}
    save_segmenter(folder, network, head="grm", config=small, graph=graph, card=card)
    return replace(tiny_run, inputs={**tiny_run.inputs, "segment": folder})
