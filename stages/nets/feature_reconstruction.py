"""Feature reconstruction of ECENet (arXiv 2308.12894): intrinsic and diverse features of a map.

After the released inference head. It is a ghost module (Han et al. 2020, arXiv 1911.11907) whose
cheap half is gated by its own mean; a loss keeps the channels of that half apart.
"""

import torch
from jaxtyping import Float
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from stages.nets.batch_norm import BatchNorm


class FeatureReconstruction(nn.Module):
    """One map of a backbone to a map of `width` channels at the same stride.

    The gate reads the mean of a batch-normalised map: a training batch of one photo has a mean of
    0 there, and the diverse half falls silent. Train with two photos or more.
    """

    def __init__(self, channels: int, width: int) -> None:
        """`channels` of the backbone's map; any number from 1 (odd ones lose their last half)."""
        super().__init__()
        half, quarter = max(1, channels // 2), max(1, channels // 4)
        self.intrinsic = nn.Sequential(nn.Conv2d(channels, half, 1, bias=False), BatchNorm(half))
        self.diverse = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False), BatchNorm(half)
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(half, quarter, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(quarter, half, 1, bias=False),  # no sigmoid: any real factor
        )
        self.join = nn.Conv2d(2 * half, channels, 1, bias=False)
        self.norm = LayerNorm2d(channels, eps=1e-5)
        self.lateral = nn.Conv2d(channels, width, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b width h w"], Float[Tensor, "b half h w"]]:
        """The reconstructed map, and its diverse half for `lack_of_diversity`."""
        intrinsic = self.intrinsic(x)
        diverse = self.diverse(intrinsic)
        diverse = diverse * self.gate(diverse)
        joined = self.join(torch.cat([diverse, intrinsic], dim=1))
        return self.lateral(self.norm(joined)), diverse


def lack_of_diversity(diverse: Float[Tensor, "b n h w"]) -> Float[Tensor, ""]:
    """1 - (number of places that the channels look at) / n: 0 for n places, 1 - 1/n for one.

    The diversity half of the mutual-channel loss (Chang et al. 2020, arXiv 2002.04264): every
    channel is a softmax over pixels, and their maximum sums to 1 where all channels are alike and
    to n where each has its own pixel. The head's own diversity loss is not public.
    """
    places = diverse.float().flatten(2).softmax(dim=2)  # b n hw, sums to 1 over pixels
    return 1 - places.amax(dim=1).sum(dim=1).mean() / diverse.shape[1]
