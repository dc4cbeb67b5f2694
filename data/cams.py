"""Class activation maps on disk: the photo's own classes, a quarter of its size, one byte a value.

A map keeps its own maximum as float32, so that neither the scale between classes nor that between
photos is lost; what normalisation a stage wants, it does itself and by name.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, Integer, UInt8

from data.files import replacing
from data.labels import label_type

SCALE = 4  # photo pixels per map pixel
EPSILON = 1e-5  # of the usual normalisation by the maximum (IRN, step/make_cam.py)


def map_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the maps of a photo of (height, width) `size`: a quarter, rounded up."""
    height, width = size
    return -(-height // SCALE), -(-width // SCALE)


@dataclass(frozen=True)
class Cam:
    """The activation maps of one photo.

    `classes`: 0-based class indices of the photo's tags, ascending. `maps`: one map a class, at
    least 0, not normalised; it covers the whole photo (`align_corners=False`). `size`: (height,
    width) of the photo in pixels. `background`: where the maps are probabilities, that of the
    background, which adds up with them to 1 in every cell; None for activations, which know no
    background.
    """

    classes: Int[np.ndarray, " k"]
    maps: Float32[np.ndarray, "k h4 w4"]
    size: tuple[int, int]
    background: Float32[np.ndarray, "h4 w4"] | None = None

    @property
    def labels(self) -> Integer[np.ndarray, " k1"]:
        """What `scores` belong to: 0 for the background, then each class's label."""
        named = np.concatenate([[0], self.classes + 1])
        return named.astype(label_type(int(named[-1])))

    def scores(self) -> Float32[np.ndarray, "k1 h4 w4"]:
        """What the labels compete with, background first.

        Activations: each map divided by its own maximum, beside a background of 1 that a threshold
        is to scale. Probabilities: as they are, but not below half a step of their byte, since an
        energy is the logarithm.
        """
        if self.background is None:
            return np.concatenate(
                [np.ones((1, *map_size(self.size)), np.float32), self.normalised()]
            )
        maps = np.concatenate([self.background[None], self.maps])
        return np.maximum(maps, maps.max(axis=(1, 2), keepdims=True) / 510)

    def normalised(self) -> Float32[np.ndarray, "k h4 w4"]:
        """Each map divided by its own maximum + 1e-5: values in [0, 1)."""
        top = self.maps.max(axis=(1, 2), keepdims=True, initial=0.0)
        return (self.maps / (top + np.float32(EPSILON))).astype(np.float32)

    def upsampled(self, maps: Float32[np.ndarray, "k h4 w4"]) -> Float32[np.ndarray, "k H W"]:
        """`maps` at the photo's size, bilinear, `align_corners=False` (as `F.interpolate`)."""
        rows, columns = self.size
        low, high, part = _taps(maps.shape[1], rows)
        tall = maps[:, low] * (1 - part)[:, None] + maps[:, high] * part[:, None]
        low, high, part = _taps(maps.shape[2], columns)
        return tall[:, :, low] * (1 - part) + tall[:, :, high] * part


def _taps(
    source: int, target: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """For each target pixel the two source pixels around its centre and the upper one's share."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    centre = np.clip(centre, 0, source - 1)
    low = np.floor(centre).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (centre - low).astype(np.float32)


def write_cam(path: Path, cam: Cam) -> None:
    """Write `cam` as npz, atomically: one byte a value, of 255 steps up to the map's own maximum.

    Raises `ValueError` for values that are negative or not finite and for classes out of order.
    """
    maps = cam.maps if cam.background is None else np.concatenate([cam.maps, cam.background[None]])
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise ValueError(f"the maps for {path} hold negative or non-finite values")
    if len(cam.classes) != len(cam.maps) or (np.diff(cam.classes) <= 0).any():
        raise ValueError(f"the classes for {path} are not one a map in ascending order")
    steps, top = _in_steps(maps)
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            classes=cam.classes.astype(np.int32),
            maps=steps,
            maxima=top,
            size=np.asarray(cam.size, dtype=np.int32),
        )


def rounded(cam: Cam) -> Cam:
    """`cam`, of activations, as it comes back from its file."""
    return replace(cam, maps=_from_steps(*_in_steps(cam.maps)).astype(np.float32))


def _in_steps(
    maps: Float32[np.ndarray, "k h4 w4"],
) -> tuple[UInt8[np.ndarray, "k h4 w4"], Float32[np.ndarray, " k"]]:
    """Maps in 255 steps up to the maximum of each, and those maxima."""
    top = maps.max(axis=(1, 2), initial=0.0).astype(np.float32)
    safe = np.where(top > 0, top, np.float32(1)).astype(np.float64)[:, None, None]
    return np.rint(maps / safe * 255).astype(np.uint8), top


def _from_steps(
    steps: UInt8[np.ndarray, "k h4 w4"], top: Float32[np.ndarray, " k"]
) -> Float32[np.ndarray, "k h4 w4"]:
    return steps.astype(np.float32) * (top[:, None, None] / 255)


def read_cam(path: Path) -> Cam:
    """Read what `write_cam` wrote; `FileNotFoundError`, or `ValueError` naming a damaged file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            maps = _from_steps(file["maps"], file["maxima"])
            height, width = (int(n) for n in file["size"])
            classes = file["classes"].astype(np.int64)
            if len(maps) not in (len(classes), len(classes) + 1):
                raise ValueError(f"{len(maps)} maps for {len(classes)} classes")
            maps, rest = maps[: len(classes)].astype(np.float32), maps[len(classes) :]
            background = rest[0].astype(np.float32) if len(rest) else None
            return Cam(classes, maps, (height, width), background)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no activation map file ({error}): make it again") from error


def fitting_cam(path: Path, size: tuple[int, int]) -> Cam:
    """`read_cam`, of a photo of (height, width) `size`; ValueError naming the file otherwise."""
    cam = read_cam(path)
    if cam.size != size:
        raise ValueError(
            f"{path} is of a photo of {cam.size} pixels (height, width), the photo has {size}: the "
            "photo changed since, index it again"
        )
    return cam
