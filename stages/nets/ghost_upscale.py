"""Enlarging a map by powers of two: ghost features, then pixels from channels (ECENet's way)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from stages.nets.batch_norm import BatchNorm


class GhostUpscale(nn.Module):
    """Twice the height and width, as many channels.

    A 1x1 and a depthwise 3x3 convolution give four channels for one; the four become the four
    pixels in place of one. After the released inference head of ECENet (arXiv 2308.12894); the
    shuffle is that of Shi et al. 2016 (arXiv 1609.05158).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        double = 2 * width
        self.primary = _layer(nn.Conv2d(width, double, 1, bias=False))
        self.cheap = _layer(nn.Conv2d(double, double, 3, padding=1, groups=double, bias=False))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
        primary = self.primary(x)
        return pixel_shuffle(torch.cat([primary, self.cheap(primary)], dim=1), 2)


def _layer(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, BatchNorm(conv.out_channels), nn.ReLU(inplace=True))
