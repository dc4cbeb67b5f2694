"""What a stage is given beside its settings: everything that does not change the result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Listener(Protocol):
    """Where progress goes: a live table, plain lines, JSON lines, or nowhere."""

    def progress(self, done: int, total: int, unit: str) -> None: ...

    def figures(self, figures: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """A listener that drops everything: for tests and for other ranks than the first."""

    def progress(self, done: int, total: int, unit: str) -> None:
        del done, total, unit

    def figures(self, figures: Mapping[str, float]) -> None:
        del figures

    def note(self, text: str) -> None:
        del text


@dataclass(frozen=True)
class Context:
    """The surroundings of a running stage. Two contexts never lead to two different artifacts.

    `places` maps "section.field" of every setting marked as a `Place` (see `pipeline.key`) to the
    path it has on this machine: a data set that moves keeps its keys.
    """

    device: str = "auto"
    """"auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1"."""
    precision: str = "auto"
    """"auto" (bfloat16 autocast where the hardware has it), "float32" or "bfloat16"."""
    workers: int = 1
    """Processes for per-photo work on the CPU."""
    rank: int = 0
    world: int = 1
    places: Mapping[str, Path] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    """Stages whose artifacts were kept with --trust although their source has changed."""
    listener: Listener = field(default_factory=Silent)

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """The share of `items` that this rank works on."""
        return items[self.rank :: self.world]

    def track(
        self, items: Iterable[Item], *, total: int, done: int = 0, unit: str = "photos"
    ) -> Iterator[Item]:
        """Yield `items` and report how many of `total` are done, `done` of them beforehand."""
        self.listener.progress(done, total, unit)
        for count, item in enumerate(items, start=done + 1):
            yield item
            self.listener.progress(count, total, unit)

    def figures(self, **figures: float) -> None:
        """Show current figures (loss, rate) beside the progress of the stage."""
        self.listener.figures(figures)

    def note(self, text: str) -> None:
        """Say one line that a person should read: what was skipped, what stood out."""
        self.listener.note(text)
