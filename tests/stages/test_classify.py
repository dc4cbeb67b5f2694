import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.manifest import Manifest
from knowledge.graph import ClassGraph
from pipeline.context import Context
from stages import classify, classify_training, features
from stages.nets.classifier import Classifier, load_classifier
from stages.nets.classify_settings import NodesConfig, RecamConfig
from stages.nets.pooled import read_gathered
from stages.nets.tag_scores import tag_logits, tag_scores
from tests.stages.conftest import TinyRun

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet",
    "weights": "scratch",
    "frozen_norm": False,
    "conv_head": True,
    "levels": 2,
    "hidden": 8,
    "dropout": 0.3,
    "epochs_head": 3,
    "scales_head": (1.0, 1.5),
    "epochs": 2,
    "optimiser": "adamw",
    "lr": 0.01,
    "backbone_lr": 0.001,
    "graph_lr": 0.01,
    "batch_size": 4,
    "crop": 32,
    "side": None,
    "clip": 1.0,
}

NODES = NodesConfig(graph="seeded", width=8, learn_rho=True, epochs=2)


class Stop(Exception):
    """As if the process ended here."""


class StopAfter:
    """A listener that ends the run after some steps of the training with weights of all layers."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def progress(self, done: int, total: int, unit: str) -> None: ...

    def figures(self, figures: Mapping[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stop

    def note(self, text: str) -> None: ...


def run(
    tiny_run: TinyRun, out: Path, context: Context | None = None, **changes: Any
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    config = classify.Config(**{**SMALL, **changes})
    inputs = dict(tiny_run.inputs)
    if config.epochs_head:
        inputs["features"] = out.with_name(f"{out.name}-features")
        features.run(features.Config.of(config), inputs, inputs["features"], tiny_run.context)
    classify.run(config, inputs, out, context or tiny_run.context)
    found: dict[str, Any] = json.loads((out / "scores.json").read_text())
    return found


def test_writes_the_classifier_its_metrics_and_its_scores(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    scores = run(tiny_run, tmp_path / "out")
    names = Manifest.of(tiny_run.inputs, tiny_run.context.places).classes.names
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "scores.json",
    ]
    assert list(scores["ap"]) == list(names)
    assert scores["ap"][names[2]] is None  # no photo has it
    known = [value for value in scores["ap"].values() if value is not None]
    assert scores["map"] == pytest.approx(sum(known) / len(known))
    assert 0 < scores["map"] <= 1
    assert set(scores["branches"]) == {"linear", "graph", "fused"}
    assert (scores["split"], scores["photos"]) == ("val", 3)
    assert scores["weights"]["supervision"] == "none (random weights)"
    lines = [json.loads(s) for s in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (2, 0),
        (2, 1),
    ]
    assert lines[2]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize("epochs", [2, 4, 6, 8])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    """Stopped in the phase of the head, of the nodes, of the whole network and of ReCAM."""
    monkeypatch.setattr(classify_training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setitem(SMALL, "nodes", NODES)
    monkeypatch.setitem(SMALL, "recam", RecamConfig(epochs=2))
    run(tiny_run, tmp_path / "whole")
    stopping = replace(tiny_run.context, listener=StopAfter(epochs))
    with pytest.raises(Stop):
        run(tiny_run, tmp_path / "stopped", stopping)
    assert (tmp_path / "stopped" / "checkpoint.pt").exists()
    run(tiny_run, tmp_path / "stopped")
    for name in ("model.safetensors", "model.json", "metrics.jsonl", "scores.json"):
        whole, stopped = (tmp_path / folder / name for folder in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes(), name


def test_nodes_and_second_weights_leave_the_rest_as_it_is(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    """So that arms differ in what they add alone; and phases are told apart in the metrics."""
    plain = run(tiny_run, tmp_path / "plain", epochs=0)
    scores = run(tiny_run, tmp_path / "nodes", epochs=0, nodes=NODES, recam=RecamConfig(epochs=1))
    ours, theirs = (load_file(tmp_path / f / "model.safetensors") for f in ("nodes", "plain"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {"nodes.adjacency", "nodes.mixed", "recam.weight"} <= set(ours) - set(theirs)
    assert set(scores["branches"]) == {"linear", "graph", "nodes", "fused"}
    assert scores["branches"]["linear"] == pytest.approx(plain["branches"]["linear"])
    lines = [json.loads(s) for s in (tmp_path / "nodes/metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == [0, 0, 0, 1, 1, 3]
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    assert torch.equal(ours["nodes.adjacency"], torch.tensor(graph.adjacency))
    other = ClassGraph(graph.names, graph.embeddings, graph.adjacency[::-1].copy(), {})
    with pytest.raises(ValueError, match="trained with another"):
        load_classifier(tmp_path / "nodes", other)


def test_kept_maps_score_nodes_as_the_photos_do(tiny_run: TinyRun, tmp_path: Path) -> None:
    scores = run(tiny_run, tmp_path / "out", epochs=0, nodes=NODES, scored="nodes")
    assert scores["branch"] == "nodes"
    classifier = load_classifier(tmp_path / "out", ClassGraph.load(tiny_run.inputs["graph"]))
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    again = tag_scores(classifier, manifest, branch="nodes", context=tiny_run.context)
    assert again["branches"] == pytest.approx(scores["branches"])
    kept = tmp_path / "out-features"
    context, photos = tiny_run.context, manifest.split("train")
    seen = tag_logits(classifier, manifest, photos, context=context)
    read = tag_logits(classifier, manifest, photos, context=context, features=kept)
    for ours, theirs in zip(seen, read, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    assert classifier.nodes is not None
    gathered = read_gathered(kept, photos, classifier)[:, 0].float()
    with torch.no_grad():
        trained_on = classifier.nodes.nodes(gathered).scores
    torch.testing.assert_close(trained_on, read.nodes, rtol=1e-2, atol=1e-2)


def test_nodes_learn_end_to_end_too(tiny_run: TinyRun, tmp_path: Path) -> None:
    for epochs in (0, 1):
        run(tiny_run, tmp_path / str(epochs), epochs=epochs, epochs_head=0, nodes=NODES)
    before, after = (load_file(tmp_path / f / "model.safetensors") for f in ("0", "1"))
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    trained = {"weights", "project.weight", "first.weight", "second.weight", "mixed"}
    assert {f"nodes.{name}" for name in trained} <= moved
    assert "nodes.adjacency" not in moved


def test_pooling_by_maximum_is_another_classifier(tiny_run: TinyRun, tmp_path: Path) -> None:
    run(tiny_run, tmp_path / "gap", epochs=0)
    run(tiny_run, tmp_path / "gmp", epochs=0, pooling="gmp")
    gap, gmp = (load_file(tmp_path / f / "model.safetensors") for f in ("gap", "gmp"))
    assert not torch.equal(gap["linear.weight"], gmp["linear.weight"])
    classifier = load_classifier(tmp_path / "gmp", ClassGraph.load(tiny_run.inputs["graph"]))
    maps = torch.rand(1, classifier.linear.in_features, 2, 3)
    assert torch.equal(classifier.pool(maps), maps.amax(dim=(2, 3)))


def test_the_seed_decides_everything(tiny_run: TinyRun, tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(7)  # what ran before does not matter
        run(tiny_run, tmp_path / folder, seed=seed, epochs=1)
    bytes_of = {f: (tmp_path / f / "model.safetensors").read_bytes() for f in "abc"}
    assert bytes_of["a"] == bytes_of["b"]
    assert bytes_of["a"] != bytes_of["c"]


def test_the_adjacency_is_that_of_the_graph_after_training(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    run(tiny_run, tmp_path / "out")
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    state = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(state["graph.adjacency"], torch.tensor(graph.adjacency))
    assert load_classifier(tmp_path / "out", graph).names == graph.names


def test_without_a_graph_branch_there_is_only_the_linear_one(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    scores = run(tiny_run, tmp_path / "out", graph_branch=False, epochs=0)
    assert scores["branch"] == "linear"
    assert list(scores["branches"]) == ["linear"]


def test_a_backbone_with_rate_zero_stays_as_it_came(tiny_run: TinyRun, tmp_path: Path) -> None:
    run(tiny_run, tmp_path / "head", epochs=0)
    run(tiny_run, tmp_path / "both", backbone_lr=0.0)
    head, both = (load_file(tmp_path / f / "model.safetensors") for f in ("head", "both"))
    frozen = [k for k in head if k.startswith("backbone.")]
    assert any(k.endswith("running_mean") for k in frozen)
    assert all(torch.equal(head[k], both[k]) for k in frozen)
    assert not torch.equal(head["linear.weight"], both["linear.weight"])


def test_a_frozen_backbone_is_scored_without_a_forward_pass(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags are scored on kept features: the same numbers as from the photos themselves."""
    scores = run(tiny_run, tmp_path / "out", epochs=0)
    classifier = load_classifier(tmp_path / "out", ClassGraph.load(tiny_run.inputs["graph"]))
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    again = tag_scores(classifier, manifest, branch="fused", context=tiny_run.context)
    assert again["branches"] == pytest.approx(scores["branches"])

    def refuse(*_: object) -> None:
        raise AssertionError("a forward pass through a backbone whose features are kept")

    monkeypatch.setattr(Classifier, "features", refuse)
    kept = tmp_path / "out-features"
    config = classify.Config(**{**SMALL, "epochs": 0})
    (tmp_path / "more").mkdir()
    inputs = {**tiny_run.inputs, "features": kept}
    classify.run(config, inputs, tmp_path / "more", tiny_run.context)
    for name in ("model.safetensors", "scores.json"):
        assert (tmp_path / "more" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_without_val_photos_there_is_no_map(tiny_run: TinyRun, tmp_path: Path) -> None:
    lines = (tiny_run.inputs["index"] / "manifest.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["split"] == "train"]
    (tiny_run.inputs["index"] / "manifest.jsonl").write_text("\n".join(kept) + "\n")
    scores = run(tiny_run, tmp_path / "out", epochs=0)
    assert scores["map"] is None
    assert scores["map_train"] > 0


def test_sgd_with_poly_is_the_other_way(tiny_run: TinyRun, tmp_path: Path) -> None:
    scores = run(
        tiny_run, tmp_path / "out", optimiser="sgd", schedule="cosine", warmup=0.5, epochs_head=0
    )
    assert scores["map"] > 0


def test_a_weight_file_enters_the_key_and_is_asked_for(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    assert classify.sources(classify.Config()) == {}
    with_file = classify.Config(weights="file", weights_file=path)
    assert classify.sources(with_file) == {"weights_file w.safetensors": path}
    for epochs in (0, 1):  # with and without the stage that makes features
        with pytest.raises(ValueError, match=r"--classify\.weights-file"):
            run(tiny_run, tmp_path / "out", weights="file", epochs_head=epochs)
        with pytest.raises(FileNotFoundError, match=r"w\.safetensors"):
            run(tiny_run, tmp_path / "out", weights="file", weights_file=path, epochs_head=epochs)


def test_a_graph_of_other_classes_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    graph = ClassGraph.load(tiny_run.inputs["graph"])
    other = ClassGraph(graph.names[::-1], graph.embeddings, graph.adjacency, {})
    (tmp_path / "graph").mkdir()
    other.save(tmp_path / "graph")
    tiny_run.inputs["graph"] = tmp_path / "graph"
    with pytest.raises(ValueError, match="another order"):
        run(tiny_run, tmp_path / "out")


@pytest.mark.parametrize("stage", ["classify", "features", "cams"])
def test_settings_load_nothing_heavy(stage: str) -> None:
    heavy = "{'torch', 'timm', 'torch_geometric', 'numpy'}"
    code = f"import sys, stages.{stage}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
