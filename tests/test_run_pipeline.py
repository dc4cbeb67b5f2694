"""The wiring of the stages: who may see masks, and what a data set without any gets."""

from pathlib import Path

import pytest

from pipeline.graph import Pipeline
from run_pipeline import build
from stages.recipes import RECIPES

BEFORE_SCORING = ("index", "graph", "classify", "cams", "labels", "segment")


def wired(recipe: str, root: Path | None) -> Pipeline:
    """The pipeline of `recipe` over the data set in `root`."""
    chosen = RECIPES[recipe]
    dataset = chosen.dataset.model_copy(update={"root": root})
    return build(chosen.model_copy(update={"dataset": dataset, "upper_bound": True}))


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_that_makes_or_trains_on_labels_lies_below_masks(recipe: str) -> None:
    pipeline = build(RECIPES[recipe])
    below = pipeline.below("masks")
    assert not below & set(BEFORE_SCORING)
    assert {"inspect", "evaluate", "report"} <= below


@pytest.mark.parametrize("recipe", ["voc", "voc-cpu", "folder"])
def test_the_upper_bound_needs_a_folder_of_masks(recipe: str, tmp_path: Path) -> None:
    assert "segment-masks" not in wired(recipe, tmp_path).names
    (tmp_path / "SegmentationClass").mkdir()
    found = wired(recipe, tmp_path)
    assert found.stage("segment-masks").config.labels == "masks"
    assert "masks" in found.stage("segment-masks").inputs
    assert "labels" not in found.stage("segment-masks").inputs


def test_the_demo_draws_its_masks_and_has_an_upper_bound() -> None:
    assert {"segment-masks", "evaluate-masks"} <= set(build(RECIPES["demo"]).names)


def test_a_network_trained_on_masks_has_them_as_input_and_no_labels() -> None:
    chosen = RECIPES["demo"]
    segment = chosen.segment.model_copy(update={"labels": "masks"})
    pipeline = build(chosen.model_copy(update={"segment": segment}))
    assert "segment" in pipeline.below("masks")
    assert "labels" not in pipeline.stage("segment").inputs
