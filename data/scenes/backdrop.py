"""Where the demo's scenes play: sky, hills, sea, beach, meadow, street. All of it is background."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data.scenes.canvas import BACKGROUND, Canvas, Colour, Outline, near, oval, puff
from data.scenes.texture import LEAVES, fractal, mottled, noise, receding

Band = tuple[float | int, float | int]
"""Rows (far, near) where the feet of things may stand, in pixels."""


class Zones(NamedTuple):
    """Where things find their place in a scene."""

    horizon: int
    """Row where the ground begins."""
    sky: Band
    water: Band = (0, 0)
    ground: Band = (0, 0)
    road: Band = (0, 0)


SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((84, 144, 214), (190, 218, 238)),
    ((116, 166, 216), (224, 232, 236)),
    ((164, 176, 190), (216, 220, 222)),
    ((94, 106, 160), (250, 196, 150)),
    ((60, 116, 190), (246, 226, 190)),
)
GRASS: tuple[Colour, ...] = ((96, 146, 64), (122, 156, 70), (84, 128, 60), (168, 162, 88))
WATERS: tuple[Colour, ...] = ((52, 104, 148), (64, 128, 150), (82, 112, 128), (40, 88, 130))
SANDS: tuple[Colour, ...] = ((224, 204, 156), (210, 188, 146), (232, 216, 180))
STONES: tuple[Colour, ...] = ((112, 112, 116), (96, 98, 104), (128, 124, 120))
FAR = partial(mottled, cell=4, strength=0.04)
HILLS: tuple[Colour, ...] = ((104, 132, 124), (126, 146, 158), (92, 122, 88))
WOODS: tuple[Colour, ...] = ((74, 106, 72), (92, 118, 78), (66, 94, 82))


def open_sea(canvas: Canvas) -> Zones:
    """Water to the horizon."""
    height, _ = canvas.size
    horizon = _sky(canvas, 0.3, 0.5)
    if canvas.rng.random() < 0.6:
        _ridge(canvas, horizon, 0.08)
    _water(canvas, horizon, height)
    return Zones(
        horizon, sky=(0.12 * height, horizon - 4), water=(horizon + 0.1 * height, 0.95 * height)
    )


def beach(canvas: Canvas) -> Zones:
    """A strip of sea behind sand."""
    height, width = canvas.size
    horizon = _sky(canvas, 0.3, 0.42)
    shore = int(horizon + canvas.rng.uniform(0.14, 0.22) * height)
    _water(canvas, horizon, height)
    _floor(canvas, shore, _pick(canvas, SANDS), cell=3, strength=0.05, wave=3.0)
    foam = np.linspace(-4, width + 4, 24)
    edge = shore + canvas.rng.uniform(-1.0, 2.5, 24)
    line = Outline(np.stack([foam, edge], axis=1), 2.0)
    canvas.paint([line], (240, 244, 244), label=None, opacity=0.7)
    return Zones(
        horizon,
        sky=(0.12 * height, horizon - 3),
        water=(horizon + 0.06 * height, shore - 1),
        ground=(shore + 0.1 * height, 0.97 * height),
    )


def meadow(canvas: Canvas) -> Zones:
    """Grass, with hills or a wood far away."""
    height, _ = canvas.size
    horizon = _sky(canvas, 0.28, 0.48)
    if canvas.rng.random() < 0.75:
        _ridge(canvas, horizon, 0.14)
    if canvas.rng.random() < 0.55:
        _woods(canvas, horizon)
    _floor(canvas, horizon, _pick(canvas, GRASS), cell=3, strength=0.13, wave=2.0)
    _tufts(canvas, horizon)
    return Zones(
        horizon,
        sky=(0.12 * height, horizon - 3),
        ground=(horizon + 0.08 * height, 0.97 * height),
    )


def street(canvas: Canvas) -> Zones:
    """A road across the scene, pavement and gardens behind it."""
    height, width = canvas.size
    horizon = _sky(canvas, 0.3, 0.44)
    if canvas.rng.random() < 0.7:
        _woods(canvas, horizon)
    _floor(canvas, horizon, _pick(canvas, GRASS), cell=3, strength=0.12, wave=1.0)
    kerb = int(horizon + canvas.rng.uniform(0.16, 0.24) * height)
    pale = _pick(canvas, ((172, 166, 158), (150, 148, 146)))
    _floor(canvas, kerb, pale, cell=4, strength=0.05)
    road = int(kerb + 0.1 * height)
    _floor(canvas, road, _pick(canvas, STONES), cell=2, strength=0.07)
    middle = (road + height) / 2 + 0.08 * height
    dash = 0.16 * width
    for start in np.arange(canvas.rng.uniform(-dash, 0), width, 2 * dash):
        stripe = np.array([[start, middle], [start + dash, middle]])
        canvas.paint([Outline(stripe, 2.0)], (232, 228, 210), label=BACKGROUND, opacity=0.8)
    return Zones(
        horizon,
        sky=(0.12 * height, horizon - 3),
        ground=(horizon + 0.05 * height, kerb + 0.06 * height),
        road=(road + 0.06 * height, 0.95 * height),
    )


def hilltop(canvas: Canvas) -> Zones:
    """Mostly sky; a low line of grass."""
    height, _ = canvas.size
    horizon = _sky(canvas, 0.7, 0.84)
    if canvas.rng.random() < 0.6:
        _ridge(canvas, horizon, 0.1)
    _floor(canvas, horizon, _pick(canvas, GRASS), cell=3, strength=0.13, wave=4.0)
    _tufts(canvas, horizon)
    return Zones(
        horizon,
        sky=(0.14 * height, 0.92 * horizon),
        ground=(horizon + 0.06 * height, 0.98 * height),
    )


def _pick(canvas: Canvas, colours: tuple[Colour, ...]) -> Colour:
    return near(colours[int(canvas.rng.integers(len(colours)))], canvas.rng, 12)


def _sky(canvas: Canvas, low: float, high: float) -> int:
    """Fill the sky from the top to a random horizon; return its row."""
    height, _ = canvas.size
    horizon = int(height * canvas.rng.uniform(low, high))
    top, bottom = SKIES[int(canvas.rng.integers(len(SKIES)))]
    above, below = (
        np.asarray(near(colour, canvas.rng, 10), np.float32) for colour in (top, bottom)
    )
    fall = np.linspace(0, 1, horizon, dtype=np.float32)[:, None, None]
    canvas.colour[:horizon] = above + fall * (below - above)
    canvas.colour[horizon:] = below  # shows through where the ground begins a little lower
    if canvas.rng.random() < 0.3:
        _sun(canvas, horizon)
    if canvas.rng.random() < 0.8:
        _clouds(canvas, horizon)
    return horizon


def _sun(canvas: Canvas, horizon: int) -> None:
    _, width = canvas.size
    side = 0.5 + 0.5 * canvas.light * canvas.rng.uniform(0.3, 0.9)
    x, y = side * width, canvas.rng.uniform(0.15, 0.7) * horizon
    for radius, opacity in ((0.16, 0.16), (0.11, 0.25), (0.065, 0.95)):
        disc = np.asarray(oval(x, y, radius * width, radius * width))
        canvas.paint([Outline(disc)], (255, 244, 200), label=None, opacity=opacity)


def _clouds(canvas: Canvas, horizon: int) -> None:
    """Soft clouds from thresholded noise, flatter than wide."""
    _, width = canvas.size
    tall = fractal(2 * horizon, width, canvas.rng, cell=int(canvas.rng.choice([24, 32, 48])))
    amount = canvas.rng.uniform(0.2, 1.0)
    cover = np.clip(tall[::2] - 1.0 + amount, 0, 1)[..., None] * np.float32(0.85)
    light = np.float32(np.clip(canvas.rng.normal(244, 8), 215, 255))
    canvas.colour[:horizon] += cover * (light - canvas.colour[:horizon])


def _ridge(canvas: Canvas, horizon: int, rise: float) -> None:
    """One to three ranges of hills; the farther, the paler."""
    height, width = canvas.size
    across = np.arange(-2, width + 3, 2.0)
    colour = np.asarray(_pick(canvas, HILLS), np.float32)
    layers = int(canvas.rng.integers(1, 4))
    for layer in range(layers):
        profile = noise(1, len(across), canvas.rng, cell=int(canvas.rng.choice([16, 32])))[0]
        share = 1 - layer / (layers + 0.5)
        top = horizon - height * rise * share * (0.75 + 0.3 * profile)
        points = np.concatenate(
            [
                np.stack([across, np.minimum(top, horizon)], axis=1),
                [[width + 4, horizon + 6], [-4, horizon + 6]],
            ]
        )
        haze = 0.6 * share
        red, green, blue = (
            (colour + haze * (np.array([196, 208, 220]) - colour)).astype(int).tolist()
        )
        canvas.paint([Outline(points)], (red, green, blue), label=BACKGROUND, texture=FAR)


def _woods(canvas: Canvas, horizon: int) -> None:
    """A far edge of a wood: crowns without trunks, and no class."""
    height, width = canvas.size
    colour = _pick(canvas, WOODS)
    start, end = sorted(canvas.rng.uniform(-0.3, 1.3, 2) * width)
    crowns = []
    for x in np.arange(start, max(end, start + 0.3 * width), 0.045 * width):
        size = height * float(canvas.rng.uniform(0.03, 0.07))
        crown = puff(float(x), horizon - size / 3, size, size, rng=canvas.rng, bumps=7, depth=0.12)
        crowns.append(Outline(np.asarray(crown)))
    canvas.paint(crowns, colour, label=BACKGROUND, shade=0.1, texture=LEAVES)


def _water(canvas: Canvas, top: int, bottom: int) -> None:
    """Waves that grow towards the viewer, the sky's colour far away, glints."""
    rows, columns = bottom - top, canvas.size[1]
    colour = np.asarray(_pick(canvas, WATERS), np.float32)
    waves = receding(rows, columns, canvas.rng, cell=4, wide=3.5)
    waves += 0.6 * receding(rows, columns, canvas.rng, cell=8, wide=3.0)
    fall = np.linspace(0.55, 0, rows, dtype=np.float32)[:, None, None]
    sky = canvas.colour[max(0, top - 2)].mean(0)
    plain = colour + fall * (sky - colour)
    canvas.colour[top:bottom] = plain * (1 + 0.09 * waves[..., None])
    glint = np.clip(waves - 1.5, 0, 1)[..., None] * np.float32(0.4)
    canvas.colour[top:bottom] += glint * (255 - canvas.colour[top:bottom])


