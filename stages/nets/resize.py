"""The one way in which photos change their size on the way into a network."""

import math
from collections.abc import Sequence

from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from data.records import Photo

SEEN = 1 << 20
"""Pixels of the largest photo that is seen at its own size; it bounds the memory of a view."""


def resized(images: UInt8[Tensor, "b 3 h w"], scale: float) -> Float32[Tensor, "b 3 _h _w"]:
    """`images` at `scale`, sides rounded, bilinear with antialiasing; [0, 255]."""
    if scale == 1.0:
        return images.float()
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return functional.interpolate(
        images.float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )


def seen_at(photo: tuple[int, int], scale: float) -> float:
    """`scale` of a photo (height, width), brought down where it has more than `SEEN` pixels.

    A large photo is seen at every scale as though it had first been shrunk to that many.
    """
    return scale * min(1.0, math.sqrt(SEEN / math.prod(photo)))


def as_seen(images: UInt8[Tensor, "b 3 h w"], scale: float) -> Float32[Tensor, "b 3 _h _w"]:
    """`resized` at the scale at which photos of this size are seen; see `seen_at`."""
    return resized(images, seen_at((images.shape[-2], images.shape[-1]), scale))


def said_of_large(photos: Sequence[Photo]) -> str | None:
    """What to tell of photos that are seen smaller than they are, if there are any."""
    large = sum(math.prod(photo.size) > SEEN for photo in photos)
    if not large:
        return None
    most = f"{SEEN / 1e6:.1f} megapixels"
    return f"photos seen as though shrunk to {most}, since they are larger: {large}"
