"""The recipes for COCO: its reader, its drawn masks, and no way from outlines to labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.manifest import Manifest
from knowledge.classes import COCO, VOC
from pipeline.graph import Pipeline
from pipeline.plan import Planner
from pipeline.store import Store
from run_pipeline import build
from stages.recipes import RECIPES
from tests.coco_files import thing, write_coco
from tests.datasets import write_mask
from tests.program import Program


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """2014: two training photos, one of them without objects, and one val photo."""
    root = tmp_path / "coco"
    write_coco(root, "train2014", {"a": [thing(18)], "b": []})
    write_coco(root, "val2014", {"v": [thing(90)]})
    return root


def wired(recipe: str, root: Path, **settings: object) -> Pipeline:
    chosen = RECIPES[recipe]
    dataset = chosen.dataset.model_copy(update={"root": root, **settings})
    return build(chosen.model_copy(update={"dataset": dataset, "upper_bound": True}))


@pytest.mark.parametrize("recipe", ["coco", "coco-cpu"])
def test_masks_come_from_the_instances_files(recipe: str, coco: Path, tmp_path: Path) -> None:
    found = wired(recipe, coco)
    assert found.stage("masks").config.instances == coco
    assert "segment-masks" in found.names
    assert "segment-masks" not in wired(recipe, tmp_path).names
    assert RECIPES[recipe].upper_bound is False


def test_outlines_change_no_key_where_tags_come_from_lists(coco: Path, tmp_path: Path) -> None:
    (coco / "train.txt").write_text("a 16\n")
    (coco / "val.txt").write_text("v 79\n")
    lists = {"tags": "lists", "train_list": "train.txt", "val_list": "val.txt"}

    def keys() -> dict[str, str]:
        planner = Planner(wired("coco-cpu", coco, **lists), Store(tmp_path / "store"))
        return {step.stage.name: step.key for step in planner.plan()}

    before = keys()
    path = coco / "annotations" / "instances_train2014.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]
    path.write_text(json.dumps(document))
    changed = {name for name, key in keys().items() if key != before[name]}
    assert "masks" in changed
    assert not changed & {"index", "graph", "classify", "cams", "labels", "segment"}


def test_the_program_reads_coco_and_draws_its_masks(coco: Path, tmp_path: Path) -> None:
    write_mask(coco / "SegmentationClass" / "a.png", np.zeros((24, 32), np.uint8), VOC)
    flags = ("--recipe", "coco", "--dataset.root", str(coco))
    program = Program(tmp_path / "runs", flags, name="coco")
    program.run("--until", "masks")
    manifest = Manifest.read(program.path("index").resolve(), coco)
    assert manifest.classes == COCO
    assert [(one.id, one.tags, one.split) for one in manifest.photos] == [
        ("a", ("dog",), "train"),
        ("v", ("toothbrush",), "val"),
    ]
    assert sorted(program.files("masks")) == [
        "classes.json",
        "masks.jsonl",
        "masks/a.png",
        "masks/v.png",
        "policy.json",
        "problems.jsonl",
    ]
    done = program.run("--until", "masks", "--masks.crowd", "skip")
    assert "crowd" in program.run("why", "masks", "--masks.crowd", "class").stdout
    assert "hit" in done.stdout


def test_the_program_refuses_a_split_of_two_years(coco: Path, tmp_path: Path) -> None:
    digits = "000000000042"
    write_coco(coco, "val2014", {f"COCO_val2014_{digits}": [thing(1)]})
    write_coco(coco, "train2017", {digits: [thing(1)]})
    flags = ("--recipe", "coco", "--dataset.root", str(coco), "--until", "index")
    mixed = ("--dataset.train-list", "train2017", "--dataset.val-list", "val2014")
    said = Program(tmp_path / "runs", flags).run(*mixed, code=1)
    assert "take both splits from one year" in said.stdout + said.stderr