def _floor(
    canvas: Canvas, top: int, colour: Colour, *, cell: int, strength: float, wave: float = 0.0
) -> None:
    """Ground from a slightly wavy edge at `top` down to the lower border."""
    height, columns = canvas.size
    start = max(0, top - int(wave) - 1)
    rows = height - start
    grain = receding(rows, columns, canvas.rng, cell=cell)
    grain += 0.7 * receding(rows, columns, canvas.rng, cell=8 * cell, wide=1.5)
    grain += 0.5 * noise(rows, columns, canvas.rng, cell=2)
    lit = np.linspace(1.08, 0.92, rows, dtype=np.float32)[:, None]
    plain = np.asarray(colour, np.float32) * (lit * (1 + strength * grain))[..., None]
    edge = top + wave * noise(1, columns, canvas.rng, cell=32)
    cover = _below(edge[0], start, rows)
    canvas.colour[start:] += cover[..., None] * (plain - canvas.colour[start:])


def _below(edge: Float[np.ndarray, " w"], start: int, rows: int) -> Float[np.ndarray, "rows w"]:
    """The share of each pixel under `edge` (row of the border in every column), 0..1."""
    row = np.arange(start, start + rows, dtype=np.float32)[:, None]
    return np.clip(row + 0.5 - edge[None], 0, 1).astype(np.float32)


def _tufts(canvas: Canvas, horizon: int) -> None:
    """Blades and flowers, larger towards the viewer."""
    height, width = canvas.size
    flower = _pick(canvas, ((240, 236, 220), (236, 206, 80), (206, 96, 120), (150, 120, 200)))
    for _ in range(int(canvas.rng.integers(8, 26))):
        depth = canvas.rng.uniform(0.1, 1)
        x, y = canvas.rng.uniform(0, width), horizon + depth * (height - horizon)
        tall = (0.012 + 0.03 * depth) * height
        lean = canvas.rng.uniform(-1, 1) * tall
        blade = Outline(np.array([[x, y], [x + lean / 2, y - tall]]), max(0.5, tall / 5))
        canvas.paint([blade], (70, 108, 48), label=None, opacity=0.7)
        if canvas.rng.random() < 0.4:
            dot = np.asarray(oval(x + lean / 2, y - tall, tall / 4, tall / 4))
            canvas.paint([Outline(dot)], flower, label=None, opacity=0.9)
