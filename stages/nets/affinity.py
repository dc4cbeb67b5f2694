"""The affinity walk: what a place says is shared with places that look alike.

After PSA (Ahn and Kwak 2018, arXiv 1803.10464, equations 3 to 5) without its training: affinities
are cosines of a frozen backbone's features, as they are.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from stages.nets.backbone import Backbone
from stages.nets.dense_features import Grid, dense_features, fitting_scale, standardised
from stages.nets.settings import AffinityConfig


class Affinity:
    """The affinities of photos of one size; each matrix is made when it is asked for."""

    def __init__(
        self, backbone: Backbone, images: UInt8[Tensor, "b 3 H W"], config: AffinityConfig
    ) -> None:
        """Run the backbone over the photos; call it inside `autocast`."""
        scale = fitting_scale(
            (images.shape[2], images.shape[3]),
            scale=config.scale,
            stride=backbone.strides[-1],
            cells=config.cells,
        )
        with torch.inference_mode():
            self.maps, self.grid = dense_features(
                backbone, images, scale=scale, levels=config.levels
            )
        self.power = config.power

    def of(self, at: int) -> Float32[Tensor, "n n"]:
        """The transition matrix of photo number `at`."""
        return transition([level[at] for level in self.maps], power=self.power)


def transition(
    maps: Sequence[Float32[Tensor, "_c h w"]], *, power: float
) -> Float32[Tensor, "n n"]:
    """T = rows of A / column sums, each summing to 1, with A = max(cosine, 0)^power between cells.

    A cell is always like itself, even one without any feature of its own (a photo of one cell or
    of one colour): it then keeps what it has.

    maps: one photo's features on one grid of n = h * w cells. Dividing by the columns first keeps
    large even areas (sky, grass) from drawing everything to them. Memory: n * n floats.
    """
    features = standardised(maps)
    affinity = (features @ features.T).clamp_(0, 1).pow_(power).fill_diagonal_(1)
    affinity /= affinity.sum(dim=0, keepdim=True)
    affinity /= affinity.sum(dim=1, keepdim=True)
    return affinity


def walked(
    maps: Float32[Tensor, "k h4 w4"], affinity: Float32[Tensor, "n n"], grid: Grid, *, steps: int
) -> Float32[Tensor, "k h4 w4"]:
    """`maps` after `steps` of the walk over the cells of `grid`, at least 0 where they were."""
    cells = grid.to_cells(maps)
    flat = cells.flatten(1).T
    for _ in range(steps):
        flat = affinity @ flat
    return grid.to_maps(flat.T.reshape(cells.shape))
