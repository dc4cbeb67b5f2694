"""Initial weights that learnt from masks of the data itself give no weakly supervised result."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

from data.manifest import write_classes, write_photos
from data.records import Photo
from knowledge.classes import COCO, VOC, ClassTable
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages import classify, features, segment
from stages.classify import _classifier
from stages.nets.weights import check_supervision
from stages.reports.artifacts import Run
from stages.reports.card import make_card
from stages.segment_training import new_network
from tests.datasets import write_photo

NAME = "test_resnet"
OWN = ClassTable.of_names("own", ["person", "dent"])
MASKS_OF_COCO = "ImageNet-1k image labels + MS COCO instance masks"


@pytest.mark.parametrize(
    ("said", "table"),
    [
        (MASKS_OF_COCO, COCO),
        ("COCO", COCO),
        ("coco2017 panoptic segmentation", COCO),
        ("COCO boxes and masks", COCO),
        ("COCO-Stuff", COCO),
        ("ImageNet labels, then VOC2012 pixel labels", VOC),
        ("PASCAL VOC segmentation", VOC),
    ],
)
def test_masks_of_the_target_are_refused(said: str, table: ClassTable) -> None:
    with pytest.raises(ValueError, match="make its labels no result from tags") as caught:
        check_supervision({"weights": "w.safetensors", "supervision": said}, table.names)
    assert "w.safetensors" in str(caught.value)
    assert repr(said) in str(caught.value)


@pytest.mark.parametrize(
    ("said", "table"),
    [
        (MASKS_OF_COCO, VOC),
        (MASKS_OF_COCO, OWN),
        ("PASCAL VOC segmentation", COCO),
        ("ImageNet-1k image labels", COCO),
        ("COCO image tags, no masks", COCO),
        ("COCO captions", COCO),
        ("COCO boxes, without any masks", COCO),
        ("segmentation of Cityscapes", COCO),
        ("an open vocabulary of pixels", VOC),
        ("none (random weights)", COCO),
    ],
)
def test_all_else_is_a_matter_of_the_card(said: str, table: ClassTable) -> None:
    check_supervision({"supervision": said}, table.names)


def weight_file(path: Path) -> Path:
    state = timm.create_model(NAME).state_dict()
    save_file(dict(state), path, metadata={"supervision": MASKS_OF_COCO})
    return path


def graph_of(table: ClassTable) -> ClassGraph:
    count = len(table.names)
    return ClassGraph(
        table.names, np.zeros((count, 2), np.float32), np.eye(count, dtype=np.float32), {}
    )


def features_of(own: classify.Config, table: ClassTable, folder: Path) -> None:
    """Features of one photo of a data set with the classes of `table`."""
    (folder / "out").mkdir(parents=True, exist_ok=True)
    write_photo(folder / "a.jpg", 0, (40, 56))
    write_classes(folder, table)
    write_photos(folder, [Photo("a", "a.jpg", (40, 56), (), "train", "")])
    context = Context("cpu", "float32", places={"dataset.root": folder})
    features.run(features.Config.of(own), {"index": folder}, folder / "out", context)
    assert list((folder / "out").glob("a.*"))


def test_no_stage_starts_from_masks_of_its_target(tmp_path: Path) -> None:
    """All three doors that weights come through; the card carries them on for other data."""
    path = weight_file(tmp_path / "w.safetensors")
    given = {"backbone": NAME, "weights": "file", "weights_file": path}
    own = classify.Config(**given)
    for table, refused in ((COCO, True), (VOC, False)):
        doors = (
            lambda table=table: features_of(own, table, tmp_path / table.name),
            lambda table=table: _classifier(own, graph_of(table)).backbone.card,
            lambda table=table: (
                new_network(segment.Config(**given), {}, graph_of(table)).backbone.card
            ),
        )
        for door in doors:
            if refused:
                with pytest.raises(ValueError, match="masks of COCO"):
                    door()
            else:
                assert door() is None or door()["supervision"] == MASKS_OF_COCO


def test_the_card_says_what_supervised_the_weights(tiny_run, tmp_path: Path) -> None:
    for stage, name in (("classify", "classifier"), ("segment", "network")):
        path = tiny_run.inputs[stage] / "model.json"
        said = json.loads(path.read_text()) if path.is_file() else {}
        card = {"weights": "w.safetensors", "supervision": MASKS_OF_COCO, "sha256": "0" * 64}
        path.write_text(json.dumps({**said, "backbone": {"name": NAME, "card": card}}))
        entry = make_card(Run.of(tiny_run.inputs))[f"initial weights, {name}"]
        assert entry.matters
        assert entry.value["supervision"] == MASKS_OF_COCO
