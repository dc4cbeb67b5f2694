"""Augmentation for training: scale, crop, flip and colour, one draw for photo, label and weight.

Nothing here touches a global random state: every draw comes from the generator that is handed in,
so that a sample is the same on any thread and in any worker process.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data.labels import ignore_in

MEAN_COLOUR = (124, 116, 104)
"""The mean of ImageNet, (0.485, 0.456, 0.406), in grey levels: what photos are padded with."""
NEAREST = InterpolationMode.NEAREST_EXACT
"""Plain "nearest", which torchvision takes for its Mask type, shifts labels by half a pixel."""


class Sample(NamedTuple):
    """One photo ready for a network, and what is known of its pixels."""

    image: UInt8[Tensor, "3 h w"]
    """RGB, 0..255."""
    label: Integer[Tensor, "h w"] | None = None
    """0 background, 1..C classes, the largest value of its type (255 of bytes) ignore."""
    weight: Float[Tensor, "h w"] | None = None
    """How much a pixel counts in the loss; 0 in padding."""


class Draw(NamedTuple):
    """What chance decided for one sample: a window of the photo and its place in the crop."""

    top: int
    left: int
    height: int
    width: int
    """Window in the photo, in pixels."""
    size: tuple[int, int]
    """(height, width) of the window once resized, at most the crop."""
    offset: tuple[int, int]
    """(rows, columns) of padding above and left of it."""
    flip: bool
    colour: tuple[float, float, float]
    """Factors of brightness, contrast and saturation."""


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, crop, flip and mild colour, jointly on photo, label and weight.

    The window is cut before it is resized, so that the cost follows the crop and not the photo.
    Where the scaled photo is smaller than the crop it lands at a random place, on the mean colour
    for the photo, ignored for the label and 0 for the weight (IRN pads so: jiwoon-ahn/irn,
    misc/imutils.py, random_crop). Photo and weight are resized bilinearly with antialiasing,
    labels by the nearest pixel.
    """

    crop: int
    """Side of the square result, in pixels."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor, drawn log-uniformly."""
    side: int | None = None
    """Longer side in pixels to which a photo is brought before `scale`; None keeps its own."""
    flip: bool = True
    """Mirror left and right in half of the draws."""
    jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation; 0 leaves colours alone."""
    mean: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        low, high = self.scale
        if self.crop < 1:
            raise ValueError(f"crop is {self.crop} pixels: it must be at least 1")
        if not 0 < low <= high:
            raise ValueError(f"scale runs from {low} to {high}: give 0 < lowest <= highest")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is {self.jitter}: give a share from 0 to below 1")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """One augmented sample of `crop` x `crop` pixels; `rng` decides everything random."""
        height, width = sample.image.shape[1:]
        draw = self.draw((height, width), rng)
        image = _cut(sample.image, draw)
        if self.jitter:
            image = _tinted(image, draw.colour)
        label = weight = None
        if sample.label is not None:
            blank = ignore_in(sample.label)
            label = self._padded(_cut(sample.label[None], draw, NEAREST), draw, fill=blank)[0]
        if sample.weight is not None:
            weight = self._padded(_cut(sample.weight[None], draw), draw, fill=0)[0]
        return Sample(self._padded(image, draw, fill=list(self.mean)), label, weight)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> Draw:
        """Decide window, place, mirroring and colour for a photo of `size` (height, width)."""
        low, high = self.scale
        factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if self.side is not None:
            factor *= self.side / max(size)
        rows = _axis(size[0], self.crop, factor, rng)
        columns = _axis(size[1], self.crop, factor, rng)
        flip = bool(rng.random() < 0.5) and self.flip
        shares = rng.uniform(-self.jitter, self.jitter, 3)
        colour = (1 + float(shares[0]), 1 + float(shares[1]), 1 + float(shares[2]))
        return Draw(
            top=rows[0],
            left=columns[0],
            height=rows[1],
            width=columns[1],
            size=(rows[2], columns[2]),
            offset=(rows[3], columns[3]),
            flip=flip,
            colour=colour,
        )

    def _padded(
        self, pixels: Shaped[Tensor, "k h w"], draw: Draw, *, fill: int | list[int]
    ) -> Shaped[Tensor, "k crop crop"]:
        (above, before), (height, width) = draw.offset, draw.size
        below, after = self.crop - height - above, self.crop - width - before
        if not (above or before or below or after):
            return pixels
        return F.pad(pixels, [before, above, after, below], fill=fill)


def _cut(
    pixels: Shaped[Tensor, "k h w"],
    draw: Draw,
    resample: InterpolationMode = InterpolationMode.BILINEAR,
) -> Shaped[Tensor, "k height width"]:
    """The drawn window, resized and perhaps mirrored."""
    pixels = F.crop(pixels, draw.top, draw.left, draw.height, draw.width)
    if draw.size != (draw.height, draw.width):
        pixels = F.resize(pixels, list(draw.size), interpolation=resample, antialias=True)
    return F.horizontal_flip(pixels) if draw.flip else pixels


def _axis(
    length: int, crop: int, factor: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Along one axis: start and length of the window, its resized length, padding before it."""
    scaled = max(1, round(length * factor))
    resized = min(scaled, crop)
    window = min(length, max(1, round(length * resized / scaled)))
    start = int(rng.integers(length - window + 1))
    padding = int(rng.integers(crop - resized + 1))
    return start, window, resized, padding


def _tinted(
    image: UInt8[Tensor, "3 h w"], colour: tuple[float, float, float]
) -> UInt8[Tensor, "3 h w"]:
    brightness, contrast, saturation = colour
    image = F.adjust_brightness(image, brightness)
    image = F.adjust_contrast(image, contrast)
    return F.adjust_saturation(image, saturation)
