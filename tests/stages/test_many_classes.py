"""300 classes: labels of 16 bits from the index to the scores, where 255 is a class like any."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.cams import Cam, map_size, write_cam
from data.labels import read_label, write_label
from data.manifest import Manifest
from data.masks import MaskIndex
from knowledge.classes import ClassTable
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages import evaluate, index, inspect, labels, masks, relabel, segment
from stages.commands import predict, score
from stages.model import Model
from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier, save_classifier

COUNT = 300
SIZE = (40, 48)
SHOWN = {"a": (255,), "b": (256, 299), "c": (1, 255), "v": (255, 300)}
"""Labels that each photo shows: 255 and 256 among them, which bytes could not tell from others."""
NAMES = [f"class {label:04d}" for label in range(1, COUNT + 1)]
TABLE = ClassTable.of_names("many", NAMES)
NET = {
    "backbone": "mobilenetv2_035",
    "weights": "scratch",
    "frozen_norm": False,
    "width": 16,
    "dilations": (1,),
    "step_width": 8,
    "epochs": 1,
    "batch_size": 2,
    "crop": 48,
}


def scene(shown: tuple[int, ...]) -> np.ndarray:
    """A mask: one box a label, side by side, and a rim that is ignored."""
    mask = np.zeros(SIZE, np.int16)
    for place, label in enumerate(shown):
        mask[10:30, 6 + 20 * place : 22 + 20 * place] = label
    mask[:2] = 32767
    return mask


@dataclass
class Many:
    """A folder of four photos with masks, and the artifacts made of it so far."""

    root: Path
    home: Path
    inputs: dict[str, Path] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return Context(places={"dataset.root": self.root}, device="cpu", workers=1)

    def make(self, name: str, stage, **settings) -> Path:
        out = self.home / name
        out.mkdir(parents=True)
        stage.run(stage.Config(**settings), self.inputs, out, self.context)
        self.inputs[name] = out
        return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    """Index, masks, graph, an untrained classifier, maps and labels."""
    root = tmp_path_factory.mktemp("many")
    made = Many(root / "photos", root / "run")
    rows = []
    for seed, (identity, shown) in enumerate(SHOWN.items()):
        mask = scene(shown)
        noise = np.random.default_rng(seed).integers(0, 60, (*SIZE, 3))
        noise[(mask > 0) & (mask < 32767)] += 120
        made.root.mkdir(exist_ok=True)
        Image.fromarray(noise.astype(np.uint8)).save(made.root / f"{identity}.png")
        write_label(made.root / "SegmentationClass" / f"{identity}.png", mask, TABLE)
        rows.append(f"{identity},{';'.join(NAMES[label - 1] for label in shown)}\n")
    (made.root / "labels.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (made.root / "tags.csv").write_text("photo,tags\n" + "".join(rows))
    (made.root / "val.txt").write_text("v\n")
    made.make("index", index, reader="folder", root=made.root, photos=".", val_list="val.txt")
    made.make("masks", masks, root=made.root / "SegmentationClass")
    graph = ClassGraph(
        tuple(NAMES), np.eye(COUNT, 8, dtype=np.float32), np.eye(COUNT, dtype=np.float32), {}
    )
    made.inputs["graph"] = made.home / "graph"
    made.inputs["graph"].mkdir()
    graph.save(made.inputs["graph"])
    made.inputs["classify"] = made.home / "classify"
    made.inputs["classify"].mkdir()
    tagger = Classifier(Backbone("test_resnet"), tuple(NAMES), graph, hidden=4)
    save_classifier(tagger, made.inputs["classify"], extra={})
    made.inputs["cams"] = made.home / "cams"
    made.inputs["cams"].mkdir()
    height, width = map_size(SIZE)
    for identity in "abc":
        mask, classes = scene(SHOWN[identity]), np.array(SHOWN[identity]) - 1
        cells = [(mask == c + 1).reshape(height, 4, width, 4).mean(axis=(1, 3)) for c in classes]
        cam = Cam(classes, np.stack(cells).astype(np.float32), SIZE)
        write_cam(made.inputs["cams"] / f"{identity}.npz", cam)
    made.make("labels", labels, background="fixed", threshold=0.3)
    return made


def test_masks_and_pseudo_labels_are_files_of_16_bits(many: Many) -> None:
    manifest = Manifest.of(many.inputs, many.context.places)
    found = MaskIndex.of(many.inputs, many.context.places)
    assert [mask.labels for mask in found.masks] == [SHOWN[one] for one in sorted(SHOWN)]
    for photo in manifest.split("train"):
        mask = found.read(photo)
        np.testing.assert_array_equal(mask, scene(SHOWN[photo.id]))
        for folder in ("", "full"):
            path = many.inputs["labels"] / folder / f"{photo.id}.png"
            with Image.open(path) as image:
                assert image.mode == "I;16"
            label = read_label(path)
            assert label.dtype == np.int16
            for value in SHOWN[photo.id]:
                assert (label[mask == value] == value).mean() > 0.6
    assert (read_label(many.inputs["labels"] / "full" / "a.png") != 32767).all()


def test_pseudo_labels_are_inspected(many: Many) -> None:
    out = many.make("inspect", inspect)
    quality = json.loads((out / "quality.json").read_text())
    assert quality["miou"] > 0.6
    assert quality["scores"]["classes"][NAMES[254]]["iou"] > 0.6
    assert quality["scores"]["classes"][NAMES[2]]["iou"] is None
    assert quality["coverage_scored"] > 0.5
    assert len(quality["confusion"]) == COUNT + 1
    assert quality["tags"]["never_painted"] == 0


@pytest.fixture(scope="module")
def trained(many: Many) -> Many:
    """With a network of one epoch, and its predictions."""
    many.make("segment", segment, **NET)
    many.make("evaluate", evaluate, cost_size=(32, 32), also=("crf",))
    return many


def test_a_network_is_trained_and_scored(trained: Many) -> None:
    scores = json.loads((trained.inputs["evaluate"] / "scores.json").read_text())
    assert 0 <= scores["miou"] <= 1
    assert scores["pixels"] == 38 * 48  # the rim is ignored, the box of class 255 is not
    assert scores["classes"][NAMES[254]]["pixels"] == 20 * 16
    for folder in ("", "variants/crf"):
        label = read_label(trained.inputs["evaluate"] / folder / "v.png")
        assert label.dtype == np.int16
        assert label.max() <= COUNT


@pytest.mark.parametrize("settings", [{"head": "ece"}, {"head": "sgr"}, {"features": "cached"}])
def test_heads_and_caches_train_on_them(many: Many, settings: dict, tmp_path: Path) -> None:
    many.home, home = tmp_path, many.home
    try:
        out = many.make("other", segment, **NET, **settings, lovasz=0.5)
    finally:
        many.home = home
        many.inputs.pop("other", None)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_round_of_self_training_labels_them(trained: Many) -> None:
    out = trained.make("relabel", relabel, rounds=1, confidence=0.5)
    label = read_label(out / "b.png")
    assert label.dtype == np.int16
    assert set(np.unique(label).tolist()) <= {0, 256, 299, 32767}


def test_own_photos_are_labelled_and_scored(trained: Many, tmp_path: Path, capsys) -> None:
    out, json_file = tmp_path / "out", tmp_path / "scores.json"
    argv = [str(trained.root / "v.png"), "--run", str(trained.home), "--workers", "1"]
    assert predict.main([*argv, "--out", str(out)]) == 0
    network = Model.load(trained.home, device="cpu")
    label = network.predict(trained.root / "v.png")
    np.testing.assert_array_equal(read_label(out / "masks" / "v.png"), label)
    with Image.open(out / "overlays" / "v.jpg") as picture:
        assert picture.size == SIZE[::-1]
    found = json.loads((out / "found" / "v.json").read_text())["classes"]
    assert {one["label"] for one in found.values()} == set(np.unique(label).tolist())
    argv = [str(out / "masks"), str(trained.root / "SegmentationClass"), "--workers", "1"]
    argv += ["--classes", str(trained.home / "index" / "classes.json"), "--json", str(json_file)]
    (tmp_path / "ids.txt").write_text("v\n")
    assert score.main([*argv, "--list", str(tmp_path / "ids.txt")]) == 0
    scores = json.loads(json_file.read_text())
    expected = json.loads((trained.inputs["evaluate"] / "scores.json").read_text())
    assert scores["miou"] == pytest.approx(expected["miou"], abs=0.02)
    assert scores["pixels"] == expected["pixels"]
    assert "class 0255" in capsys.readouterr().out


def test_pseudo_labels_are_scored_with_their_ignore_band(many: Many, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\nb\nc\n")
    argv = [str(many.inputs["labels"]), str(many.root / "SegmentationClass"), "--workers", "1"]
    argv += ["--classes", str(many.home / "index" / "classes.json")]
    argv += ["--list", str(tmp_path / "ids.txt")]
    assert (read_label(many.inputs["labels"] / "a.png") == 32767).any()
    with pytest.raises(ValueError, match=r"a\.png holds 65535 at .*--ignore-band"):
        score.main(argv)
    json_file = tmp_path / "scores.json"
    assert score.main([*argv, "--ignore-band", "--json", str(json_file)]) == 0
    scores = json.loads(json_file.read_text())
    assert scores["miou_covered"] > scores["miou"] > 0.4


def test_tags_of_the_classifier_make_masks(many: Many) -> None:
    network = Model.load(many.home, device="cpu").with_settings(tag=0.0, background=0.0)
    made = network.tag_masks(torch_photo(many.root / "a.png"))
    assert made.labels.dtype == np.int16
    assert made.taken.all()
    assert made.labels.max() <= COUNT


def torch_photo(path: Path):
    import torch

    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
