"""The stage-one comparison on scenes of 64 pixels: numbers, hits, verdicts."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import graph_bench, graph_scores, graph_table
from benchmarks.graph_arms import ARMS, merged
from data.cams import read_cam
from data.demo import write_scenes
from data.manifest import Manifest
from data.masks import MaskIndex
from pipeline.context import Context
from stages import cams
from stages.quality.photo import Views, measure
from stages.quality.sweep import ThresholdSweep
from stages.recipes import RECIPES
from stages.thresholds import li, read_histogram

TINY = (
    *("--recipe", "folder", "--dataset.classes", "demo", "--dataset.val-fraction", "0.25"),
    *("--classify.backbone", "test_resnet", "--classify.weights", "scratch", "--workers", "1"),
    *("--classify.no-frozen-norm", "--classify.no-conv-head", "--classify.levels", "1"),
    *("--classify.hidden", "8", "--classify.epochs-head", "2", "--cams.scales", "1.0", "1.5"),
)
NAMES = "no-graph,identity,text,fused-cooccurrence"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with tags.csv, and masks for most of them."""
    drawn = tmp_path_factory.mktemp("drawn")
    records = list(write_scenes(drawn, photos=14, val=0, size=64, seed=0))
    shutil.move(drawn / "masks", drawn / "photos" / "SegmentationClass")
    for record in records[:3]:
        (drawn / "photos" / "SegmentationClass" / f"{record.id}.png").unlink()
    with (drawn / "photos" / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows((record.id, *(record.tags or ())) for record in records)
    return drawn / "photos"


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of four arms over two seeds."""
    runs = tmp_path_factory.mktemp("compared") / "runs"
    assert bench(root, runs, "--whole-split", "--out", str(runs / "copies" / "table")) == 0
    return runs


def bench(root: Path, runs: Path, *flags: str) -> int:
    own = ("--arms", NAMES, "--seeds", "2", "--runs", str(runs), "--dataset.root", str(root))
    return graph_bench.main([*own, *TINY, *flags])


def test_the_maps_of_an_arm_are_scored_as_cams_and_inspect_would(
    root: Path, runs: Path, tmp_path: Path
) -> None:
    run = runs / "folder-graph-bench"
    inputs = {
        **{name: run / name for name in ("index", "masks")},
        "graph": run / "graph-no-graph-0",
        "classify": run / "classify-no-graph-1",
    }
    context = Context(places={"dataset.root": root, "masks.root": root / "SegmentationClass"})
    recipe = RECIPES["folder"].cams.model_copy(update={"scales": (1.0, 1.5)})
    cams.run(recipe, inputs, tmp_path, context)
    manifest = Manifest.of(inputs, context.places)
    masks, photos = MaskIndex.of(inputs, context.places), manifest.split("train")
    sweep = ThresholdSweep(len(manifest.classes), 256)
    for photo in photos:
        if photo.id in masks.ids:
            cam, blank = read_cam(tmp_path / f"{photo.id}.npz"), np.zeros(photo.size, np.uint8)
            views = Views(blank, blank, blank, cam, masks.read(photo))
            found = measure(photo.id, views, classes=len(manifest.classes), bins=256, boundary=0.1)
            assert found.scored is not None
            sweep.add(found.classes, found.scored.cam, found.scored.truth)
    threshold = li(read_histogram(tmp_path / f"{photo.id}.npz" for photo in photos))
    scores = json.loads((run / "graph-scores" / "scores.json").read_text())["no-graph"]["1"]
    assert scores["photos"] == len(set(masks.ids) & {photo.id for photo in photos}) < len(photos)
    assert scores["threshold"] == threshold
    assert scores["miou"] == pytest.approx(sweep.confusion(threshold).miou(), abs=1e-12)
    assert scores["miou_best_with_masks"] == pytest.approx(np.nanmax(sweep.curve()), abs=1e-12)


def test_the_table_holds_every_arm_seed_control_and_class(runs: Path) -> None:
    run = runs / "folder-graph-bench"
    numbers = json.loads((run / "graph-table" / "table.json").read_text())
    assert [row["arm"] for row in numbers["arms"]] == NAMES.split(",")
    text = numbers["arms"][2]
    assert set(text["against"]) == {"no-graph", "identity"}
    scores = json.loads((run / "classify-text-0" / "scores.json").read_text())
    assert text["map"]["values"]["0"] == scores["map"] == scores["branches"]["graph"]
    gap = text["against"]["identity"]["best"]["values"]["1"]
    identity = numbers["arms"][1]["best"]["values"]["1"]
    assert gap == pytest.approx(text["best"]["values"]["1"] - identity)
    assert set(text["classes"]["iou"]) == {"background", *scores["ap"]}
    page = (run / "graph-table" / "table.md").read_text()
    assert numbers["verdict"] in page
    assert "| text |" in page
    for kind in ("json", "md"):
        made = run / "graph-table" / f"table.{kind}"
        assert (runs / "copies" / f"table.{kind}").read_bytes() == made.read_bytes()


def test_a_second_run_makes_nothing_and_another_arm_only_itself(
    root: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(root, runs, "--whole-split", "--dry-run") == 0
    assert " run " not in capsys.readouterr().out
    assert bench(root, runs, "--whole-split", "--dry-run", "--arms", f"{NAMES},mix") == 0
    made = [line for line in capsys.readouterr().out.splitlines() if " run " in line]
    names = {line.split()[0] for line in made}
    assert names == {*(f"{kind}-mix-{seed}" for kind in ("classify",) for seed in (0, 1))} | {
        *("graph-mix-0", "graph-scores", "graph-table")
    }


def test_without_masks_there_is_the_map_of_the_tags(root: Path, runs: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(root, tmp_path / "bare", ignore=shutil.ignore_patterns("Segm*"))
    assert bench(bare, tmp_path / "runs", "--arms", "no-graph,text", "--seeds", "1") == 0
    table = tmp_path / "runs" / "folder-graph-bench" / "graph-table" / "table.json"
    numbers = json.loads(table.read_text())
    assert numbers["photos"] == 0
    assert all(row["cam"] is None and row["map"] for row in numbers["arms"])
    assert "By mAP over 1 seed the best arm is" in numbers["verdict"]


def arms(**figures: list[float]) -> dict[str, Any]:
    """The table of arms with this mIoU at each seed and an mAP of one half."""
    listed = tuple(
        graph_table.Listed(
            name=name,
            changes="",
            against=("plain", "random") if name not in ("plain", "random") else (),
            control=name == "random",
        )
        for name in figures
    )
    seeds = tuple(range(len(next(iter(figures.values())))))
    config = graph_table.Config(arms=listed, seeds=seeds)
    tags = {n: {str(s): {"map": 0.5, "ap": {}, "photos": 3} for s in seeds} for n in figures}
    maps = {
        name: {
            str(s): {
                **{"miou": values[s], "miou_best_with_masks": values[s], "threshold": 0.5},
                **{"photos": 4, "threshold_chosen": "", "iou": {}},
            }
            for s in seeds
        }
        for name, values in figures.items()
    }
    return graph_table.table(config, tags, maps)


def test_a_graph_that_beats_its_controls_is_said_to() -> None:
    found = arms(plain=[0.3, 0.31, 0.3], random=[0.32, 0.31, 0.32], text=[0.4, 0.41, 0.4])
    assert "best arm is text (40.3 ± 0.6)" in found["verdict"]
    assert "text beats its controls by more than the spread" in found["verdict"]
    assert "plain yes (+10.0 ± 0.0), random yes (+8.7 ± 1.2)" in found["verdict"]
    assert "No simpler arm is as good as text." in found["verdict"]


def test_a_graph_within_the_spread_is_not() -> None:
    found = arms(plain=[0.3, 0.31, 0.3], random=[0.39, 0.31, 0.32], text=[0.31, 0.3, 0.31])
    assert "plain no (+0.3 ± 1.2), random no" in found["verdict"]
    assert (
        "does not beat by more than the spread of the paired differences is plain"
        in (found["verdict"])
    )
    assert "A control is better still: random" in found["verdict"]


def test_one_seed_tells_no_arms_apart() -> None:
    found = arms(plain=[0.3], text=[0.4])
    assert "plain too few seeds to say (+10.0)" in found["verdict"]


@pytest.mark.parametrize("recipe", ["voc-cpu", "demo", "voc"])
def test_every_arm_is_one_that_the_settings_take(recipe: str) -> None:
    asked = graph_bench._parser().parse_args([])
    pipeline = graph_bench.build(RECIPES[recipe], names=list(ARMS), asked=asked)
    for name, arm in ARMS.items():
        assert set(arm.against) <= set(ARMS)
        assert f"classify-{name}-2" in pipeline.stage("graph-scores").reads
    frozen = [name for name in pipeline.names if name.startswith("features-")]
    # pooled by mean, pooled by maximum, whole maps for the nodes: each once for all arms and seeds
    assert len(frozen) == (3 if recipe == "voc-cpu" else 0)


def test_arms_that_change_nothing_that_a_classifier_sees_share_it() -> None:
    asked = graph_bench._parser().parse_args(["--seeds", "2"])
    pipeline = graph_bench.build(RECIPES["voc-cpu"], names=list(ARMS), asked=asked)
    reads = pipeline.stage("graph-scores").reads
    assert reads["classify-beside-1"] == reads["classify-as-set-1"]
    assert reads["graph-random-0"] != reads["graph-random-1"]
    assert reads["graph-text-0"] == reads["graph-text-1"]


def test_changes_of_one_section_add_up() -> None:
    found = merged({"classify": {"a": 1, "nodes": {"x": 1}}}, {"classify": {"nodes": {"y": 2}}})
    assert found == {"classify": {"a": 1, "nodes": {"x": 1, "y": 2}}}


def test_photos_are_spread_evenly_over_those_with_a_mask() -> None:
    from types import SimpleNamespace

    train = [SimpleNamespace(id=str(n)) for n in range(10)]
    manifest: Any = SimpleNamespace(split=lambda name: train)
    masked = {str(n) for n in range(8)}

    def ids(**settings: Any) -> list[str]:
        config = graph_scores.Config(arms={}, seeds=(0,), **settings)
        return [photo.id for photo in graph_scores.chosen(config, manifest, masked)]

    assert ids() == list("01234567")
    assert ids(photos=4) == list("0246")
    assert ids(photos=99) == list("01234567")
    assert ids(photos=4, whole_split=True) == list("024689")
    assert not graph_scores.chosen(graph_scores.Config(arms={}, seeds=(0,)), manifest, set())


def test_arms_are_named_or_matched() -> None:
    assert graph_bench.named("*") == list(ARMS)
    assert graph_bench.named("text,identity") == ["identity", "text"]
    assert graph_bench.named("nodes-u*,no-graph") == ["no-graph", "nodes-uniform"]


def test_a_misspelt_arm_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert graph_bench.main(["--arms", "identiy"]) == 2
    assert "did you mean 'identity'?" in capsys.readouterr().err
