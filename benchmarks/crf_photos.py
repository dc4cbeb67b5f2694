"""Photos and scores that the dense CRF is measured on."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data.cams import Cam, read_cam
from data.demo import scene
from data.photos import read_photo
from knowledge.classes import DEMO

SHARED = Path(__file__).resolve().parents[2] / "shared/data/voc-fullsize-100/VOC2012/JPEGImages"
LABELS = (2, 3, 5, 21)
Scores = Float32[np.ndarray, "k h w"]


class Photo(NamedTuple):
    """A photo and the maps that its scores come from."""

    image: UInt8[np.ndarray, "h w 3"]
    maps: Float32[np.ndarray, "c h w"]


def photos_of(folder: Path | None, cams: Path | None, count: int) -> list[Photo]:
    """`count` photos, evenly spread over the sorted folder, each with 20 maps."""
    if folder is None:
        return _drawn(count)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    chosen = [paths[n * len(paths) // count] for n in range(min(count, len(paths)))]
    return [_photo(read_photo(path), paths, paths.index(path), cams) for path in chosen]


def _photo(
    image: UInt8[np.ndarray, "h w 3"], paths: Sequence[Path], place: int, cams: Path | None
) -> Photo:
    maps: list[np.ndarray] = []
    for step in range(len(paths)):
        path = paths[(place + step) % len(paths)]
        stored = cams / f"{path.stem}.npz" if cams else None
        if stored is None or not stored.exists() or len(maps) >= max(LABELS) - 1:
            break
        cam = read_cam(stored)
        here = Cam(cam.classes, cam.maps, (image.shape[0], image.shape[1]))
        maps += list(here.upsampled(here.normalised()) * np.float32(1 if step == 0 else 0.5))
    while len(maps) < max(LABELS) - 1:
        maps.append(_blob(image.shape[:2], seed=97 * place + len(maps)))
    return Photo(image.copy(), np.stack(maps[: max(LABELS) - 1]).astype(np.float32))


def _blob(size: tuple[int, int], *, seed: int) -> Float32[np.ndarray, "h w"]:
    """A soft spot, as an activation map has them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    centre, spread = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.1, 0.25, 2) * size
    squares = ((y - centre[0]) / spread[0]) ** 2 + ((x - centre[1]) / spread[1]) ** 2
    return (rng.uniform(0.4, 1) * np.exp(-squares / 2)).astype(np.float32)


def _drawn(count: int) -> list[Photo]:
    """Scenes of the demo, drawn large."""
    scenes = (scene(size=500, lead=n % len(DEMO), key=(0, 0, n))[0] for n in range(count))
    return [_photo(image, [Path("scene")], place, None) for place, image in enumerate(scenes)]


def energies(photo: Photo, labels: int) -> Scores:
    """-log of the background score and the first maps, as shares of the pixel."""
    maps = photo.maps[: labels - 1]
    scores = np.concatenate([np.full_like(maps[:1], 0.3), maps])
    return -np.log(np.clip(scores / scores.sum(axis=0), 1e-5, 1)).astype(np.float32)
