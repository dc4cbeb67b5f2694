"""Geometry of a chart of named points with their spread, one point a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.reports.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Tick, widened

MARGIN = 0.08
"""Share of the range that is left free at either end, for the names."""
NAME_SPACE = 90.0
"""Drawing units to the right of a point that its name may need."""


@dataclass(frozen=True)
class Dot:
    """One point: `spread` up and down from `value`, None without one."""

    name: str
    place: float
    value: float
    spread: float | None = None
    kind: int = 1
    """Which colour: 1 or 2."""


@dataclass(frozen=True)
class DrawnDot:
    """A point in drawing units, y downwards."""

    name: str
    kind: int
    x: float
    y: float
    top: float
    bottom: float
    """Ends of its spread; both `y` without one."""
    left_of: bool
    """Whether its name stands to the left, where there is no room to the right."""


@dataclass(frozen=True)
class Scatter:
    """A chart of points in drawing units of a `width` x `height` box."""

    title: str
    across: str
    up: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    dots: tuple[DrawnDot, ...]
    ticks_across: tuple[Tick, ...]
    ticks_up: tuple[Tick, ...]
    description: str
    """What a reader without the picture is told."""


def scatter_chart(dots: Sequence[Dot], *, title: str, across: str, up: str) -> Scatter | None:
    """A chart of `dots`; None where there is none with finite numbers."""
    known = [d for d in dots if math.isfinite(d.place) and math.isfinite(d.value)]
    if not known:
        return None
    horizontal = _axis([d.place for d in known], LEFT, WIDTH - RIGHT)
    ends = [d.value + side * (d.spread or 0.0) for d in known for side in (-1, 1)]
    vertical = _axis(ends, HEIGHT - BOTTOM, TOP)
    return Scatter(
        title=title,
        across=across,
        up=up,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        dots=tuple(_drawn(dot, horizontal, vertical) for dot in known),
        ticks_across=horizontal.ticks(),
        ticks_up=vertical.ticks(),
        description="; ".join(f"{d.name}: {d.value:.3g} at {d.place:.3g}" for d in known),
    )


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = widened(min(values), max(values))
    margin = MARGIN * (high - low)
    return Axis(low - margin, high + margin, start, end)


def _drawn(dot: Dot, horizontal: Axis, vertical: Axis) -> DrawnDot:
    reach = dot.spread or 0.0
    x = horizontal.at(dot.place)
    return DrawnDot(
        name=dot.name,
        kind=dot.kind,
        x=x,
        y=vertical.at(dot.value),
        top=vertical.at(dot.value + reach),
        bottom=vertical.at(dot.value - reach),
        left_of=x > WIDTH - RIGHT - NAME_SPACE,
    )
