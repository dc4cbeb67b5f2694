"""A small sgr head, maps for it to read, and labels with objects: what its tests share."""

import torch
from torch import Tensor, nn

from stages.nets.heads import HEADS
from stages.nets.heads.sgr import Sgr, SgrHead
from stages.nets.settings import HeadConfig, SgrConfig

CHANNELS, STRIDES = [8, 12, 16], [8, 16, 16]
SGR = SgrConfig(tokens=6, width=16, heads=4)
SMALL = HeadConfig(width=24, step_width=8, dilations=(1, 2), sgr=SGR)


def small(**settings: object) -> HeadConfig:
    return SMALL.model_copy(update={"sgr": SgrConfig(**{**SGR.model_dump(), **settings})})


def head_of(classes: int = 6, **settings: object) -> SgrHead:
    torch.manual_seed(0)
    head = HEADS["sgr"](CHANNELS, STRIDES, classes, small(**settings), None)
    assert isinstance(head, SgrHead)
    return head


def module(**settings: object) -> Sgr:
    """The module in eval mode with an open gate."""
    torch.manual_seed(0)
    sgr = Sgr(12, small(**settings).sgr).eval()
    nn.init.ones_(sgr.fuse.weight)
    return sgr


def labels(*size: int) -> Tensor:
    """Two objects of class 1 and one of class 2 on background, the top row ignored."""
    height, width = size
    made = torch.zeros(2, *size, dtype=torch.long)
    made[:, height // 4 : height // 2, : width // 3] = 1
    made[:, height // 4 : height // 2, width // 2 :] = 1
    made[0, height // 2 + 1 :] = 2
    made[:, :1] = 255
    return made


def maps(batch: int = 2, size: int = 4) -> list[Tensor]:
    """Backbone maps of photos of `size` x 16 pixels a side."""
    rng = torch.Generator().manual_seed(1)
    sides = [size * 16 // stride for stride in STRIDES]
    return [
        torch.randn(batch, c, s, s, generator=rng) for c, s in zip(CHANNELS, sides, strict=True)
    ]
