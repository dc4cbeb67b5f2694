"""Class embeddings of ECENet (arXiv 2308.12894): made from where a class lies, not learned.

After the released inference head: explicit class extraction, and the update of the embeddings from
one map to the next finer one, a kernel updater after K-Net (Zhang et al. 2021, arXiv 2106.14855)
with one gate and a residual in the place of the second.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

GRIDS = (1, 2, 3, 6)
"""Sides of the fixed pooling grids; the last grid grows with the number of classes."""


def largest_grid(classes: int, ratio: float) -> int:
    """Side of the last pooling grid: sqrt(classes) * ratio, made odd: 5 for 19, 13 for 150."""
    side = int(math.sqrt(classes) * ratio)
    return side if side % 2 else side + 1


class ClassEmbedding(nn.Module):
    """Class masks to class embeddings: a pyramid of means of each mask, then one linear layer.

    The layer is one for all classes, so that an embedding says where its mask lies and nothing of
    which class it is. Masks are raw logits: no sigmoid, no softmax before the pooling.
    """

    def __init__(self, classes: int, width: int, ratio: float = 1.0) -> None:
        super().__init__()
        self.grids = (*GRIDS, largest_grid(classes, ratio))
        self.length = sum(side * side for side in self.grids)
        """Numbers that describe a mask: 75 for 19 classes, 99 for 60, 219 for 150."""
        self.project = nn.Linear(self.length, width)

    def forward(self, masks: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k width"]:
        """Embed raw mask logits of any size, one mask a class."""
        pooled = [functional.adaptive_avg_pool2d(masks, side).flatten(2) for side in self.grids]
        return self.project(torch.cat(pooled, dim=2))


class EmbeddingUpdate(nn.Module):
    """Class embeddings and what the mask of a finer map says of them, to new embeddings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 2 * width)
        self.state = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.gate_norm = nn.LayerNorm(width)
        self.content_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.out_norm = nn.LayerNorm(width)

    def forward(
        self, embeddings: Float[Tensor, "b k width"], fresh: Float[Tensor, "b k width"]
    ) -> Float[Tensor, "b k width"]:
        """`embeddings` so far, `fresh` from the new mask: at least 0, class by class."""
        evidence, content = self.read(fresh).chunk(2, dim=2)
        gate = self.gate_norm(self.gate(self.state(embeddings) * evidence)).sigmoid()
        mixed = gate * self.content_norm(content) + embeddings
        return torch.relu(self.out_norm(self.out(mixed)))
