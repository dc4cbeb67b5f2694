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
        """The mean of the maps around each cell's centre, weighted as `to_maps` hands it back.

        A cell that no place of the maps reads, whose centre lies in the padding or between two
        places, takes the nearest place: else it would share a 0 that nobody measured.
        """
        return _means(self.rows) @ maps @ _means(self.columns).T


def _means(axis: Float32[Tensor, "n4 n"]) -> Float32[Tensor, "n n4"]:
    """The shares of all places in each cell's mean along one axis; rows sum to 1."""
    cells = torch.arange(axis.shape[1]).to(axis)
    nearest = ((axis @ cells)[:, None] - cells).abs().argmin(dim=0)
    alone = functional.one_hot(nearest, len(axis)).to(axis)
    total = axis.sum(dim=0)[:, None]
    return torch.where(total > 1e-4, axis.T / total.clamp_min(1e-4), alone)


def dense_features(
    backbone: Backbone, images: Shaped[Tensor, "b 3 H W"], *, scale: float, levels: int
) -> tuple[list[Float32[Tensor, "b _c h w"]], Grid]:
    """The last `levels` maps of the scaled photos, finer ones averaged over the coarsest's cells.

    Cells that lie wholly in the padding are cut off. The grid knows where receptive fields lie.
    Raises ValueError where the backbone has fewer maps.
    """
    if levels > len(backbone.strides):
        raise ValueError(
            f"levels={levels}: {backbone.description['name']} has {len(backbone.strides)} maps; "
            "set --walk.affinity.levels, --rescore.levels or --rescore.affinity.levels to fewer"
        )
    scaled = resized(images, scale)
    stride = backbone.strides[-1]
    size, photo = (scaled.shape[2], scaled.shape[3]), (images.shape[2], images.shape[3])
    height, width = (math.ceil(side / stride) for side in size)
    maps = []
    for level, own in zip(backbone(scaled)[-levels:], backbone.strides[-levels:], strict=True):
        if own < stride:
            level = functional.avg_pool2d(level, stride // own)
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

    def count() -> int:  # sides as `resized` rounds them
        return math.prod(math.ceil(max(1, round(side * scale)) / stride) for side in photo)

    while (found := count()) > cells:
        scale *= min(math.sqrt(cells / found), 0.99)
    return scale


def standardised(maps: Sequence[Float32[Tensor, "_c h w"]]) -> Float32[Tensor, "n d"]:
    """One unit vector a cell: each level centred over the photo and brought to one mean length."""
    rows = []
    for level in maps:
        flat = level.flatten(1).T  # n c
        flat = flat - flat.mean(dim=0)
        rows.append(flat / flat.norm(dim=1).mean().clamp_min(1e-6))
    return functional.normalize(torch.cat(rows, dim=1), dim=1)
