"""What a frozen backbone says of every place of a photo, on one grid of cells."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor
from torch.nn import functional

from data.cams import SCALE
from stages.nets.backbone import Backbone
from stages.nets.cam import resampling
from stages.nets.resize import resized


class Grid(NamedTuple):
    """How the cells of a photo relate to its maps of a quarter of its size."""

    rows: Float32[Tensor, "h4 h"]
    columns: Float32[Tensor, "w4 w"]
    centres: tuple[Float32[Tensor, " h"], Float32[Tensor, " w"]]
    """Of the cells' receptive fields, in pixels of the photo; may lie a little outside."""

    def to_maps(self, cells: Float[Tensor, "k h w"]) -> Float[Tensor, "k h4 w4"]:
        """Values of cells at every place of the finished maps: linear between cell centres."""
        return self.rows @ cells @ self.columns.T

    def to_cells(self, maps: Float[Tensor, "k h4 w4"]) -> Float[Tensor, "k h w"]:
        """The mean of the maps around each cell's centre, weighted as `to_maps` hands it back."""
        rows = self.rows / self.rows.sum(dim=0).clamp_min(1e-6)
        columns = self.columns / self.columns.sum(dim=0).clamp_min(1e-6)
        return rows.T @ maps @ columns


def dense_features(
    backbone: Backbone, images: Shaped[Tensor, "b 3 H W"], *, scale: float, levels: int
) -> tuple[list[Float32[Tensor, "b _c h w"]], Grid]:
    """The last `levels` maps of the scaled photos, finer ones averaged over the coarsest's cells.

    Cells that lie wholly in the padding are cut off. The grid knows where receptive fields lie.
    """
    scaled = resized(images, scale)
    stride = backbone.strides[-1]
    size, photo = (scaled.shape[2], scaled.shape[3]), (images.shape[2], images.shape[3])
    height, width = (math.ceil(side / stride) for side in size)
    maps = []
    for level in backbone(scaled)[-levels:]:
        finer = level.shape[2] // math.ceil(size[0] / stride)
        if finer > 1:
            level = functional.avg_pool2d(level, finer)
        maps.append(level[:, :, :height, :width].float())
    axes, centres = [], []
    for cells, length, whole in zip((height, width), size, photo, strict=True):
        matrix = resampling(
            cells, stride=stride, length=length, target=-(-whole // SCALE), shift=backbone.shift
        )
        axes.append(matrix.to(maps[0]))
        centre = (torch.arange(cells) + 0.5) * stride + backbone.shift
        centres.append((centre * (whole / length)).to(maps[0]))
    return maps, Grid(axes[0], axes[1], (centres[0], centres[1]))


def fitting_scale(photo: tuple[int, int], *, scale: float, stride: int, cells: int) -> float:
    """`scale`, or less where the photo (height, width) would have more than `cells` cells."""
    most = math.sqrt(cells * stride**2 / (photo[0] * photo[1]))
    return min(scale, most)


def standardised(maps: Sequence[Float32[Tensor, "c h w"]]) -> Float32[Tensor, "n d"]:
    """One unit vector a cell: each level centred over the photo and brought to one mean length."""
    rows = []
    for level in maps:
        flat = level.flatten(1).T  # n c
        flat = flat - flat.mean(dim=0)
        rows.append(flat / flat.norm(dim=1).mean().clamp_min(1e-6))
    return functional.normalize(torch.cat(rows, dim=1), dim=1)
