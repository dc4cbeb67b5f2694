from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import train as bench
from pipeline.context import Context
from stages import classify, graph, index

SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "scratch",
    "frozen_norm": False,
    "hidden": 8,
    "epochs": 1,
    "optimiser": "adamw",
    "lr": 1e-3,
    "backbone_lr": 1e-3,
    "batch_size": 4,
    "crop": 48,
    "side": None,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over drawn scenes up to its classifier, as the folder of a run."""
    made, context = tmp_path_factory.mktemp("run"), Context()
    inputs = {name: made / name for name in ("index", "graph", "classify")}
    for path in inputs.values():
        path.mkdir()
    config, demo = classify.Config(**SMALL), index.Demo(photos=8, val=2, size=64)
    index.run(index.Config(reader="demo", demo=demo), {}, inputs["index"], context)
    graph.run(graph.Config(), inputs, inputs["graph"], context)
    classify.run(config, inputs, inputs["classify"], context)
    text = f'{{"config": {config.model_dump_json()}}}'
    (inputs["classify"] / "recipe.json").write_text(text)
    return made


def asked(run: Path, *flags: str) -> list[str]:
    own = ("--run", str(run), "--photos", "6", "--device", "cpu", "--workers", "1")
    return [*own, "--precision", "float32", *flags]


def test_the_bare_network_makes_the_very_steps_of_the_training(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else their times could not be compared: both end in the same weights (constant rate)."""
    found: list[bench.Case] = []
    monkeypatch.setattr(bench, "measured", lambda case, rounds: found.append(case) or (1.0, 1.0))
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.setattr(bench.tempfile, "TemporaryDirectory", lambda: _Kept(folder))
    assert bench.main(asked(run, "--crop", "40")) == 0
    monkeypatch.undo()
    constant = found[0].config.model_copy(update={"schedule": "constant"})
    case = found[0]._replace(config=constant)
    batches = bench.prepared(case)
    assert [tuple(batch.images.shape) for batch in batches] == [(4, 3, 40, 40)] * 2
    first, second, before = case.classifier(), case.classifier(), case.classifier()
    torch.manual_seed(0)
    bench.bare(case, first, batches)
    torch.manual_seed(0)
    bench.training(case, second)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.linear.weight, before.linear.weight)


class _Kept:
    """A temporary folder that stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> str:
        return str(self.folder)

    def __exit__(self, *_: object) -> None: ...


def test_rates_and_their_ratio_are_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(asked(run, "--rounds", "2")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("bare ") for line in lines) == 2
    assert lines[-1].startswith("of the bare network: ")
    assert float(lines[-1].split(": ")[1].split(",")[0]) > 0
