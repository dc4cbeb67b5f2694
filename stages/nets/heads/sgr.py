"""Head `sgr`: tokens read from learned regions, mixed by a transformer, put back where they lay.

SGR-style: after "Framework-agnostic Semantically-aware Global Reasoning for Segmentation" (arXiv
2212.03338), of which the outline is public; sizes, formulas and weights are decisions of this
project, in `SgrConfig`. Its parts come from GloRe (Chen et al. 2019: one projection both ways, a
last norm that starts at 0) and OCRNet (Yuan et al. 2020: regions pooled by their mass). At the
start the head equals `none` bit for bit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from data.labels import label_type
from knowledge.graph import ClassGraph
from stages.components import connected, on_grid
from stages.nets import regions as region
from stages.nets.batch_norm import BatchNorm
from stages.nets.heads.head import Head
from stages.nets.heads.none import PlainHead
from stages.nets.settings import HeadConfig, SgrConfig

ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax_k": lambda scores: scores.softmax(dim=1),
    "sigmoid": torch.sigmoid,
}


class Layer(nn.Module):
    """A pre-norm transformer encoder layer (Xiong et al. 2020) in plain matrix products.

    PyTorch's own layer takes a fused path in inference that a counter of operations cannot see.
    """

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(self, tokens: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """Attention among the tokens, then a layer for each, both added to what came in."""
        b, k, d = tokens.shape
        parts = self.project(self.norm(tokens)).reshape(b, k, 3, self.heads, d // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # b heads k d/heads
        scores = query @ key.transpose(2, 3) / (d // self.heads) ** 0.5
        mixed = scores.float().softmax(dim=3).to(value.dtype) @ value
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(b, k, d))
        return tokens + self.feed(self.norm2(tokens))


class Sgr(nn.Module):
    """x + norm(conv(P^T T')): T' are the tokens T of the regions P, once they saw each other."""

    def __init__(self, width: int, config: SgrConfig) -> None:
        """`width` channels in and out."""
        super().__init__()
        d = self.width = config.width
        self.reduce = nn.Sequential(
            nn.Conv2d(width, d, 1, bias=False), BatchNorm(d), nn.ReLU(inplace=True)
        )
        self.regions = nn.Conv2d(d, config.tokens, 1)
        self.act = ACTS[config.region_act]
        self.position = config.position
        self.reason = nn.Sequential(
            *(Layer(d, config.heads, config.expansion) for _ in range(config.layers))
        )
        # The other way back is drawn last but for `extend`: both ways share all other weights.
        self.back = nn.Conv2d(d, config.tokens, 1) if config.reproject == "learned" else None
        self.extend = nn.Conv2d(d, width, 1, bias=False)
        self.fuse = BatchNorm(width)
        nn.init.zeros_(self.fuse.weight)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        """The map with what the tokens add, and the "regions" (b k h w) and "tokens" (b k d)."""
        z = self.reduce(x)
        p = self.act(self.regions(z).float())
        tokens = self.pooled(z, p)
        if self.position:
            tokens = tokens + self.places(p).to(tokens.dtype)
        tokens = self.reason(tokens)
        way_back = p if self.back is None else self.act(self.back(z).float())
        said = self.fuse(self.extend(self.reprojected(tokens, way_back)))
        return x + said, {"regions": p, "tokens": tokens}

    def pooled(
        self, z: Float[Tensor, "b d h w"], p: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b k d"]:
        """t_k = sum_i p_ki z_i / sum_i p_ki: the mean of z over each region."""
        summed = p.flatten(2) @ z.flatten(2).transpose(1, 2)
        return summed / p.sum(dim=(2, 3)).clamp_min(region.EPS)[:, :, None]

    def places(self, p: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k d"]:
        """The mean over each region of a fixed sine code: half its channels rows, half columns."""
        d = self.width
        rows = p.sum(dim=3) @ sine_code(p.shape[2], d - d // 2, p.device)
        columns = p.sum(dim=2) @ sine_code(p.shape[3], d // 2, p.device)
        mass = p.sum(dim=(2, 3)).clamp_min(region.EPS)[:, :, None]
        return torch.cat([rows, columns], dim=2) / mass

    def reprojected(
        self, tokens: Float[Tensor, "b k d"], p: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b d h w"]:
        """r_i = sum_k p_ki t_k: every cell takes the tokens of its regions."""
        mixed = tokens.transpose(1, 2) @ p.flatten(2).to(tokens.dtype)
        return mixed.reshape(*mixed.shape[:2], *p.shape[2:])


def sine_code(length: int, width: int, device: torch.device) -> Float[Tensor, "length width"]:
    """Sines and cosines of the place along an axis, at frequencies from 1 down to 1e-4 turns.

    Places run from 0 to 1 whatever the length, as in DETR (Carion et al. 2020, normalised code).
    """
    turns = (torch.arange(length, device=device) + 0.5) / length * 2 * torch.pi
    pairs = -(-width // 2)
    frequencies = 1e-4 ** (torch.arange(pairs, device=device) / max(1, pairs))
    angles = turns[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class SgrHead(Head):
    """The plain head with global reasoning before its 1x1 classifier, or before its decoder."""

    def __init__(
        self, plain: PlainHead, sgr: Sgr, config: SgrConfig, *, region_stride: int
    ) -> None:
        """`region_stride`: pixels of the photo per cell of the map that `sgr` reads."""
        super().__init__()
        self.plain = plain
        self.sgr = sgr
        self.config = config
        self.stride = plain.stride
        self.levels = plain.levels
        self.region_stride = region_stride

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        if self.config.place == "before_decoder":
            last, aux = self.sgr(features[-1])
            return self.plain.classify(self.plain.decoder([*features[:-1], last])), aux
        x, aux = self.sgr(self.plain.decoder(features))
        return self.plain.classify(x), aux

    def targets(self, labels: Int64[Tensor, "b h w"]) -> dict[str, Tensor]:
        """The components on the grid of the regions: "masks" (b m h w, bool) and "counts" (b).

        Photos with fewer than m components have empty masks at the end. Nothing where no loss on
        regions has a weight.
        """
        if not any((self.config.lambda_d, self.config.lambda_b, self.config.lambda_c)):
            return {}
        kind = label_type(self.plain.classify.out_channels - 1)  # says which number is ignored
        grids = on_grid(labels.numpy().astype(kind), self.region_stride)
        masks = [
            connected(
                grid,
                connectivity=self.config.connectivity,
                min_area=self.config.min_area,
                most=self.config.most_components,
            ).masks()
            for grid in grids
        ]
        counts = np.array([len(own) for own in masks], np.int64)
        padded = np.zeros((len(masks), counts.max(initial=0), *grids.shape[1:]), bool)
        for place, own in enumerate(masks):
            padded[place, : len(own)] = own
        return {"masks": torch.from_numpy(padded), "counts": torch.from_numpy(counts)}

    def loss(
        self,
        aux: dict[str, Tensor],
        labels: Int64[Tensor, "b h w"],
        targets: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """The sum of L_dice, L_bce, L_cos and L_tok, each times its lambda; 0 without any."""
        weights = {
            "dice": self.config.lambda_d,
            "cells": self.config.lambda_b,
            "overlap": self.config.lambda_c,
        }
        total = super().loss(aux, labels, targets)
        if self.config.lambda_tok:
            total = (
                total + self.config.lambda_tok * region.mean_cosine(aux["tokens"].float()).mean()
            )
        if not any(weights.values()):
            return total
        if not targets:
            made = self.targets(labels.cpu())
            targets = {name: value.to(labels.device) for name, value in made.items()}
        parts = region_losses(aux["regions"], targets, self.config)
        return total + sum(weight * parts[name] for name, weight in weights.items() if weight)


def region_losses(
    regions: Float[Tensor, "b k H W"], targets: dict[str, Tensor], config: SgrConfig
) -> dict[str, Float[Tensor, ""]]:
    """Losses "dice", "cells" and "overlap", unweighted, means over photos with a component.

    `targets` as the head makes them; cells of `regions` beyond their grid (the backbone's padding)
    and cells of no component count nowhere. All are 0 where no photo has a component.
    """
    masks, counts = targets["masks"].flatten(2), targets["counts"]
    height, width = targets["masks"].shape[2:]
    p = regions[:, :, :height, :width].flatten(2).float()
    if not masks.shape[1]:
        return dict.fromkeys(("dice", "cells", "overlap"), p.sum() * 0)
    p = p * masks.any(dim=1, keepdim=True)
    owner = region.assignment(p, masks, ensure_cover=config.ensure_cover)
    union = region.UNIONS[config.union](p, owner, masks.shape[1])
    cells = region.over_cells(region.CELL_LOSSES[config.focal](union, masks), masks)
    overlap = region.mean_cosine(p)  # 0 where a photo has no component
    return {
        "dice": region.over_photos(region.dice(union, masks), counts),
        "cells": region.over_photos(cells, counts),
        "overlap": overlap.sum() / (counts > 0).sum().clamp_min(1),
    }


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The plain head's layers first, so that one seed gives both heads the same ones."""
    del graph
    plain = PlainHead(channels, strides, classes, config)
    if config.sgr.place == "before_decoder":
        sgr, stride = Sgr(channels[-1], config.sgr), strides[-1]
    else:
        sgr, stride = Sgr(plain.decoder.width, config.sgr), plain.stride
    return SgrHead(plain, sgr, config=config.sgr, region_stride=stride)
