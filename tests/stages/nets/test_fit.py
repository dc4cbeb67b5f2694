"""The training loop: what it does in a step, and that a killed training ends in the same bits."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.context import Context
from stages.nets.checkpoint import load_checkpoint
from stages.nets.fit import constant, cosine, fit, poly

ROOT = Path(__file__).resolve().parents[3]
EPOCHS, STEPS = 4, 6

# Trained in a process of its own, which the test kills: a net with dropout and batch norm, AdamW, a
# schedule, two phases, batches that depend on (epoch, position) and take their time.
SCRIPT = """
import sys, time
from pathlib import Path
import torch
from torch import nn
sys.path.insert(0, {root!r})
from pipeline.context import Context
from stages.nets.fit import cosine, fit

out = Path(sys.argv[1])
torch.manual_seed(3)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))

def loader(epoch, start):
    for at in range(start, {steps}):
        time.sleep(0.02)
        yield torch.randn(8, 4, generator=torch.Generator().manual_seed(100 * epoch + at))

for phase in (0, 1):
    fit(
        lambda batch: (net(batch) - batch[:, :1]).square().mean(),
        net.train(),
        torch.optim.AdamW(net.parameters(), lr=0.01 + phase * 0.01),
        cosine(0.1),
        loader,
        epochs={epochs}, steps_per_epoch={steps}, clip=1.0, checkpoint=out / "checkpoint.pt",
        every_seconds=0.0, context=Context(), metrics=out / "metrics.jsonl", phase=phase,
    )
torch.save(net.state_dict(), out / "net.pt")
"""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    script = SCRIPT.format(root=str(ROOT), steps=STEPS, epochs=EPOCHS)
    return subprocess.Popen([sys.executable, "-c", script, str(folder)])


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until the process has written `path` once more, or is done."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.002)


def test_a_training_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = start(whole)
    rng = random.Random(5)
    for _ in range(2):
        process = start(killed)
        wait_for(killed / "checkpoint.pt", process)
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    last = start(killed)
    assert last.wait() == 0
    assert undisturbed.wait() == 0
    expected = torch.load(whole / "net.pt", weights_only=True)
    found = torch.load(killed / "net.pt", weights_only=True)
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    assert (whole / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    expected_places = [(phase, epoch) for phase in (0, 1) for epoch in range(EPOCHS)]
    assert [(line["phase"], line["epoch"]) for line in lines] == expected_places


def train(
    folder: Path,
    net: nn.Module,
    *,
    step: Callable[[Tensor], Tensor] | None = None,
    loader: Callable[[int, int], Iterator[Tensor]] | None = None,
    clip: float | None = None,
    epochs: int = 1,
    schedule: Callable[[float], float] = lambda progress: 1.0,
) -> None:
    def batches(epoch: int, start: int) -> Iterator[Tensor]:
        yield from (torch.ones(2, 1) for _ in range(start, 2))

    fit(
        step or (lambda batch: net(batch).mean()),
        net,
        torch.optim.SGD(net.parameters(), lr=0.5),
        schedule,
        loader or batches,
        epochs=epochs,
        steps_per_epoch=2,
        clip=clip,
        checkpoint=folder / "checkpoint.pt",
        every_seconds=1e9,
        context=Context(),
        metrics=folder / "metrics.jsonl",
    )


def line() -> nn.Linear:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    return net


def test_two_steps_of_sgd_by_hand(tmp_path: Path) -> None:
    net = line()
    train(tmp_path, net, schedule=lambda progress: 1.0 - progress)
    # Gradient 1, rate 0.5 x (1, then 1/2).
    assert net.weight.item() == pytest.approx(-0.75)


def test_the_norm_of_all_gradients_is_clipped(tmp_path: Path) -> None:
    net = line()
    train(tmp_path, net, clip=0.1)
    assert net.weight.item() == pytest.approx(-0.1, rel=1e-4)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    net = line()
    train(tmp_path, net)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["position"][0] == 1
    again = line()
    train(tmp_path, again)
    assert torch.equal(net.weight, again.weight)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    net = line()
    with pytest.raises(ValueError, match="lower the learning rate"):
        train(tmp_path, net, step=lambda batch: net(batch).mean() / 0.0)
    assert net.weight.item() == 0.0


def test_a_loader_that_ends_early_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 batches of 2"):
        train(tmp_path, line(), loader=lambda epoch, start: iter([torch.ones(2, 1)]))


@pytest.mark.parametrize("schedule", [poly(0.9), cosine(), poly(0.9, 0.25), cosine(0.25)])
def test_schedules_end_at_zero_and_rise_once(schedule: Callable[[float], float]) -> None:
    values = [schedule(at / 100) for at in range(101)]
    top = values.index(max(values))
    assert values[-1] == pytest.approx(0.0, abs=1e-9)
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert min(values[:100]) > 0


def test_poly_is_that_of_the_field() -> None:
    assert poly(0.9)(0.5) == pytest.approx(0.5**0.9)
    assert cosine()(0.5) == pytest.approx(0.5)
    assert constant()(0.7) == 1.0
