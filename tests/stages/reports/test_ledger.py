"""The ledger: what the edges between stages say about the use of masks."""

from pathlib import Path

import pytest

from stages.reports.artifacts import Run
from stages.reports.ledger import ledger


def nothing(out: Path) -> None:
    (out / "kept.json").write_text("{}")


def test_a_run_as_it_should_be(tiny_run) -> None:
    found = ledger(Run.of(tiny_run.inputs))
    assert (found.training, found.choosing, found.scoring) == (0, 0, 9)
    assert found.clean
    assert not found.culprits


@pytest.mark.parametrize("seen", ["masks", "inspect", "evaluate", "segment-masks"])
def test_a_stage_that_chooses_by_masks_is_counted(tiny_run, seen: str) -> None:
    tiny_run.add("labels", ("index", "cams", seen), nothing)
    found = ledger(Run.of(tiny_run.inputs))
    assert (found.training, found.choosing) == (0, 9)
    assert found.culprits == (f"labels <- {seen}",)
    assert not found.clean


@pytest.mark.parametrize(
    "stage", ["classify", "rescore-first", "rescore", "edges", "segment-first", "segment"]
)
def test_a_stage_that_trains_on_masks_counts_those_of_train(tiny_run, stage: str) -> None:
    tiny_run.add(stage, ("index", "graph", "masks"), nothing)
    found = ledger(Run.of(tiny_run.inputs))
    assert (found.training, found.choosing) == (6, 0)
    assert found.culprits == (f"{stage} <- masks",)


def test_a_stage_without_recipe_leaves_it_open(tiny_run) -> None:
    (tiny_run.inputs["cams"] / "recipe.json").unlink()
    found = ledger(Run.of(tiny_run.inputs))
    assert found.training is None
    assert found.choosing is None
    assert found.unknown == ("cams",)
    assert not found.clean
