"""Events for people and machines: a live table on a terminal, plain lines elsewhere, JSON lines."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.live import Live as RichLive
    from rich.table import Table

PAUSE_SECONDS = 10.0
"""Least time between two lines of progress of one stage where there is no terminal."""
SHORT_KEY = 8
NAME_WIDTH = 14
"""Least width of the column of stage names; longer names of a plan make it wider."""


@dataclass
class Row:
    """What is known of one stage at this moment."""

    stage: str
    state: str = ""
    key: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    first: int = 0
    began: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    outcome: str = ""

    def advance(self, done: int, total: int, unit: str) -> None:
        """Takes over a progress event; what was done before the first one is not our speed."""
        if not self.began or total != self.total or unit != self.unit or done < self.done:
            self.first, self.began = done, time.monotonic()
        self.done, self.total, self.unit = done, total, unit

    def speed(self) -> str:
        """ "120/800 photos, 12.3/s, 55 s left"; empty before the first progress."""
        if not self.total:
            return ""
        text = f"{self.done}/{self.total} {self.unit}"
        passed = time.monotonic() - self.began
        rate = (self.done - self.first) / passed if passed > 0 else 0.0
        if rate > 0:
            text += f", {rate:.3g}/s, {duration((self.total - self.done) / rate)} left"
        return text

    def numbers(self) -> str:
        return " ".join(f"{name} {value:.4g}" for name, value in self.figures.items())


class Plain:
    """One line per event; progress of a stage at most every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.rows: dict[str, Row] = {}
        self.spoke: dict[str, float] = {}
        self.width = NAME_WIDTH

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def event(self, event: str, stage: str = "", **fields: Any) -> None:
        """Shows one event. Unknown kinds are for machines and pass in silence."""
        if event == "plan":
            self.fit(step["stage"] for step in fields["steps"])
        row = self.rows.setdefault(stage, Row(stage))
        shown: dict[str, Callable[..., None]] = {
            "hit": self._hit,
            "start": self._start,
            "progress": self._progress,
            "figures": self._figures,
            "done": self._done,
            "note": self._note,
            "closing": self._closing,
        }
        if event in shown:
            shown[event](row, **fields)

    def fit(self, stages: Iterable[str]) -> None:
        """Makes the column of names as wide as the longest of `stages`."""
        self.width = max([NAME_WIDTH, *map(len, stages)])

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def _hit(self, row: Row, key: str) -> None:
        row.state, row.key, row.total = "hit", key, 0
        self._line(row, f"hit     {key[:SHORT_KEY]}")

    def _start(self, row: Row, state: str, key: str, reason: str) -> None:
        row.state, row.key, row.began = state, key, 0.0
        self._line(row, f"{state:<7} {key[:SHORT_KEY]}  {reason}")

    def _progress(self, row: Row, done: int, total: int, unit: str) -> None:
        row.advance(done, total, unit)
        now = time.monotonic()
        if now - self.spoke.setdefault(row.stage, now) >= PAUSE_SECONDS:
            self.spoke[row.stage] = now
            self._line(row, f"        {row.speed()}  {row.numbers()}".rstrip())

    def _figures(self, row: Row, figures: Mapping[str, float]) -> None:
        row.figures = figures

    def _done(self, row: Row, **facts: Any) -> None:
        row.state = "done"
        memory = f", peak memory {size(facts['peak_memory_bytes'])}"
        row.outcome = f"{duration(facts['seconds'])}, {size(facts['bytes'])}{memory}"
        self._line(row, f"done    {row.key[:SHORT_KEY]}  {row.outcome}  {row.numbers()}".rstrip())

    def _note(self, row: Row, text: str) -> None:
        self._line(row, f"note    {text}")

    def _closing(self, row: Row, text: str) -> None:
        del row
        self.say(text)

    def _line(self, row: Row, text: str) -> None:
        self.say(f"{row.stage:<{self.width}} {text}")


class Live(Plain):
    """A table that follows the run, once a stage runs; until then, plain lines."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.live: RichLive | None = None

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def say(self, text: str) -> None:
        if self.live is None:
            super().say(text)
        else:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _start(self, row: Row, state: str, key: str, reason: str) -> None:
        super()._start(row, state, key, reason)
        self._open()

    def _progress(self, row: Row, done: int, total: int, unit: str) -> None:
        row.advance(done, total, unit)

    def _done(self, row: Row, **facts: Any) -> None:
        super()._done(row, **facts)
        row.total = 0

    def _closing(self, row: Row, text: str) -> None:
        self.__exit__()
        super()._closing(row, text)

    def _open(self) -> None:
        if self.live is None:
            from rich.console import Console
            from rich.live import Live as RichLive

            screen = Console(file=self.stream)
            self.live = RichLive(console=screen, get_renderable=self.table, refresh_per_second=4)
            self.live.start()

    def table(self) -> "Table":
        """The table as it is now: stage, state, key, progress, figures."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in ("stage", "state", "key", "progress", "figures"):
            table.add_column(name, no_wrap=name != "figures")
        for row in list(self.rows.values()):
            if row.state:
                progress = row.outcome or row.speed()
                table.add_row(row.stage, row.state, row.key[:SHORT_KEY], progress, row.numbers())
        return table


class Json(Plain):
    """One JSON object a line, for programs that follow a run."""

    def event(self, event: str, stage: str = "", **fields: Any) -> None:
        named = {"stage": stage} if stage else {}
        self.say(json.dumps({"event": event, "time": round(time.time(), 3), **named, **fields}))


CONSOLES: dict[str, type[Plain]] = {"live": Live, "plain": Plain, "json": Json}


def console_for(*, json_lines: bool, stream: TextIO | None = None) -> Plain:
    """The console that suits `stream` (standard output): JSON where asked, live on a terminal."""
    stream = stream or sys.stdout
    kind = "json" if json_lines else "live" if stream.isatty() else "plain"
    return CONSOLES[kind](stream)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes in decimal units: 312 B, 4.5 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
