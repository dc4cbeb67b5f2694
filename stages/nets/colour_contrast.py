"""Boundaries without learning: where the colour of a photo changes."""

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from data.cams import map_size


def colour_boundary(image: UInt8[Tensor, "3 h w"], *, contrast: float) -> Float32[Tensor, "h4 w4"]:
    """1 - exp(-|change of colour over two cells| / contrast), on a grid of a quarter of the photo.

    image: RGB in 0..255, averaged over each cell first, so that noise is no boundary. The change is
    the larger one of across and down, as a distance in RGB; `contrast` is in the same unit.
    """
    size = map_size((image.shape[1], image.shape[2]))
    cells = functional.interpolate(
        image[None].float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    around = functional.pad(cells, (1, 1, 1, 1), mode="replicate")[0]
    across = (around[:, 1:-1, 2:] - around[:, 1:-1, :-2]).norm(dim=0)
    down = (around[:, 2:, 1:-1] - around[:, :-2, 1:-1]).norm(dim=0)
    return 1 - torch.exp(-torch.maximum(across, down) / contrast)
