"""Progress of a command: a moving bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")

PAUSE_SECONDS = 10.0
"""Least time between two lines where there is no terminal."""


class Bar:
    """A `pipeline.context.Listener` that writes to standard error, so that results stay clean."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.began = self.spoke = time.monotonic()
        self.work: tuple[int, str] | None = None
        self.first = 0
        self.shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown is not None:
            self.shown[0].stop()
            self.shown = None

    def progress(self, done: int, total: int, unit: str) -> None:
        """Show that `done` of `total` things called `unit` are finished."""
        if self.stream.isatty():
            progress, task = self._opened(total, unit)
            progress.update(task, completed=done, total=total, description=unit)
            return
        now = time.monotonic()
        if self.work != (total, unit):  # the next of several works has a rate of its own
            self.work, self.first, self.began = (total, unit), done, now
        if now - self.spoke >= PAUSE_SECONDS:
            self.spoke = now
            rate = (done - self.first) / max(now - self.began, 1e-9)
            self.note(f"{done}/{total} {unit}" + (f", {rate:.3g}/s" if rate else ""))

    def figures(self, figures: Mapping[str, float]) -> None:
        """Figures are part of the result of a command, not of its progress."""
        del figures

    def note(self, text: str) -> None:
        """One line for a person to read."""
        if self.shown is not None:
            self.shown[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def track(self, items: Iterable[Item], *, total: int, unit: str) -> Iterator[Item]:
        """Yield `items` and show how many of `total` are done."""
        for count, item in enumerate(items, start=1):
            yield item
            self.progress(count, total, unit)

    def _opened(self, total: int, unit: str) -> "tuple[Progress, TaskID]":
        if self.shown is None:
            from rich import progress as parts
            from rich.console import Console

            bar = parts.Progress(
                parts.TextColumn("{task.description}"),
                parts.BarColumn(),
                parts.MofNCompleteColumn(),
                parts.TimeRemainingColumn(),
                console=Console(file=self.stream),
            )
            bar.start()
            self.shown = bar, bar.add_task(unit, total=total)
        return self.shown
