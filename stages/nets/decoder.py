"""The small decoder that the heads `none`, `grm` and `sgr` share: a light ASPP and one finer step.

Atrous spatial pyramid pooling after Chen et al. 2017 (arXiv 1706.05587), with depthwise branches,
and the low-level step of DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611), at a size that trains on
a CPU.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from stages.nets.batch_norm import BatchNorm
from stages.nets.settings import HeadConfig


class Decoder(nn.Module):
    """Backbone maps to one map `b width h w`, ready for a 1x1 classifier.

    All maps at the coarsest stride are concatenated (at output stride 16 a ResNet gives two of
    them); the next finer map comes in by a step up, unless `config.step_width` is 0.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], config: HeadConfig) -> None:
        super().__init__()
        if any(a > b for a, b in pairwise(strides)):
            raise ValueError(f"backbone maps must go from fine to coarse, not strides {[*strides]}")
        self.levels = levels_read(strides, config)
        """The backbone maps that are read: a cache of features holds these and no others."""
        self.deep = [i for i in self.levels if strides[i] == strides[-1]]
        self.step = self.levels[0] if strides[self.levels[0]] < strides[-1] else None
        self.stride = strides[-1] if self.step is None else strides[self.step]
        self.width = config.width + (0 if self.step is None else config.step_width)
        inputs = sum(channels[i] for i in self.deep)
        # Levels of one backbone differ in scale by far; standardised, they weigh alike.
        self.standard = BatchNorm(inputs, affine=False)
        self.dropout = nn.Dropout2d(config.dropout)
        self.reduce = _layer(nn.Conv2d(inputs, config.width, 1, bias=False))
        self.branches = nn.ModuleList(
            _layer(_depthwise(config.width, dilation)) for dilation in config.dilations
        )
        self.context = nn.Linear(config.width, config.width)
        mixed = config.width * (2 + len(config.dilations))
        self.mix = _layer(nn.Conv2d(mixed, config.width, 1, bias=False))
        if self.step is not None:
            self.step_standard = BatchNorm(channels[self.step], affine=False)
            self.step_reduce = _layer(
                nn.Conv2d(channels[self.step], config.step_width, 1, bias=False)
            )
            self.refine = _layer(_depthwise(self.width, 1))

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Decode the maps that `levels` names out of all backbone maps (others may be anything)."""
        x = torch.cat([features[i] for i in self.deep], dim=1)
        x = self.reduce(self.dropout(self.standard(x)))
        scene = torch.relu(self.context(x.mean(dim=(2, 3))))[:, :, None, None].expand_as(x)
        x = self.mix(torch.cat([x, *(branch(x) for branch in self.branches), scene], dim=1))
        if self.step is None:
            return x
        fine = self.step_reduce(self.step_standard(features[self.step]))
        size = fine.shape[-2:]
        x = interpolate(x, size=size, mode="bilinear", align_corners=False)
        return self.refine(torch.cat([x, fine], dim=1))


def levels_read(strides: Sequence[int], config: HeadConfig) -> tuple[int, ...]:
    """The backbone maps that the decoder reads, fine to coarse.

    They are all at the coarsest stride and, unless `config.step_width` is 0, the next finer one.
    """
    deep = [i for i, stride in enumerate(strides) if stride == strides[-1]]
    finer = [i for i, stride in enumerate(strides) if stride < strides[-1]]
    return (*(finer[-1:] if config.step_width else []), *deep)


def resized(
    logits: Float[Tensor, "b c h w"], stride: int, size: tuple[int, int]
) -> Float[Tensor, "b c H W"]:
    """Logits of cells of `stride` pixels to `size` pixels: scaled by the stride, then cut.

    Scaling to the padded size first keeps pixel centres where they are; stretching to `size`
    directly would shift them wherever `size` is no multiple of the stride.
    """
    padded = (logits.shape[2] * stride, logits.shape[3] * stride)
    scaled = interpolate(logits, size=padded, mode="bilinear", align_corners=False)
    return scaled[:, :, : size[0], : size[1]]


def _layer(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, BatchNorm(conv.out_channels), nn.ReLU(inplace=True))


def _depthwise(width: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False)
