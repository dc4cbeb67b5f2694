"""segment: trains on pseudo-labels or declared masks, resumes bit for bit, imports light."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from data.labels import read_label, write_label
from data.manifest import Manifest
from data.masks import MaskIndex
from knowledge.graph import ClassGraph
from pipeline.context import Context, Silent
from stages import segment, segment_training
from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier, save_classifier
from stages.nets.segmenter import load_segmenter
from stages.pixel_labels import PixelLabels

TINY = {
    "backbone": "mobilenetv2_035",
    "weights": "scratch",
    "frozen_norm": False,
    "width": 16,
    "dilations": (1,),
    "step_width": 8,
    "epochs": 2,
    "batch_size": 4,
    "crop": 48,
    "optimiser": "adamw",
    "lr": 5e-3,
    "backbone_lr": 1e-3,
}
FROZEN = {**TINY, "features": "cached", "backbone": "mobilenetv2_035"}


class Killed(Exception):
    """What ends a run in the middle."""


@dataclass
class KillAt(Silent):
    """A listener that ends the run after so many steps of the training."""

    steps: int

    def progress(self, done: int, total: int, unit: str) -> None:
        if unit == "steps" and done == self.steps:
            raise Killed


def trained(run, out: Path, context: Context | None = None, **settings) -> dict[str, torch.Tensor]:
    out.mkdir(exist_ok=True)
    segment.run(segment.Config(**settings), run.inputs, out, context or run.context)
    return load_file(out / "model.safetensors")


EVERYTHING = {"ema": 0.6, "keep": "tags", "holdout": 0.17, "cache_scales": (1.0, 1.5)}
"""What may change the weights that a training ends with."""


@pytest.mark.parametrize("features", ["trained", "frozen", "cached"])
def test_it_leaves_a_network_that_loads(tiny_run, tmp_path: Path, features: str) -> None:
    out = tmp_path / "out"
    trained(tiny_run, out, **{**TINY, "features": features, "head": "grm"})
    assert sorted(p.name for p in out.iterdir()) == [
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    ]
    network = load_segmenter(out)
    labels = network.predict(torch.zeros(1, 3, 64, 48, dtype=torch.uint8))
    assert labels.shape == (1, 64, 48)
    card = json.loads((out / "model.json").read_text())["card"]
    cached = "whole photos at 1 times their size, features cached"
    seen = cached if features == "cached" else "random crops"
    assert card == {"labels": "pseudo-labels", "photos": 6, "seen": seen, "seed": 0}


@pytest.mark.parametrize("features", ["frozen", "cached"])
def test_a_frozen_backbone_stays_as_it_came(tiny_run, tmp_path: Path, features: str) -> None:
    short, long = (
        trained(tiny_run, tmp_path / str(n), **{**TINY, "features": features, "epochs": n})
        for n in (1, 3)
    )
    for name in short:
        if name.startswith("backbone."):
            assert torch.equal(short[name], long[name]), name
    assert not torch.equal(short["head.plain.classify.weight"], long["head.plain.classify.weight"])


@pytest.mark.parametrize("features", ["trained", "cached"])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["plain", "everything"])
def test_killed_and_resumed_ends_in_the_same_bits(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str, at: int, more
) -> None:
    monkeypatch.setattr(segment_training, "CHECKPOINT_SECONDS", 0.0)
    settings = {**TINY, **more, "features": features, "epochs": 2}
    whole = trained(tiny_run, tmp_path / "whole", **settings)
    killing = replace(tiny_run.context, listener=KillAt(at + 1))
    with pytest.raises(Killed):
        trained(tiny_run, tmp_path / "killed", killing, **settings)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    resumed = trained(tiny_run, tmp_path / "killed", **settings)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    first, second = (
        (tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")
    )
    assert first == second


def test_a_seed_decides_everything(tiny_run, tmp_path: Path) -> None:
    settings = {**TINY, "features": "cached", "epochs": 1}
    first, again, other = (
        trained(tiny_run, tmp_path / name, **settings, seed=seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    name = "head.plain.classify.weight"
    assert not torch.equal(first[name], other[name])


def test_pseudo_labels_train_without_any_mask(tiny_run, tmp_path: Path) -> None:
    inputs = tiny_run.without("masks")
    (tmp_path / "out").mkdir()
    segment.run(segment.Config(**FROZEN), inputs, tmp_path / "out", tiny_run.context)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_masks_are_the_declared_upper_bound(tiny_run, tmp_path: Path) -> None:
    said: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    run = replace(tiny_run, inputs=tiny_run.without("labels"))
    context = replace(tiny_run.context, listener=Listening())
    trained(run, tmp_path / "out", context, **FROZEN, labels="masks")
    assert said == ["upper bound: trained on 6 masks, not on pseudo-labels"]
    card = json.loads((tmp_path / "out" / "model.json").read_text())["card"]
    assert card["labels"] == "masks (upper bound)"


def test_labels_are_those_on_disk_and_masks_those_of_the_index(tiny_run) -> None:
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    masks = MaskIndex.of(tiny_run.inputs, tiny_run.context.places)
    labels = tiny_run.inputs["labels"]
    banded, whole = (
        PixelLabels.pseudo(manifest, labels, ignore_band=band, confidence=0.0)
        for band in (True, False)
    )
    photo = banded.photos[1]
    np.testing.assert_array_equal(banded.label(photo), read_label(labels / f"{photo.id}.png"))
    assert (banded.label(photo) == 255).any()
    assert not (whole.label(photo) == 255).any()
    drawn = PixelLabels.drawn(manifest, masks)
    np.testing.assert_array_equal(drawn.label(photo), masks.read(photo))
    assert len(drawn.photos) == 6
    weighed = PixelLabels.pseudo(manifest, labels, ignore_band=True, confidence=2.0)
    weights = weighed.weight(photo)
    np.testing.assert_allclose(weights[0, [0, -1]], [(50 / 255) ** 2, (250 / 255) ** 2], rtol=1e-5)
    counts = sum(np.bincount(banded.label(p).ravel(), minlength=256)[:4] for p in banded.photos)
    np.testing.assert_array_equal(banded.pixels(), counts)


def test_confidence_and_class_weights_change_the_training(tiny_run, tmp_path: Path) -> None:
    plain = trained(tiny_run, tmp_path / "a", **FROZEN, class_power=0.0)
    for name, settings in (
        ("b", {"confidence": 1.0, "class_power": 0.0}),
        ("c", {"class_power": 0.5}),
        ("d", {"class_power": 0.0, "lovasz": 0.5}),
        ("e", {"class_power": 0.0, "ignore_band": True}),
    ):
        other = trained(tiny_run, tmp_path / name, **FROZEN, **settings)
        key = "head.plain.classify.weight"
        assert not torch.equal(plain[key], other[key]), name


def test_what_cannot_be_used_is_named(tiny_run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="weights-file"):
        trained(tiny_run, out, **{**FROZEN, "weights": "file"})
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    photo = manifest.split("train")[2]
    folder = tiny_run.inputs["labels"] / "full"
    path = folder / f"{photo.id}.png"
    write_label(path, np.zeros((10, 12), np.uint8), manifest.classes)
    for features in ("cached", "trained"):
        with pytest.raises(ValueError, match=rf"{photo.id}.*10, 12.*64, 48"):
            trained(tiny_run, out, **{**TINY, "features": features})
    for one in manifest.split("train"):
        blank = np.full(one.size, 255, np.uint8)
        write_label(folder / f"{one.id}.png", blank, manifest.classes)
    with pytest.raises(ValueError, match="nothing to train on"):
        trained(tiny_run, out, **FROZEN)


def test_a_photo_that_changed_since_the_index_names_the_file(tiny_run, tmp_path: Path) -> None:
    Image.new("RGB", (40, 64)).save(tiny_run.root / "photos" / "photo-2.png")
    with pytest.raises(ValueError, match=r"photo-2\.png is \(64, 40\).*indexed as \(64, 48\)"):
        trained(tiny_run, tmp_path / "out", **FROZEN)


def test_it_starts_from_the_classifier(tiny_run, tmp_path: Path) -> None:
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    torch.manual_seed(7)
    backbone = Backbone("mobilenetv2_035", output_stride=32, frozen_norm=False)
    classifier = Classifier(backbone, graph.names, graph, hidden=8)
    folder = tmp_path / "classifier"
    folder.mkdir()
    save_classifier(classifier, folder, extra={})
    run = replace(tiny_run, inputs={**tiny_run.inputs, "classify": folder})
    weights = trained(run, tmp_path / "out", **{**FROZEN, "weights": "classifier"})
    for name, value in backbone.state_dict().items():
        assert torch.equal(weights[f"backbone.{name}"], value), name
    assert load_segmenter(tmp_path / "out").backbone.strides == backbone.strides


def test_weights_enter_the_key_by_content_only_when_used() -> None:
    file = Path("some/where.safetensors")
    assert segment.sources(segment.Config(weights="file", weights_file=file)) == {
        f"weights_file {file.name}": file
    }
    assert segment.sources(segment.Config(weights="scratch", weights_file=file)) == {}


@pytest.mark.parametrize("module", ["segment", "evaluate", "confusion"])
def test_settings_come_without_torch(module: str) -> None:
    code = (
        f"import sys, stages.{module}; "
        "print([m for m in ('torch', 'timm', 'transformers', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_tags_choose_the_epoch_and_held_out_photos_are_not_trained_on(
    tiny_run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    trained(tiny_run, out, **{**TINY, "features": "cached", "epochs": 3}, keep="tags", holdout=0.5)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= line["tag_agreement"] <= 1 for line in lines)
    card = json.loads((out / "model.json").read_text())["card"]
    assert card["photos"] == 3, "of six train photos half are held out"
    with pytest.raises(ValueError, match="needs two train photos"):
        trained(tiny_run, tmp_path / "none", **TINY, keep="tags", holdout=0.99)


def test_settings_of_other_heads_are_no_part_of_a_training() -> None:
    plain = segment.Config(head="grm")
    other = segment.Config(head="grm", ece={"channels": 7}, aspp={"rates": (1, 2, 3)})
    assert plain != other
    assert plain.settled() == other.settled() == plain
    own = segment.Config(head="grm", grm={"width": 7}, lr=0.5)
    assert own.settled() == own
    with_rates = segment.Config(head="deeplabv3plus", aspp={"rates": (1, 2, 3)})
    assert with_rates.settled() == with_rates


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": 4, "loss_stride": 8}, "no pixel that the loss sees"),
        ({"head": "rsp", "width": 30, "rsp": {"groups": 4}}, "must divide width=30"),
        ({"head": "ece", "ece": {"channels": 30, "heads": 4}}, "must divide 30 channels"),
        ({"rsp": {"kernel": 4}}, "take an odd kernel"),
    ],
)
def test_what_a_head_would_refuse_is_refused_before_any_stage(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segment.Config(**settings)
