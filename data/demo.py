"""The demo data set: scenes of eight classes, drawn by the program, with tags and exact masks.

Made for the whole chain: parts that tell a class (a sail, a dark face) and parts that do not (a
hull, wool beside pale rocks) leave a class activation map incomplete; colour edges, shadows and
clutter give walk and CRF something to do; boats always lie on water, so that water leaks into
them; and classes meet as in life: boat and bird often, boat and car never (`data.scenes.setting`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from data.files import replacing
from data.labels import write_label
from data.records import Record, Split
from data.scenes.backdrop import Zones
from data.scenes.canvas import BACKGROUND, Canvas, Pen
from data.scenes.setting import CLUTTER, KINDS, SETTINGS, Kind, Setting
from data.scenes.texture import noise
from knowledge.classes import DEMO

ASPECTS = ((3, 4), (3, 4), (7, 8), (1, 1), (4, 3))
"""(height, width) in parts; the longer side is `size` or seven eighths of it."""
MOST_CLASSES = 4
SMALLEST = 0.004
"""Smallest visible share of the photo that a tagged class may have."""
BARE = (0.3, 0.88)
"""Smallest and largest share of background."""
ZOOM = (0.75, 1.35)
"""Smallest and largest size of all things in a scene, relative to their kind's."""
ATTEMPTS = 200


def write_scenes(out: Path, *, photos: int, val: int, size: int, seed: int) -> Iterator[Record]:
    """Draw `photos` training scenes and `val` more, longest side at most `size` pixels.

    Writes photos/<id>.jpg and masks/<id>.png below `out` and yields a record for each, sorted by
    id. The same arguments give the same bytes, and a scene does not depend on how many there are.
    Every class leads one scene in eight of each split.
    """
    splits: tuple[tuple[Split, int, int], ...] = (("train", photos, 0), ("val", val, 1))
    for split, count, stream in splits:
        for number in range(count):
            identity = f"{split}_{number:04d}"
            image, label = scene(size=size, lead=number % len(DEMO), key=(seed, stream, number))
            with replacing(out / "photos" / f"{identity}.jpg") as temporary:
                Image.fromarray(image).save(temporary, format="JPEG", quality=92, subsampling=0)
            write_label(out / "masks" / f"{identity}.png", label, DEMO)
            tags = tuple(DEMO.names[value - 1] for value in np.unique(label) if value)
            yield Record(identity, f"photos/{identity}.jpg", tags, split)


