"""Small pictures of photos, activation maps and labellings, as bytes that a page can hold."""

import base64
import io
from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, Integer, UInt8
from PIL import Image

from data.labels import ignored
from knowledge.classes import ClassTable

WASH = 0.62
"""How far a photo fades towards white where nothing is painted over it."""
HATCH = 5
"""Width of the stripes of ignored pixels."""

Rgb = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    uri: str
    """data: URI, JPEG."""
    alt: str
    width: int
    height: int
    bytes: int


def small_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of a picture whose longest side is at most `longest`."""
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def shrunk(image: Rgb, size: tuple[int, int]) -> Rgb:
    """A photo at (height, width) `size`."""
    made = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(made)


def shrunk_label(
    label: Integer[np.ndarray, "h w"], size: tuple[int, int]
) -> Integer[np.ndarray, "h2 w2"]:
    """A labelling at (height, width) `size`, by nearest neighbour."""
    return shrunk_regions(label, size)


def shrunk_regions(
    regions: Integer[np.ndarray, "h w"], size: tuple[int, int]
) -> Integer[np.ndarray, "h2 w2"]:
    """Numbers of regions at (height, width) `size`, by nearest neighbour."""
    rows, columns = (
        (np.arange(part) + 0.5) * full // part
        for full, part in zip(regions.shape, size, strict=True)
    )
    return regions[np.ix_(rows.astype(int), columns.astype(int))]


def colours(classes: ClassTable) -> UInt8[np.ndarray, "c1 3"]:
    """Red, green and blue of each label."""
    return np.array(classes.colours, np.uint8)


def paint_label(
    photo: Rgb, label: Integer[np.ndarray, "h w"], palette: UInt8[np.ndarray, "_ 3"]
) -> Rgb:
    """`label` over the faded `photo` of the same size; ignored pixels are hatched."""
    rows, columns = np.indices(label.shape)
    stripes = np.where((rows + columns) // HATCH % 2 == 0, 255, 176)[:, :, None]
    blank = ignored(label)
    coloured = 0.3 * photo + 0.7 * palette[np.where(blank, 0, label)]
    painted = np.where((label > 0)[:, :, None], coloured, _washed(photo))
    painted = np.where(blank[:, :, None], stripes, painted)
    return painted.round().astype(np.uint8)


def paint_cam(
    photo: Rgb,
    maps: Float32[np.ndarray, "k h w"],
    labels: tuple[int, ...],
    palette: UInt8[np.ndarray, "_ 3"],
) -> Rgb:
    """The strongest of `maps` (0..1) in the colour of its label, as opaque as it is high."""
    if not labels:
        return _washed(photo).round().astype(np.uint8)
    strongest = maps.argmax(axis=0)
    opacity = 0.9 * np.clip(maps.max(axis=0), 0, 1)[:, :, None]
    coloured = palette[np.array(labels)[strongest]]
    return ((1 - opacity) * _washed(photo) + opacity * coloured).round().astype(np.uint8)


def paint_regions(photo: Rgb, regions: Int64[np.ndarray, "h w"]) -> Rgb:
    """`regions` (a number a pixel) over the grey `photo` of the same size, with their borders.

    A number has the same colour on every photo; the colours mean nothing else.
    """
    grey = photo.mean(axis=2, keepdims=True)
    painted = 0.5 * grey + 0.5 * region_colours(int(regions.max()) + 1)[regions]
    border = np.zeros(regions.shape, bool)
    border[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    border[1:] |= regions[1:] != regions[:-1]
    return np.where(border[:, :, None], 0.4 * painted, painted).round().astype(np.uint8)


def region_colours(count: int) -> UInt8[np.ndarray, "count 3"]:
    """Well-parted colours: hues a golden section of the circle apart, in three brightnesses."""
    made = [hsv_to_rgb(k * 0.618034 % 1, 0.75, 1 - 0.2 * (k % 3)) for k in range(count)]
    return (255 * np.array(made)).round().astype(np.uint8)


def _washed(photo: Rgb) -> Float32[np.ndarray, "h w 3"]:
    grey = photo.mean(axis=2, keepdims=True)
    mixed: Float32[np.ndarray, "h w 3"] = ((1 - WASH) * (0.5 * photo + 0.5 * grey)) + WASH * 250
    return mixed.astype(np.float32)


def encoded(picture: Rgb, alt: str, *, quality: int) -> Picture:
    """`picture` as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    height, width = picture.shape[:2]
    return Picture(f"data:image/jpeg;base64,{text}", alt, width, height, len(text))


def matrix_picture(values: Float32[np.ndarray, "r c"], alt: str) -> Picture:
    """One pixel a cell, the more opaque the larger its value; for enlarging without smoothing.

    Drawn in one mid-tone that is seen on light and on dark pages.
    """
    top = float(values.max()) or 1.0
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = (43, 125, 190)
    pixels[..., 3] = (np.sqrt(np.clip(values / top, 0, 1)) * 255).round()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(
        f"data:image/png;base64,{text}", alt, values.shape[1], values.shape[0], len(text)
    )
