"""A canvas that keeps photo and mask together, and a pen that draws one thing on it.

Whatever is painted with a label overwrites the mask where it covers at least half of a pixel, so
that masks are exact by construction. Coordinates on the canvas are (x, y) in pixels from the
top left; a pen's own are (u, v) with v upwards, in heights of the thing that it draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from data.scenes.texture import Texture

Colour = tuple[int, int, int]
Point = tuple[float | int, float | int]

BACKGROUND = 0
FINER = 4
"""Outlines are drawn at this multiple of the resolution and averaged: smooth edges."""


@dataclass(frozen=True)
class Outline:
    """A filled polygon, or a stroke along its points where `width` (pixels) is given."""

    points: Float[np.ndarray, "n 2"]
    width: float | None = None


class Canvas:
    """Photo and mask of one scene while it is being painted, back to front."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.colour: Float[np.ndarray, "h w 3"] = np.zeros((height, width, 3), np.float32)
        """RGB, 0..255."""
        self.label: UInt8[np.ndarray, "h w"] = np.zeros((height, width), np.uint8)
        self.rng = rng
        self.light = float(rng.choice([-1.0, 1.0]))
        """The side that the light comes from: -1 left, 1 right."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.label.shape[0], self.label.shape[1]

    def paint(
        self,
        outlines: Sequence[Outline],
        colour: Colour,
        *,
        label: int | None,
        opacity: float = 1.0,
        shade: float = 0.0,
        texture: Texture | None = None,
    ) -> None:
        """Paint the union of `outlines`.

        `label` is what the mask gets; None leaves it alone (shadows, reflections, glints).
        `shade` is the relative fall of brightness from the lit side to the other, `texture` a
        factor a pixel.
        """
        window = self._window(outlines)
        if window is None:
            return
        top, left, bottom, right = window
        cover = _cover(outlines, window) * np.float32(opacity)
        rows, columns = cover.shape
        tone = np.ones((rows, columns), np.float32)
        if shade:
            tone += shade * _slope(rows, columns, self.light)
        if texture is not None:
            tone *= texture(rows, columns, self.rng)
        paint = np.clip(tone[..., None] * np.asarray(colour, np.float32), 0, 255)
        part = self.colour[top:bottom, left:right]
        part += cover[..., None] * (paint - part)
        if label is not None:
            self.label[top:bottom, left:right][cover >= 0.5] = label

    def _window(self, outlines: Sequence[Outline]) -> tuple[int, int, int, int] | None:
        """(top, left, bottom, right) of what the outlines may touch; None outside the canvas."""
        height, width = self.size
        low = np.min([line.points.min(0) - (line.width or 0) for line in outlines], axis=0)
        high = np.max([line.points.max(0) + (line.width or 0) for line in outlines], axis=0)
        left, top = (max(0, int(np.floor(value)) - 1) for value in low)
        right = min(width, int(np.ceil(high[0])) + 1)
        bottom = min(height, int(np.ceil(high[1])) + 1)
        return (top, left, bottom, right) if top < bottom and left < right else None


def _cover(
    outlines: Sequence[Outline], window: tuple[int, int, int, int]
) -> Float[np.ndarray, "h w"]:
    """The share of every pixel of `window` that lies within the outlines, 0..1."""
    top, left, bottom, right = window
    fine = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER))
    draw = ImageDraw.Draw(fine)
    for line in outlines:
        points = [tuple(point) for point in ((line.points - (left, top)) * FINER).tolist()]
        if line.width is None:
            draw.polygon(points, fill=255)
        else:
            draw.line(points, fill=255, width=max(1, round(line.width * FINER)), joint="curve")
    return np.asarray(fine.reduce(FINER), np.float32) / 255


def _slope(rows: int, columns: int, light: float) -> Float[np.ndarray, "h w"]:
    """Brightness from 1 at the lit upper corner to -1 at the opposite one."""
    return (_ramp(rows)[:, None] - light * _ramp(columns)[None]) / 2


@lru_cache(maxsize=1024)
def _ramp(length: int) -> Float[np.ndarray, " length"]:
    return np.linspace(1, -1, length, dtype=np.float32)


@dataclass
class Pen:
    """Draws one thing: origin at the middle of its foot, one unit = its height in pixels."""

    canvas: Canvas
    x: float
    y: float
    height: float
    label: int | None
    turn: float = 0.0
    """Radians, against the clock."""
    mirror: bool = False
    aloft: bool = False
    """In the sky, with no ground to stand on."""
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = self.canvas.rng

    def place(self, points: Sequence[Point]) -> Float[np.ndarray, "n 2"]:
        """Own coordinates (u, v) to pixels (x, y)."""
        u, v = np.asarray(points, np.float64).T
        u = -u if self.mirror else u
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x, y = u * cos - v * sin, u * sin + v * cos
        return np.stack([self.x + self.height * x, self.y - self.height * y], axis=1)

    def fill(
        self,
        *shapes: Sequence[Point],
        colour: Colour,
        shade: float = 0.2,
        texture: Texture | None = None,
        opacity: float = 1.0,
        mark: bool = True,
    ) -> None:
        """Paint polygons as one surface; `mark` = False leaves the mask alone."""
        outlines = [Outline(self.place(shape)) for shape in shapes]
        label = self.label if mark else None
        self.canvas.paint(
            outlines, colour, label=label, opacity=opacity, shade=shade, texture=texture
        )

    def stroke(
        self,
        points: Sequence[Point],
        *,
        colour: Colour,
        width: float,
        opacity: float = 1.0,
        mark: bool = True,
    ) -> None:
        """Paint a line, `width` in heights of the thing."""
        line = Outline(self.place(points), width * self.height)
        label = self.label if mark else None
        self.canvas.paint([line], colour, label=label, opacity=opacity, shade=0.1)

    def shadow(self, radius: float, *, depth: float = 0.07, opacity: float = 0.4) -> None:
        """A cast shadow on the ground, away from the light. Paint it before the thing."""
        side = -self.canvas.light * (-1 if self.mirror else 1)
        shape = oval(side * radius * 0.4, 0.0, radius, depth)
        self.fill(shape, colour=(20, 25, 35), shade=0.0, opacity=opacity, mark=False)

    def pick(self, colours: Sequence[Colour], spread: int = 14) -> Colour:
        """One of `colours`, each channel moved by up to `spread` grey levels."""
        return near(colours[int(self.rng.integers(len(colours)))], self.rng, spread)


Draw = Callable[[Pen], None]


def near(colour: Colour, rng: np.random.Generator, spread: int) -> Colour:
    """A colour near the given one: lighter or darker, and a little of another hue."""
    moved = np.asarray(colour) + rng.integers(-spread, spread + 1) + rng.integers(-7, 8, 3)
    red, green, blue = np.clip(moved, 0, 255).tolist()
    return red, green, blue


def oval(u: float, v: float, ru: float, rv: float, turn: float = 0.0) -> list[Point]:
    """An ellipse around (u, v) with radii `ru` and `rv`, turned by `turn` radians."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    a, b = ru * np.cos(angle), rv * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return list(
        zip((u + a * cos - b * sin).tolist(), (v + a * sin + b * cos).tolist(), strict=True)
    )


def box(u0: float, v0: float, u1: float, v1: float) -> list[Point]:
    """An upright rectangle from one corner to the opposite one."""
    return [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]


def puff(
    u: float, v: float, ru: float, rv: float, *, rng: np.random.Generator, bumps: int, depth: float
) -> list[Point]:
    """An ellipse with a lobed border: wool, leaves, clouds. `depth` is the lobes' relative size."""
    angle = np.linspace(0, 2 * np.pi, 8 * bumps, endpoint=False)
    lobes = np.abs(np.sin(angle * bumps / 2 + rng.uniform(0, np.pi)))
    knots = np.linspace(0, 2 * np.pi, bumps + 1)
    swell = depth * np.interp(angle, knots, np.resize(rng.uniform(-1, 1, bumps), bumps + 1))
    radius = 1 - depth + depth * lobes + swell
    x, y = u + ru * radius * np.cos(angle), v + rv * radius * np.sin(angle)
    return list(zip(x.tolist(), y.tolist(), strict=True))
