"""Geometry of a chart of named points with their spread, one point a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stages.reports.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Tick, widened

MARGIN = 0.08
"""Share of the range that is left free at either end, for the names."""
NAME_SPACE = 90.0
"""Drawing units beside a point that its name may need."""
LINE = 12.0
"""Drawing units from one line of names to the next."""


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
    name_y: float
    """Height of its name: that of the point, moved where another name would be in the way."""


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
        dots=_named([_drawn(dot, horizontal, vertical) for dot in known]),
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
        name_y=vertical.at(dot.value),
    )


def _named(dots: Sequence[DrawnDot]) -> tuple[DrawnDot, ...]:
    """The dots with names moved down, from the top on, below those that they would cover."""
    placed: dict[int, DrawnDot] = {}
    for place in sorted(range(len(dots)), key=lambda n: (dots[n].y, dots[n].x)):
        dot, near = dots[place], NAME_SPACE
        above = [o.name_y for o in placed.values() if abs(o.x - dot.x) < near]
        y = max([dot.y, *(other + LINE for other in above if other > dot.y - LINE)])
        placed[place] = replace(dot, name_y=round(y, 2))
    return tuple(placed[place] for place in range(len(dots)))
