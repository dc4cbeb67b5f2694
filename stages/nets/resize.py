"""The one way in which photos change their size on the way into a network."""

from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional


def resized(images: UInt8[Tensor, "b 3 h w"], scale: float) -> Float32[Tensor, "b 3 _h _w"]:
    """`images` at `scale`, sides rounded, bilinear with antialiasing; [0, 255]."""
    if scale == 1.0:
        return images.float()
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return functional.interpolate(
        images.float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
