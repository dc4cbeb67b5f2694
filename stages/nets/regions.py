"""Losses that make regions semantic: unions of regions against connected components.

Regions are K soft maps over the cells of a photo, components M disjoint masks over the same cells.
Many regions may serve one component; a one-to-one matching could not say so. Written for the
"semantically aware" regions of arXiv 2212.03338, whose abstract names connected components and
cosine diversity and gives no formula: those here are decisions of this project. Cells that belong
to no component (ignored, outside the photo, in specks) count in no loss.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

EPS = 1e-6

Regions = Float[Tensor, "b k n"]
Masks = Bool[Tensor, "b m n"]


@torch.no_grad()
def assignment(regions: Regions, masks: Masks, *, ensure_cover: bool) -> Int64[Tensor, "b k"]:
    """The component that each region serves: where the largest share of its mass lies.

    Rows of `masks` without a cell (padding) are never preferred. With `ensure_cover`, a component
    that no region chose takes the region that covers most of it, out of those whose own component
    keeps another one; with fewer regions than components some stay without.
    """
    inside = regions @ masks.to(regions.dtype).transpose(1, 2)  # b k m: mass of k within m
    # Precision divides a row by the region's mass, which leaves its largest entry where it is.
    owner = inside.argmax(dim=2)
    if not ensure_cover:
        return owner
    present = masks.any(dim=2)  # b m
    served = torch.zeros_like(present, dtype=torch.long).scatter_add_(
        1, owner, torch.ones_like(owner)
    )
    for m in range(masks.shape[1]):
        spare = served.gather(1, owner) > 1  # b k
        # Recall divides a column by the component's cells: again no matter for the largest.
        best = inside[:, :, m].masked_fill(~spare, -1).argmax(dim=1, keepdim=True)
        wanted = present[:, m : m + 1] & (served[:, m : m + 1] == 0) & spare.gather(1, best)
        before = owner.gather(1, best)
        owner = owner.scatter(1, best, torch.where(wanted, m, before))
        served = served.scatter_add(1, before, -wanted.long())
        served[:, m : m + 1] += wanted.long()
    return owner


def _by_product(
    regions: Regions, owner: Int64[Tensor, "b k"], components: int
) -> Float[Tensor, "b m n"]:
    """1 - prod (1 - p), as a sum of log1p; p is kept off 1 by `EPS`, where the log ends."""
    chosen = torch.nn.functional.one_hot(owner, components).to(regions.dtype)  # b k m
    left = torch.log1p(-regions.clamp(max=1 - EPS))
    return -torch.expm1(chosen.transpose(1, 2) @ left)


def _by_maximum(
    regions: Regions, owner: Int64[Tensor, "b k"], components: int
) -> Float[Tensor, "b m n"]:
    """The largest p at each cell."""
    b, k, n = regions.shape
    empty = regions.new_zeros(b, components, n)
    return empty.scatter_reduce(1, owner[:, :, None].expand(b, k, n), regions, "amax")


UNIONS: dict[str, Callable[[Regions, Int64[Tensor, "b k"], int], Float[Tensor, "b m n"]]] = {
    "prod": _by_product,
    "max": _by_maximum,
}
"""Soft union of each component's own regions, 0 where it has none; `b m n` in [0, 1]."""


def dice(union: Float[Tensor, "b m n"], masks: Masks) -> Float[Tensor, "b m"]:
    """1 - (2 <u, c> + 1) / (|u| + |c| + 1) of each component over the cells of all components.

    The form of MaskFormer (Cheng et al. 2021; facebookresearch/MaskFormer,
    mask_former/modeling/criterion.py). A component without a region gives 1 - 1 / (|c| + 1).
    """
    truth = masks.to(union.dtype)
    counted = truth.sum(dim=1, keepdim=True)  # components do not overlap: 1 or 0
    both = (union * truth).sum(dim=2)
    sizes = (union * counted).sum(dim=2) + truth.sum(dim=2)
    return 1 - (2 * both + 1) / (sizes + 1)


def cross_entropy(union: Float[Tensor, "b m n"], masks: Masks) -> Float[Tensor, "b m n"]:
    """Binary cross-entropy of every cell with every component, in nats."""
    u = union.clamp(EPS, 1 - EPS)
    return -torch.where(masks, u.log(), torch.log1p(-u))


def focal(union: Float[Tensor, "b m n"], masks: Masks) -> Float[Tensor, "b m n"]:
    """Focal loss of every cell with every component, alpha 0.25, gamma 2.

    Lin et al. 2017 (arXiv 1708.02002), equation 5, on probabilities.
    """
    wrong = torch.where(masks, 1 - union, union)
    weight = torch.where(masks, 0.25, 0.75)
    return weight * wrong.square() * cross_entropy(union, masks)


CELL_LOSSES: dict[bool, Callable[[Float[Tensor, "b m n"], Masks], Float[Tensor, "b m n"]]] = {
    False: cross_entropy,
    True: focal,
}


def mean_cosine(vectors: Float[Tensor, "b k n"]) -> Float[Tensor, " b"]:
    """Mean cosine over all pairs of different rows; 0 for rows of zeros and for a single row.

    For regions this is the overlap L_cos: 0 exactly where they are disjoint. The sum over pairs is
    that of the sum's square without its diagonal, which costs k n in place of k k n.
    """
    k = vectors.shape[1]
    unit = vectors / torch.linalg.vector_norm(vectors, dim=2, keepdim=True).clamp_min(EPS)
    pairs = unit.sum(dim=1).square().sum(dim=1) - unit.square().sum(dim=(1, 2))
    return pairs / max(1, k * (k - 1))


def over_cells(losses: Float[Tensor, "b m n"], masks: Masks) -> Float[Tensor, "b m"]:
    """Mean of each component's losses over the cells of all components of its photo."""
    counted = masks.any(dim=1, keepdim=True).to(losses.dtype)
    return (losses * counted).sum(dim=2) / counted.sum(dim=2).clamp_min(1)


def over_photos(values: Float[Tensor, "b m"], counts: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean over the first `counts` components of each photo, then over photos that have some."""
    present = torch.arange(values.shape[1], device=values.device) < counts[:, None]
    means = (values * present).sum(dim=1) / counts.clamp_min(1)
    return means.sum() / (counts > 0).sum().clamp_min(1)
