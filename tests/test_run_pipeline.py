"""The wiring of the stages: who may see masks, and what a data set without any gets."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from knowledge.classes import VOC
from pipeline.graph import Pipeline
from pipeline.plan import Planner
from pipeline.store import Store
from run_pipeline import build, build_comparison
from stages.recipes import RECIPES
from stages.reports.artifacts import STAGES
from tests.datasets import write_mask, write_voc

BEFORE_SCORING = (
    "index",
    "graph",
    "features",
    "classify",
    "cams",
    "walk",
    "labels-first",
    "rescore",
    "edges",
    "spread",
    "labels",
    "segment",
)


def labelled(steps: int, rounds: int, recipe: str = "demo", edges: str = "none") -> Pipeline:
    """The pipeline of `recipe` with a walk of `steps` and so many rounds of the second look.

    edges: the kind of boundaries that scores are shared between.
    """
    chosen = RECIPES[recipe]
    changes = {
        "walk": chosen.walk.model_copy(update={"steps": steps}),
        "rescore": chosen.rescore.model_copy(update={"rounds": rounds}),
        "edges": chosen.edges.model_copy(update={"kind": edges}),
    }
    return build(chosen.model_copy(update=changes))


def wired(recipe: str, root: Path | None) -> Pipeline:
    """The pipeline of `recipe` over the data set in `root`."""
    chosen = RECIPES[recipe]
    dataset = chosen.dataset.model_copy(update={"root": root})
    edges = chosen.edges.model_copy(update={"kind": "learned"})
    changes = {"dataset": dataset, "edges": edges, "upper_bound": True}
    return build(chosen.model_copy(update=changes))


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


def test_keys_up_to_the_network_do_not_depend_on_masks(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012", {"a": ["cat"], "b": ["dog"]}, {"v": ["cat"]})
    masks = root / "SegmentationClass"
    for name in ("a", "b", "v"):
        write_mask(masks / f"{name}.png", np.full((24, 32), 8, np.uint8), VOC)

    def keys() -> dict[str, str]:
        planner = Planner(wired("voc-cpu", root), Store(tmp_path / "store"))
        return {step.stage.name: step.key for step in planner.plan()}

    before = keys()
    write_mask(masks / "a.png", np.zeros((24, 32), np.uint8), VOC)
    other = keys()
    shutil.rmtree(masks)
    without = keys()
    assert set(BEFORE_SCORING) <= set(before)
    for name in BEFORE_SCORING:
        assert before[name] == other[name] == without[name], name
    for name in ("masks", "inspect", "evaluate", "report"):
        assert len({before[name], other[name], without[name]}) == 3, name


def test_a_plan_of_the_whole_pipeline_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, run_pipeline; status = run_pipeline.main();"
        "heavy = {'torch', 'timm', 'numpy', 'scipy', 'transformers'};"
        "print('status', status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--dry-run", "--runs", str(tmp_path)],
        cwd=Path(run_pipeline.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "status 0 []"


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--recipe", "voc"], 1, "--dataset.root"),
        (["--recipe", "folder", "--dataset.root", "nowhere"], 1, "nowhere is no folder"),
        (["--segment.hed", "none"], 2, "--segment.head"),
        (["--recipe", "vok"], 2, "'voc'"),
    ],
)
def test_what_cannot_run_ends_in_one_message(
    flags: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_pipeline.py", "--runs", str(tmp_path), *flags])
    assert run_pipeline.main() == status
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def compared(**changes: object) -> Pipeline:
    """The comparison pipeline of the demo with `changes` of its own section."""
    recipe = RECIPES["demo"]
    section = recipe.compare.model_copy(update=changes)
    return build_comparison(recipe.model_copy(update={"compare": section}))


def test_a_comparison_trains_each_head_and_seed_on_the_same_labels() -> None:
    pipeline = compared(heads=("none", "grm"), seeds=2)
    for head in ("none", "grm"):
        for seed in (0, 1):
            stage = pipeline.stage(f"segment-{head}-{seed}")
            assert (stage.config.head, stage.config.seed) == (head, seed)  # type: ignore[attr-defined]
            assert stage.reads["labels"] == "labels"
            assert "masks" not in pipeline.above(stage.name)
            evaluate = pipeline.stage(f"evaluate-{head}-{seed}")
            assert evaluate.reads["segment"] == stage.name
            assert "masks" in pipeline.stage(f"segment-masks-{head}-{seed}").reads
    assert set(pipeline.stage("compare").reads) == set(pipeline.names) - {"compare"}


def test_arms_differ_from_the_plain_network_in_head_and_seed_alone() -> None:
    plain = build(RECIPES["demo"]).stage("segment")
    arm = compared(heads=("none",), seeds=(7,)).stage("segment-none-7")
    assert arm.config == plain.config.model_copy(update={"head": "none", "seed": 7})
    assert (arm.kind, arm.reads) == (plain.kind, plain.reads)


def test_a_comparison_of_networks_trained_on_masks_has_no_second_bound() -> None:
    recipe = RECIPES["demo"]
    segment = recipe.segment.model_copy(update={"labels": "masks"})
    pipeline = build_comparison(recipe.model_copy(update={"segment": segment}))
    assert not [name for name in pipeline.names if name.startswith("segment-masks")]


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--heads", "none,grmm"], 2, "--compare.heads: there is no choice 'grmm': did you mean"),
        (["--haeds", "none"], 2, "did you mean --heads?"),
        (["--force", "segment-grm-9"], 2, "there is no stage 'segment-grm-9'"),
        (["runs/nowhere", "runs/neither"], 1, "runs/nowhere is no folder of a run"),
        (["sgr"], 1, "heads are compared by --heads a,b"),
    ],
)
def test_a_comparison_that_cannot_be_ends_in_one_message(
    flags: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = [] if not flags[0].startswith("-") else ["--runs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["run_pipeline.py", "compare", *flags, *own])
    assert run_pipeline.main() == status
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("rounds", [0, 1])
def test_walk_and_second_look_stand_between_maps_and_labels(steps: int, rounds: int) -> None:
    pipeline = labelled(steps, rounds)
    maps = "walk" if steps else "cams"
    assert ("walk" in pipeline.names) == bool(steps)
    assert {"labels-first", "rescore"} & set(pipeline.names) == (
        {"labels-first", "rescore"} if rounds else set()
    )
    reads = pipeline.stage("labels").reads
    assert reads["cams"] == ("rescore" if rounds else maps)
    assert reads.get("before") == ("labels-first" if rounds else None)
    if rounds:
        assert pipeline.stage("labels-first").reads["cams"] == maps
        assert pipeline.stage("rescore").reads["cams"] == maps
        assert pipeline.stage("labels-first").config == pipeline.stage("labels").config
    seen = pipeline.stage("inspect").reads
    assert seen["cams"] == "cams"
    assert {name for name in ("walk", "first", "rescore") if name in seen} == {
        *(["walk"] if steps else []),
        *(["first", "rescore"] if rounds else []),
    }
    assert not pipeline.below("masks") & set(BEFORE_SCORING)
    assert set(pipeline.stage("report").reads) == set(pipeline.names) - {"report"}


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("kind", ["learned", "image"])
def test_boundaries_stand_right_before_the_labels(rounds: int, kind: str) -> None:
    pipeline, plain = labelled(2, rounds, edges=kind), labelled(2, rounds)
    scores = "rescore" if rounds else "walk"
    assert pipeline.stage("labels").reads["cams"] == "spread"
    assert pipeline.stage("labels").reads.get("before") == ("labels-first" if rounds else None)
    assert pipeline.stage("spread").reads == {"index": "index", "edges": "edges", "cams": scores}
    told = {"index": "index", "classify": "classify", "labels": "labels-first"}
    assert pipeline.stage("edges").reads == (told if kind == "learned" else {"index": "index"})
    seen = pipeline.stage("inspect").reads
    assert seen["spread"] == "spread"
    assert ("first" in seen) == ("labels-first" in pipeline.names)
    assert not pipeline.below("masks") & set(BEFORE_SCORING)
    added = {"edges", "spread", *(["labels-first"] if kind == "learned" else [])}
    assert set(pipeline.names) == set(plain.names) | added


def test_each_look_learns_from_the_labels_before_it() -> None:
    pipeline = labelled(2, 2, edges="learned")
    told = {"index": "index", "classify": "classify", "cams": "walk"}
    assert pipeline.stage("rescore-first").reads == {**told, "labels": "labels-first"}
    last = {**told, "labels": "labels-second", "first": "labels-first"}
    assert pipeline.stage("rescore").reads == last
    assert pipeline.stage("edges").reads["labels"] == "labels-second"
    reads = pipeline.stage("labels-second").reads
    assert reads == {"index": "index", "cams": "rescore-first", "before": "labels-first"}
    assert pipeline.stage("spread").reads["cams"] == "rescore"
    assert pipeline.stage("labels").reads["before"] == "labels-second"
    names = ("walk", "first", "rescore-first", "second", "rescore", "spread", "labels")
    assert set(names) < set(pipeline.stage("inspect").reads)
    assert not pipeline.below("masks") & set(pipeline.above("labels"))


@pytest.mark.parametrize("rounds", [1, 2])
def test_every_stage_of_a_recipe_is_known_to_the_report(rounds: int) -> None:
    assert set(labelled(2, rounds, edges="learned").names) - {"report"} <= set(STAGES)


def test_walk_and_second_look_change_no_key_above_them(tmp_path: Path) -> None:
    plain, more = (
        {step.stage.name: step.key for step in Planner(pipeline, Store(tmp_path)).plan()}
        for pipeline in (labelled(0, 0), labelled(2, 1))
    )
    assert {name for name in plain if plain[name] == more[name]} == {
        *("index", "masks", "graph", "classify", "cams", "segment-masks", "evaluate-masks")
    }