def scene(
    *, size: int, lead: int, key: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """One photo and its mask, decided by `key` alone.

    The class of 0-based index `lead` is in it. Scenes in which a class is all but hidden, or that
    are nearly full or empty, are drawn again.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([*key, attempt])
        canvas = _composed(_size(size, rng), DEMO.names[lead], rng)
        shares = np.bincount(canvas.label.reshape(-1), minlength=len(DEMO) + 1) / canvas.label.size
        visible = shares[1:][shares[1:] > 0]
        if (
            shares[lead + 1] >= SMALLEST
            and (visible >= SMALLEST).all()
            and len(visible) <= MOST_CLASSES
            and BARE[0] <= shares[BACKGROUND] <= BARE[1]
        ):
            return _developed(canvas), canvas.label
    raise RuntimeError(f"no scene of {DEMO.names[lead]} in {ATTEMPTS} attempts at size {size}")


def _size(size: int, rng: np.random.Generator) -> tuple[int, int]:
    """(height, width): one of few shapes, so that photos of one size are many."""
    high, wide = ASPECTS[int(rng.integers(len(ASPECTS)))]
    longest = size if rng.random() < 0.6 else size * 7 // 8
    scale = longest / max(high, wide)
    return round(high * scale), round(wide * scale)


class _Place(NamedTuple):
    """One thing of the scene to be: where its foot is, and what it will be."""

    row: float
    aloft: bool
    kind: Kind
    label: int


def _composed(size: tuple[int, int], lead: str, rng: np.random.Generator) -> Canvas:
    """Backdrop, then everything from back to front; what flies is behind what stands."""
    canvas = Canvas(*size, rng)
    setting = _setting(lead, rng)
    zones = setting.backdrop(canvas)
    zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
    taken: list[tuple[float, float]] = []
    for row, aloft, kind, label in _invited(setting, zones, lead, rng):
        depth = 1.0 if aloft else _depth(row, zones.horizon, size[0])
        height = kind.tall * min(size) * zoom * depth * float(rng.uniform(0.85, 1.2))
        x = _column(size[1], height * kind.wide, taken, rng)
        foot = row + height / 2 if aloft else row
        mirror = bool(rng.random() < 0.5)
        kind.draw(Pen(canvas, x, foot, height, label, mirror=mirror, aloft=aloft))
    return canvas


def _invited(setting: Setting, zones: Zones, lead: str, rng: np.random.Generator) -> list[_Place]:
    """Who comes, how many of each, on which rows; `lead` comes for certain."""
    places = []
    for guests, kinds in ((setting.guests, KINDS), (setting.clutter, CLUTTER)):
        for name, guest in guests.items():
            if name != lead and rng.random() >= guest.chance:
                continue
            label = DEMO.index(name) + 1 if name in DEMO else BACKGROUND
            for _ in range(int(rng.integers(1, guest.most + 1))):
                row = float(rng.uniform(*getattr(zones, guest.place)))
                places.append(_Place(row, guest.place == "sky", kinds[name], label))
    return sorted(places, key=lambda place: (not place.aloft, place.row))


def _setting(lead: str, rng: np.random.Generator) -> Setting:
    """A setting where `lead` may come, in proportion to how often it does."""
    homes = [setting for setting in SETTINGS.values() if lead in setting.guests]
    chances = np.array([setting.guests[lead].chance for setting in homes])
    return homes[int(rng.choice(len(homes), p=chances / chances.sum()))]


def _depth(row: float, horizon: int, height: int) -> float:
    """Relative size of what stands on `row`: smaller far away."""
    return 0.4 + 0.65 * (row - horizon) / (height - horizon)


def _column(
    width: int, wide: float, taken: list[tuple[float, float]], rng: np.random.Generator
) -> float:
    """Of four random columns, the one with the least overlap: things hide others, but not all."""
    best, least = 0.0, np.inf
    for x in rng.uniform(0.02, 0.98, 4) * width:
        overlap = sum(
            max(0.0, (wide + other) / 2 - abs(float(x) - middle)) for middle, other in taken
        )
        if overlap < least:
            best, least = float(x), overlap
    taken.append((best, wide))
    return best


def _developed(canvas: Canvas) -> UInt8[np.ndarray, "h w 3"]:
    """The canvas as a camera sees it: light, tint, blur and noise."""
    rng, (height, width) = canvas.rng, canvas.size
    colour = canvas.colour * _light(height, width, canvas)[..., None]
    colour *= np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    image = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.6))))
    grain = rng.standard_normal((height, width, 1)) + 0.5 * rng.standard_normal((height, width, 3))
    noisy = np.asarray(image, np.float32) + rng.uniform(2.0, 5.0) * grain
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _light(height: int, width: int, canvas: Canvas) -> Float[np.ndarray, "h w"]:
    """Brightness: a slope from the lit side, drifting shade and a darker rim."""
    rng = canvas.rng
    across = np.linspace(-canvas.light, canvas.light, width, dtype=np.float32)[None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = 1 - rng.uniform(0.0, 0.14) * across
    drift = 1 + rng.uniform(0.0, 0.08) * noise(height, width, rng, cell=64)
    rim = 1 - rng.uniform(0.0, 0.12) * (across**2 + down**2)
    return (slope * drift * rim * np.exp(rng.normal(0, 0.1))).astype(np.float32)
