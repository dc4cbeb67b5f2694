"""Regions on the page: painted over photos, with their figures, for heads that have some."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.manifest import Manifest
from data.photos import read_photo
from knowledge.graph import ClassGraph
from stages import evaluate, report
from stages.nets.backbone import Backbone
from stages.nets.segmenter import build_segmenter, save_segmenter
from stages.nets.settings import HeadConfig, SgrConfig
from stages.reports.predict import Predictor

SMALL = HeadConfig(
    width=16, step_width=8, dilations=(1,), sgr=SgrConfig(tokens=5, width=16, heads=2)
)
TITLE = "Network: regions of its tokens"


@pytest.fixture
def evaluated(tiny_run):
    """head -> the small run with a real, untrained network of that head and its evaluation."""

    def made(head: str):
        graph = ClassGraph.load(tiny_run.inputs["graph"])
        torch.manual_seed(0)
        backbone = Backbone("mobilenetv2_035", frozen_norm=False)
        network = build_segmenter(backbone, head, SMALL, classes=4, graph=graph)

        def save(out: Path) -> None:
            save_segmenter(out, network, head=head, config=SMALL, graph=graph, card={})

        def score(out: Path) -> None:
            config = evaluate.Config(cost_size=(64, 64))
            evaluate.run(config, tiny_run.inputs, out, tiny_run.context)

        tiny_run.add("segment", ("index", "graph", "classify", "labels"), save, head=head)
        tiny_run.add("evaluate", ("index", "masks", "graph", "segment"), score, head=head)
        return tiny_run

    return made


def reported(run, out: Path, **settings) -> tuple[str, dict]:
    report.run(report.Config(**settings), run.inputs, out, run.context)
    return (out / "report.html").read_text("utf-8"), json.loads((out / "report.json").read_text())


def test_regions_are_shown_with_their_figures(evaluated, tmp_path: Path) -> None:
    text, numbers = reported(evaluated("sgr"), tmp_path)
    groups = {group["title"]: group["photos"] for group in numbers["gallery"]}
    assert [photo["id"] for photo in groups[TITLE]] == ["photo-6", "photo-7", "photo-8"]
    assert text.count('alt="Regions: ') == 3
    assert "<figcaption>Regions</figcaption>" in text
    assert 'id="regions"' in text
    assert "5 tokens on cells of 8 pixels" in text
    assert f"{numbers['evaluate']['regions']['soft']['S_C']:.4g}" in text


def test_other_heads_have_no_regions_on_the_page(evaluated, tmp_path: Path) -> None:
    text, numbers = reported(evaluated("none"), tmp_path)
    assert TITLE not in {group["title"] for group in numbers["gallery"]}
    assert 'id="regions"' not in text


def test_fewer_photos_are_spread_over_the_split(evaluated, tmp_path: Path) -> None:
    _, numbers = reported(evaluated("sgr"), tmp_path, shown=2)
    groups = {group["title"]: group["photos"] for group in numbers["gallery"]}
    assert [photo["id"] for photo in groups[TITLE]] == ["photo-6", "photo-7"]


def test_the_page_with_regions_stays_within_its_bound(evaluated, tmp_path: Path) -> None:
    text, numbers = reported(evaluated("sgr"), tmp_path, megabytes=0.41)
    assert len(text) < 410_000
    assert numbers["gallery"] == []


def test_regions_of_a_photo_are_whole_cells_of_its_size(evaluated) -> None:
    run = evaluated("sgr")
    manifest = Manifest.of(run.inputs, run.context.places)
    photo = manifest.split("val")[0]
    image = read_photo(manifest.path(photo))[:61, :45]
    found = Predictor(run.inputs["segment"], run.context).regions(
        replace(photo, size=(61, 45)), image
    )
    assert found is not None
    assert found.shape == (61, 45)
    assert (found == found[::8, ::8].repeat(8, 0).repeat(8, 1)[:61, :45]).all()
