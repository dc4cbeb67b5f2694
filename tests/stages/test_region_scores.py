"""Regions of a network on photos with masks: what evaluate writes of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.manifest import Manifest
from data.masks import MaskIndex, write_masks
from data.photos import read_photo
from knowledge.graph import ClassGraph
from stages import evaluate
from stages.nets.backbone import Backbone
from stages.nets.segmenter import build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import HeadConfig, SgrConfig
from stages.region_metrics import RegionMetrics

SMALL = HeadConfig(
    width=16, step_width=8, dilations=(1,), sgr=SgrConfig(tokens=5, width=16, heads=2)
)


def with_network(run, folder: Path, head: str):
    """`run` with a real, untrained network in its segment artifact."""
    graph = ClassGraph.load(run.inputs["graph"])
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    network = build_segmenter(backbone, head, SMALL, classes=4, graph=graph)
    folder.mkdir()
    save_segmenter(folder, network, head=head, config=SMALL, graph=graph, card={})
    return replace(run, inputs={**run.inputs, "segment": folder})


def evaluated(run, out: Path) -> dict:
    out.mkdir(exist_ok=True)
    config = evaluate.Config(cost_size=(64, 64))
    evaluate.run(config, run.inputs, out, replace(run.context, precision="float32"))
    return json.loads((out / "scores.json").read_text())


def test_scores_hold_the_metrics_of_the_regions(tiny_run, tmp_path: Path) -> None:
    run = with_network(tiny_run, tmp_path / "network", "sgr")
    found = evaluated(run, tmp_path / "out")["regions"]
    assert (found["photos"], found["tokens"], found["stride"]) == (3, 5, 8)
    network = load_segmenter(run.inputs["segment"])
    manifest = Manifest.of(run.inputs, run.context.places)
    masks, metrics = MaskIndex.of(run.inputs, run.context.places), RegionMetrics((1, 2, 3))
    for photo in manifest.split("val"):
        image = torch.from_numpy(read_photo(manifest.path(photo)).copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            regions = network(image).aux["regions"][0].numpy()
        assert regions.shape == (5, 8, 6)
        metrics.add(regions, masks.read(photo)[4::8, 4::8])
    expected = metrics.figures()
    assert found["overlap"] == pytest.approx(expected["overlap"])
    for kind in ("soft", "hard"):
        assert found[kind] == pytest.approx(expected[kind])
        assert {"S_C", "S_I", "D_C", "D_I", "S_C_normalised", "skipped_I"} < set(found[kind])


def test_a_resumed_evaluation_measures_photos_that_were_predicted_before(
    tiny_run, tmp_path: Path
) -> None:
    run, out = with_network(tiny_run, tmp_path / "network", "sgr"), tmp_path / "out"
    whole = evaluated(run, out)
    (out / "scores.json").unlink()
    (out / "photo-7.png").unlink()
    assert evaluated(run, out)["regions"] == whole["regions"]


def test_other_heads_and_runs_without_masks_have_none(tiny_run, tmp_path: Path) -> None:
    run = with_network(tiny_run, tmp_path / "none", "none")
    assert "regions" not in evaluated(run, tmp_path / "a")
    empty = tmp_path / "no-masks"
    empty.mkdir()
    write_masks(empty, [], by_category=False)
    (empty / "classes.json").write_bytes((tiny_run.inputs["masks"] / "classes.json").read_bytes())
    run = with_network(tiny_run, tmp_path / "sgr", "sgr")
    run = replace(run, inputs={**run.inputs, "masks": empty})
    assert "regions" not in evaluated(run, tmp_path / "b")


def test_regions_of_a_photo_whose_sides_are_no_multiple_of_the_stride(
    tiny_run, tmp_path: Path
) -> None:
    from stages.region_scores import Regions

    network = load_segmenter(with_network(tiny_run, tmp_path / "network", "sgr").inputs["segment"])
    found = Regions(network, "float32")(torch.zeros(2, 3, 61, 45, dtype=torch.uint8))
    assert found is not None
    regions, stride = found
    assert (regions.shape, stride) == ((2, 5, 8, 6), 8)
    np.testing.assert_allclose(regions.sum(axis=1), 1, atol=1e-5)
