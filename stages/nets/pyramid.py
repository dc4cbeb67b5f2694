"""Feature pyramid of one width from whatever maps a backbone gives, each level twice the next.

Lateral 1x1 convolutions after FPN (Lin et al. 2017, arXiv 1612.03144), without its top-down sum,
which is a head's own matter; finer levels of a plain vision transformer by transposed convolutions,
as in the simple feature pyramid of ViTDet (Li et al. 2022, arXiv 2203.16527).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stages.nets.batch_norm import BatchNorm

COARSEST = 32
"""Stride, in pixels, that the pyramid goes up to, or the backbone's last where that is larger."""


class Pyramid(nn.Module):
    """Maps `b width h w`, all >= 0, fine to coarse; a level's stride is twice the one before.

    A level whose stride the backbone has is a 1x1 convolution with norm and ReLU of its maps, all
    of them concatenated. A finer level is made from the level after it by a transposed 2x2
    convolution; a missing coarser one from the level before it by 2x2 mean pooling and a 1x1
    convolution. Pooling rounds up: of an odd map, the last cell is the mean of what is there.

    strides: of the levels. levels: the backbone maps that are read.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, width: int, finest: int
    ) -> None:
        """`channels` and `strides` of the backbone's maps; `finest`: smallest stride of a level.

        Raises ValueError where no map of the backbone has a stride that fits.
        """
        super().__init__()
        self.strides = _strides(strides[-1], finest)
        self.sources = [
            tuple(i for i, stride in enumerate(strides) if stride == wanted)
            for wanted in self.strides
        ]
        given = [place for place, maps in enumerate(self.sources) if maps]
        if not given:
            raise ValueError(
                f"a pyramid from stride {finest} on has no level at the backbone's strides "
                f"{[*strides]}: take a backbone with a map of stride {finest} or more"
            )
        self.first = given[0]
        self.levels = tuple(i for maps in self.sources for i in maps)
        self.standard = nn.ModuleList()
        self.laterals = nn.ModuleList()
        for place, maps in enumerate(self.sources):
            inputs = sum(channels[i] for i in maps) or width
            # Maps of one backbone differ in scale by far; standardised, they weigh alike.
            several = BatchNorm(inputs, affine=False) if len(maps) > 1 else nn.Identity()
            self.standard.append(several)
            up = nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
            conv = up if place < self.first else nn.Conv2d(inputs, width, 1, bias=False)
            self.laterals.append(nn.Sequential(conv, BatchNorm(width), nn.ReLU(inplace=True)))

    def forward(self, features: Sequence[Tensor]) -> list[Float[Tensor, "b width _h _w"]]:
        """The levels, from all maps of the backbone (those not in `levels` may be anything)."""
        built: dict[int, Tensor] = {}
        for place in range(self.first, len(self.sources)):
            maps = [features[i] for i in self.sources[place]]
            if maps:
                x = self.standard[place](maps[0] if len(maps) == 1 else torch.cat(maps, dim=1))
            else:
                x = functional.avg_pool2d(built[place - 1], 2, ceil_mode=True)
            built[place] = self.laterals[place](x)
        for place in range(self.first - 1, -1, -1):
            built[place] = self.laterals[place](built[place + 1])
        return [built[place] for place in range(len(self.sources))]


def _strides(last: int, finest: int) -> list[int]:
    """Whole strides from `finest` to COARSEST by doubling, `last` being one of them."""
    strides = [last]
    while strides[0] % 2 == 0 and strides[0] // 2 >= finest:
        strides.insert(0, strides[0] // 2)
    while strides[-1] * 2 <= COARSEST:
        strides.append(strides[-1] * 2)
    return [stride for stride in strides if stride >= finest]
