"""Affinities along paths over a map of class boundaries, and the walk over them.

After IRN (Ahn, Cho and Kwak 2019, arXiv 1904.05044, section 4; jiwoon-ahn/irn, misc/indexing.py):
two places near each other belong together unless a boundary lies between them.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

Step = tuple[int, int]


@dataclass(frozen=True)
class Paths:
    """All pairs of cells less than `radius` apart, each once, and the cells between them.

    pairs: (down, right) from the first cell to the second, nearest first.
    before: of every step on some path, the step before it. A path goes down and sideways, never
        diagonally, so that it cannot slip through a boundary one cell thick, and stays within one
        cell of the straight line (radius 5; 2 at radius 20). All paths of the same beginning share
        it, so that one maximum a pair makes all. Mirrored pairs have mirrored paths.
    """

    pairs: tuple[Step, ...]
    before: dict[Step, Step]


@lru_cache
def paths(radius: int) -> Paths:
    """The pairs and paths of `radius`, in cells: 5 gives 34 pairs, 68 partners of a cell."""
    reach = range(1 - radius, radius)
    near = [(down, right) for down in reach if down >= 0 for right in reach]
    steps = sorted((s for s in near if 0 < math.hypot(*s) < radius), key=lambda s: math.hypot(*s))
    cells: dict[Step, list[Step]] = {(0, 0): [(0, 0)]}
    for step in steps:
        nearest = min((cells[one] for one in _inward(*step)), key=partial(_off, step))
        cells[step] = [*nearest, step]
    before = {step: cells[step][-2] for step in steps}
    return Paths(tuple(step for step in steps if step > (0, 0)), before)


def _inward(down: int, right: int) -> list[Step]:
    """The neighbours of a cell one nearer to (0, 0)."""
    inner = (down, right - (1 if right > 0 else -1))
    return ([(down - 1, right)] if down else []) + ([inner] if right else [])


def _off(step: Step, cells: list[Step]) -> int:
    """How far `cells` stray from the straight line to `step`, times its length."""
    return max(abs(down * step[1] - right * step[0]) for down, right in cells)


def barriers(
    boundaries: Float[Tensor, "b h w"], radius: int, *, outside: float = 1.0
) -> Float[Tensor, "b p h w"]:
    """The largest boundary on the path from each cell to each partner, both ends included.

    p: the pairs of `paths(radius)`. A partner outside the photo stands behind `outside`.
    """
    known, reach = paths(radius), radius - 1
    height, width = boundaries.shape[-2:]
    padded = functional.pad(boundaries, (reach, reach, 0, reach), value=outside)
    found = {(0, 0): boundaries}
    for (down, right), before in known.before.items():
        here = padded[:, down : down + height, reach + right : reach + right + width]
        found[down, right] = torch.maximum(found[before], here)
    return torch.stack([found[pair] for pair in known.pairs], dim=1)


class BoundaryWalk:
    """The walk over one photo, cell by cell and pair by pair: it never holds cells x cells.

    T = colnorm(a^beta), a_ij = 1 - the largest boundary on the path from i to j, a_ii = 1; pairs
    `radius` cells apart or more have none. As a is symmetric, a step makes each cell the mean of
    its partners, weighted by a^beta. Memory: 4 bytes a pair and cell, three times that while made.
    """

    def __init__(self, boundary: Float32[Tensor, "h w"], *, radius: int, beta: float) -> None:
        """`boundary`: 0 none, 1 certain."""
        self.height, self.width = boundary.shape
        self.between = radius - 1
        shares = (1 - barriers(boundary[None], radius)[0]).clamp_(0, 1).pow_(beta)
        # Rows one after another with a gap between them: any step is one shift of all cells.
        self.shares = functional.pad(shares, (0, self.between)).flatten(1)
        row = self.width + self.between
        self.shifts = [down * row + right for down, right in paths(radius).pairs]
        self.weights = 1 / self._gathered(torch.ones_like(self.shares[:1]))

    def __call__(self, maps: Float32[Tensor, "k h w"], *, steps: int) -> Float32[Tensor, "k h w"]:
        """`maps` after `steps`: between the least and the most that they were."""
        flat = functional.pad(maps, (0, self.between)).flatten(1)
        for _ in range(steps):
            flat = self._gathered(flat).mul_(self.weights)
        return flat.unflatten(1, (self.height, -1))[..., : self.width]

    def _gathered(self, flat: Float32[Tensor, "k n"]) -> Float32[Tensor, "k n"]:
        """a^beta x: every cell itself and its partners on both sides."""
        total, cells = flat.clone(), flat.shape[1]
        for share, shift in zip(self.shares, self.shifts, strict=True):
            if shift < cells:
                pair = share[: cells - shift]
                total[:, : cells - shift].addcmul_(pair, flat[:, shift:])
                total[:, shift:].addcmul_(pair, flat[:, : cells - shift])
        return total
