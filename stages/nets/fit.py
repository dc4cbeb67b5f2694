"""The one training loop, used by every network of the project: it survives being killed."""

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from data.files import replacing
from pipeline.context import Context
from stages.nets.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)

Given = TypeVar("Given")
Schedule = Callable[[float], float]


def poly(power: float = 0.9, warmup: float = 0.0) -> Schedule:
    """(1 - progress)^power after a linear rise over the first `warmup` share of the training."""
    return lambda progress: _risen(progress, warmup) * (1.0 - progress) ** power


def cosine(warmup: float = 0.0) -> Schedule:
    """Half a cosine from 1 to 0 after a linear rise over the first `warmup` share."""
    return lambda progress: _risen(progress, warmup) * 0.5 * (1.0 + math.cos(math.pi * progress))


def constant(warmup: float = 0.0) -> Schedule:
    """1 after a linear rise over the first `warmup` share."""
    return lambda progress: _risen(progress, warmup)


def _risen(progress: float, warmup: float) -> float:
    """The linear rise of a warm-up; a small first value, for a rate of 0 would waste a step."""
    return min(1.0, (progress + 1e-3) / (warmup + 1e-3)) if warmup > 0 else 1.0


SCHEDULES: dict[str, Callable[[float], Schedule]] = {
    "poly": lambda warmup: poly(0.9, warmup),
    "cosine": cosine,
    "constant": constant,
}


@dataclass
class _Position:
    """How far a training is: all that the checkpoint holds beside weights and generators."""

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    """Sum of the losses of the batches of this epoch so far."""


def fit(
    step: Callable[[Given], Tensor],
    modules: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    loader: Callable[[int, int], Iterable[Given]],
    *,
    epochs: int,
    steps_per_epoch: int,
    clip: float | None,
    checkpoint: Path,
    every_seconds: float,
    context: Context,
    metrics: Path,
    phase: int = 0,
    after_epoch: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Train `modules` for `epochs` x `steps_per_epoch` steps, continuing from `checkpoint`.

    step: what the loader yields (a `data.loader.Batch`) -> scalar loss; it moves the batch to the
        device and chooses the precision.
    modules: what is trained and saved. The caller sets train or eval mode before the call.
    schedule: progress in [0, 1) -> factor on each group's own learning rate.
    loader: (epoch, start) -> the batches of that epoch from position `start` on; what it yields
        must depend on nothing else, so that a resumed epoch continues as it would have gone.
    clip: largest norm of all gradients together, or None.
    checkpoint: written at least every `every_seconds` and at the end; the caller deletes it when
        the whole stage is done. It holds weights, optimiser, generators, position and metrics:
        on the CPU, a run killed at any moment and resumed ends in the same bits.
    metrics: JSON lines, one an epoch: phase, epoch, loss (mean), lr (factor at its end).
    phase: place of this training among several of one stage. A checkpoint of a later phase means
        that this one is done; of an earlier phase, that this one has not begun.
    after_epoch: called at the end of each epoch, before its checkpoint; what it returns goes into
        the metrics. It may change buffers of `modules`, but must draw no random number.

    Raises ValueError where the loss is not finite, or a loader yields too few batches.
    """
    trainer = _Trainer(step, modules, optimiser, schedule, clip, checkpoint, metrics, phase)
    position = trainer.resume()
    total = epochs * steps_per_epoch
    saved = time.monotonic()
    while position.epoch < epochs:
        batches = loader(position.epoch, position.batch)
        for batch in batches:
            done = position.epoch * steps_per_epoch + position.batch
            position.loss += trainer.train_step(batch, done / total)
            position.batch += 1
            context.listener.progress(done + 1, total, "steps")
            if time.monotonic() - saved >= every_seconds and position.batch < steps_per_epoch:
                trainer.save(position)
                saved = time.monotonic()
            if position.batch >= steps_per_epoch:
                break
        if position.batch < steps_per_epoch:
            raise ValueError(
                f"the loader gave {position.batch} batches of {steps_per_epoch} in epoch "
                f"{position.epoch}: too few photos for this batch size"
            )
        loss = position.loss / steps_per_epoch
        figures = after_epoch() if after_epoch else {}
        trainer.note_epoch(position.epoch, loss, (position.epoch + 1) / epochs, figures)
        context.figures(loss=loss)
        position = _Position(epoch=position.epoch + 1)
        if time.monotonic() - saved >= every_seconds or position.epoch == epochs:
            trainer.save(position)
            saved = time.monotonic()


@dataclass
class _Trainer(Generic[Given]):
    """What one training holds in its hands: a step with it, and its way to and from disk."""

    step: Callable[[Given], Tensor]
    modules: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    clip: float | None
    checkpoint: Path
    metrics: Path
    phase: int

    def __post_init__(self) -> None:
        for group in self.optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.parameters = [p for g in self.optimiser.param_groups for p in g["params"]]
        self.lines: list[dict[str, Any]] = []

    def train_step(self, batch: Any, progress: float) -> float:
        """One step of the optimiser; the loss before it."""
        factor = self.schedule(progress)
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        loss = self.step(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(f"the loss became {value}: lower the learning rate or set clip")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        return value

    def note_epoch(
        self, epoch: int, loss: float, progress: float, figures: dict[str, float]
    ) -> None:
        """Add one line to the metrics and write them all, so that no killed run leaves half one."""
        factor = self.schedule(progress)
        line = {"phase": self.phase, "epoch": epoch, "loss": loss, "lr": factor}
        self.lines.append(line | figures)
        self._write_metrics()

    def _write_metrics(self) -> None:
        with replacing(self.metrics) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def save(self, position: _Position) -> None:
        """Write everything that the rest of the training depends on."""
        state = {
            "phase": self.phase,
            "position": [position.epoch, position.batch, position.loss],
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": random_state(),
            "metrics": self.lines,
        }
        save_checkpoint(self.checkpoint, state)

    def resume(self) -> _Position:
        """Where to go on: the start without a checkpoint, the end with one of a later phase."""
        if not self.checkpoint.exists():
            return _Position()
        state = load_checkpoint(self.checkpoint)
        self.lines = state["metrics"]
        if state["phase"] < self.phase:
            return _Position()
        self.modules.load_state_dict(state["modules"])
        if state["phase"] > self.phase:
            return _Position(epoch=10**9)
        self.optimiser.load_state_dict(state["optimiser"])
        restore_random_state(state["random"])
        epoch, batch, loss = state["position"]
        self._write_metrics()
        return _Position(epoch, batch, loss)
