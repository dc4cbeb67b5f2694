"""Textures: factors of brightness around 1 for every pixel of a surface."""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float
from PIL import Image

Texture = Callable[[int, int, np.random.Generator], Float[np.ndarray, "h w"]]
"""(rows, columns, generator) -> factor a pixel."""

FIELD = 512
"""Side of the noise fields in pixels; they repeat without a seam."""


@lru_cache(maxsize=32)
def noise_field(cell: int) -> Float[np.ndarray, "side side"]:
    """Smooth noise of mean 0 and deviation 1 whose features are about `cell` pixels wide."""
    count = max(2, FIELD // cell)
    coarse = np.random.default_rng(cell).standard_normal((count, count)).astype(np.float32)
    rim = 2  # of the other side, so that the resized field closes
    wide = np.pad(coarse, rim, mode="wrap")
    side = FIELD * (count + 2 * rim) // count
    image = Image.fromarray(wide).resize((side, side), Image.Resampling.BICUBIC)
    start = (side - FIELD) // 2
    field = np.asarray(image)[start : start + FIELD, start : start + FIELD]
    return (field - field.mean()) / field.std()


def noise(
    rows: int, columns: int, rng: np.random.Generator, *, cell: int
) -> Float[np.ndarray, "h w"]:
    """A random window of `noise_field`."""
    down = (np.arange(rows) + rng.integers(FIELD)) % FIELD
    across = (np.arange(columns) + rng.integers(FIELD)) % FIELD
    return noise_field(cell)[down[:, None], across]


def fractal(
    rows: int, columns: int, rng: np.random.Generator, *, cell: int, octaves: int = 3
) -> Float[np.ndarray, "h w"]:
    """Noise of several scales, each half as wide and 0.6 times as strong as the one before."""
    total = np.zeros((rows, columns), np.float32)
    for octave in range(octaves):
        size = max(1, cell >> octave)
        total += np.float32(0.6**octave) * noise(rows, columns, rng, cell=size)
    return total


def mottled(
    rows: int, columns: int, rng: np.random.Generator, *, cell: int = 4, strength: float = 0.12
) -> Float[np.ndarray, "h w"]:
    """Irregular patches: leaves, grass, plaster."""
    return 1 + strength * fractal(rows, columns, rng, cell=cell)


def woolly(
    rows: int, columns: int, rng: np.random.Generator, *, cell: int = 5, strength: float = 0.16
) -> Float[np.ndarray, "h w"]:
    """Curls: bright bumps with dark, narrow gaps."""
    bumps = np.abs(noise(rows, columns, rng, cell=cell))
    return 1 - strength + 2 * strength * np.minimum(bumps, 1)


def striped(
    rows: int,
    columns: int,
    rng: np.random.Generator,
    *,
    pitch: float,
    strength: float = 0.25,
    upright: bool = True,
) -> Float[np.ndarray, "h w"]:
    """Bands of two tones, `pitch` pixels a pair."""
    place = np.arange(columns if upright else rows, dtype=np.float32) + rng.uniform(0, pitch)
    tone = 1 + strength * np.where(place % pitch < pitch / 2, 1, -1).astype(np.float32)
    line = tone[None] if upright else tone[:, None]
    return np.broadcast_to(line, (rows, columns)).astype(np.float32)


def bricked(
    rows: int,
    columns: int,
    rng: np.random.Generator,
    *,
    pitch: float,
    strength: float = 0.22,
) -> Float[np.ndarray, "h w"]:
    """Courses of bricks or tiles `pitch` pixels high, every other one shifted; lighter joints."""
    y = np.arange(rows, dtype=np.float32)[:, None] + rng.uniform(0, pitch)
    course = np.floor(y / pitch)
    x = np.arange(columns, dtype=np.float32)[None] + course % 2 * pitch
    joint = (y % pitch < 0.9) | (x % (2 * pitch) < 0.9)
    tint = noise(rows, columns, rng, cell=4) * 0.05
    return (1 + tint + np.where(joint, strength, -strength / 4)).astype(np.float32)


def planked(
    rows: int, columns: int, rng: np.random.Generator, *, pitch: float
) -> Float[np.ndarray, "h w"]:
    """Horizontal boards with dark joints and some grain."""
    y = np.arange(rows, dtype=np.float32)[:, None] + rng.uniform(0, pitch)
    joint = np.where(y % pitch < 1, -0.22, 0.04).astype(np.float32)
    return 1 + joint + 0.05 * noise(rows, columns, rng, cell=3)


def receding(
    rows: int, columns: int, rng: np.random.Generator, *, cell: int, wide: float = 1.0
) -> Float[np.ndarray, "h w"]:
    """Noise on a plane that runs to a horizon above the first row: finer the farther away.

    `wide` > 1 stretches it sideways, as waves are. Mean 0, deviation about 1, fainter far away.
    """
    depth = np.linspace(0.12, 1, rows, dtype=np.float32)[:, None]
    across = (np.arange(columns, dtype=np.float32)[None] - columns / 2) / depth / wide
    down = np.broadcast_to(rows * 0.6 / depth, across.shape)
    y = np.floor(down + rng.integers(FIELD)).astype(np.int64) % FIELD
    x = np.floor(across + rng.integers(FIELD)).astype(np.int64) % FIELD
    return noise_field(cell)[y, x] * np.sqrt(depth)


LEAVES = partial(mottled, cell=3, strength=0.2)
CLOTH = partial(mottled, cell=3, strength=0.06)
PLASTER = partial(mottled, cell=6, strength=0.05)
WOOL = partial(woolly, cell=4, strength=0.15)
