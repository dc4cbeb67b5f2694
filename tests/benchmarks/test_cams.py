from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cams as bench
from pipeline.context import Context
from stages import cams, classify, features, graph, index
from stages.nets.resize import resized

SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "scratch",
    "frozen_norm": False,
    "hidden": 8,
    "epochs_head": 2,
    "epochs": 0,
    "batch_size": 4,
}
MAPS = cams.Config(scales=(1.0, 1.5), competition=1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over drawn scenes up to its maps, as the folder of a run."""
    made = tmp_path_factory.mktemp("run")
    config = index.Config(reader="demo", demo=index.Demo(photos=8, val=2, size=80))
    context = Context()
    inputs = {name: made / name for name in ("index", "graph", "features", "classify", "cams")}
    for path in inputs.values():
        path.mkdir()
    trained = classify.Config(**SMALL)
    index.run(config, {}, inputs["index"], context)
    graph.run(graph.Config(), inputs, inputs["graph"], context)
    features.run(features.Config.of(trained), inputs, inputs["features"], context)
    classify.run(trained, inputs, inputs["classify"], context)
    cams.run(MAPS, inputs, inputs["cams"], context)
    text = f'{{"config": {MAPS.model_dump_json()}}}'
    (inputs["cams"] / "recipe.json").write_text(text)
    return made


def case(run: Path) -> bench.Case:
    return bench.Case.of(run, None, photos=4, context=Context(precision="float32"))


def test_the_plain_loop_makes_the_maps_of_the_stage(run: Path) -> None:
    assert len(case(run).photos) == 4
    largest, mean = bench.differences(case(run), "float32")
    assert 0 < mean <= largest < bench.AGREEMENT


def test_other_maps_would_be_noticed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a plain loop that sees one scale twice."""
    monkeypatch.setattr(bench, "resized", lambda image, scale: resized(image, 1.0))
    assert bench.differences(case(run), "float32")[0] > bench.AGREEMENT


def test_rates_and_ratios_are_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--run", str(run), "--photos", "4", "--rounds", "2", "--workers", "1"]
    assert bench.main([*asked, "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("float32: normalised scores differ by 0.00")
    assert sum(line.startswith("bare ") for line in lines) == 2
    assert [line.split(":")[0] for line in lines[-2:]] == [
        "of the bare network",
        "times the plain loop",
    ]
    ratios = [float(line.split(": ")[1].split(",")[0]) for line in lines[-2:]]
    assert np.isfinite(ratios).all()
    assert min(ratios) > 0
