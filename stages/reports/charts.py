"""Geometry of the charts: numbers become SVG paths, the templates draw them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 18.0, 40.0
MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line: `values[i]` at `places[i]`; None leaves a gap."""

    name: str
    places: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Mark:
    """A point to point out."""

    name: str
    place: float
    value: float


@dataclass(frozen=True)
class Tick:
    """A number on an axis and its place in the drawing."""

    text: str
    at: float


@dataclass(frozen=True)
class Chart:
    """A line chart in drawing units of a `width` x `height` box, y downwards."""

    title: str
    across: str
    up: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lines: tuple[tuple[str, str], ...]
    """(name, path data) of each line."""
    marks: tuple[tuple[str, float, float], ...]
    """(name, x, y) of each mark."""
    ticks_across: tuple[Tick, ...]
    ticks_up: tuple[Tick, ...]
    description: str
    """What a reader without the picture is told."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart: values from `low` to `high` fall on `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> tuple[Tick, ...]:
        step = _step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(Tick(f"{n * step:.6g}", self.at(n * step)) for n in range(first, last + 1))


def line_chart(
    series: Sequence[Series], *, title: str, across: str, up: str, marks: Sequence[Mark] = ()
) -> Chart | None:
    """A chart of `series`, or None where there are not two numbers to draw."""
    points = [point for one in series for point in _points(one)]
    if len(points) < 2:
        return None
    places = [x for x, _ in points] + [mark.place for mark in marks]
    values = [y for _, y in points] + [mark.value for mark in marks]
    low, high = widened(min(places), max(places))
    horizontal = Axis(low, high, LEFT, WIDTH - RIGHT)
    low, high = widened(min(values), max(values))
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    vertical = Axis(low, high, HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        across=across,
        up=up,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        lines=tuple((one.name, _path(one, horizontal, vertical)) for one in series),
        marks=tuple((m.name, horizontal.at(m.place), vertical.at(m.value)) for m in marks),
        ticks_across=horizontal.ticks(),
        ticks_up=vertical.ticks(),
        description=_described(series, marks),
    )


def _points(series: Series) -> list[tuple[float, float]]:
    pairs = zip(series.places, series.values, strict=True)
    found = [(x, y) for x, y in pairs if y is not None and math.isfinite(y)]
    return found[:: max(1, len(found) // MOST_POINTS)]


def _path(series: Series, horizontal: Axis, vertical: Axis) -> str:
    points = [f"{horizontal.at(x):g} {vertical.at(y):g}" for x, y in _points(series)]
    return f"M{' L'.join(points)}" if points else ""


def widened(low: float, high: float) -> tuple[float, float]:
    if high - low > 1e-9 * max(abs(low), abs(high)) + 1e-12:
        return low, high
    margin = abs(low) * 0.1 or 0.5
    return low - margin, high + margin


def _step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts `span` into about five."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= span / 5)


def _described(series: Sequence[Series], marks: Sequence[Mark]) -> str:
    parts = []
    for one in series:
        points = _points(one)
        if points:
            (x0, y0), (x1, y1) = points[0], points[-1]
            top = max(y for _, y in points)
            parts.append(f"{one.name}: {y0:.3g} at {x0:.3g}, {y1:.3g} at {x1:.3g}, most {top:.3g}")
    parts += [f"{mark.name}: {mark.value:.3g} at {mark.place:.3g}" for mark in marks]
    return "; ".join(parts)
