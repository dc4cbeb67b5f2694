"""Head `ece`: ECENet (arXiv 2308.12894), explicit class embeddings, for any backbone.

Written from a description of the released inference head, which has no losses and no training;
those bodies are this project's decisions. Class masks make class embeddings, the embeddings attend
to the next finer map and give its masks, and so on; masks and embeddings assist the classifier.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import interpolate

from data.labels import ignore_of
from knowledge.graph import ClassGraph
from stages.nets.batch_norm import BatchNorm
from stages.nets.class_embedding import ClassEmbedding, EmbeddingUpdate
from stages.nets.class_mask_loss import class_mask_losses, present_classes
from stages.nets.feature_reconstruction import FeatureReconstruction, lack_of_diversity
from stages.nets.ghost_upscale import GhostUpscale
from stages.nets.heads.head import Head
from stages.nets.semantic_attention import SemanticAttention
from stages.nets.settings import EceConfig, HeadConfig

MOST_LEVELS = 4


class EceHead(Head):
    """Up to four maps of a backbone, each called a stage: index 0 is the finest one.

    No map goes from stage to stage, only the class embeddings do, from the deepest to the finest.
    Deepest first, the masks of the stages are `masks[0]`, `masks[1]`, ...; with four stages they
    are M_4, M_3, M_2 and M_1 of the paper.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, config: EceConfig
    ) -> None:
        super().__init__()
        width = config.channels
        if width % config.heads:
            raise ValueError(f"ece.channels={width} is no multiple of ece.heads={config.heads}")
        self.config, self.ignore = config, ignore_of(classes - 1)
        self.levels = chosen_levels(strides, config.finest_stride)
        steps = [strides[i] for i in self.levels]
        self.stride = steps[0]
        self.reconstruct = nn.ModuleList(
            FeatureReconstruction(channels[i], width) for i in self.levels
        )
        self.first_mask = nn.Sequential(
            nn.Conv2d(width, width, 1, groups=config.heads, bias=False),
            nn.Conv2d(width, classes, 1, bias=False),
        )
        self.embed = nn.ModuleList(ClassEmbedding(classes, width, config.ratio) for _ in steps)
        self.attend = nn.ModuleList(SemanticAttention(config) for _ in steps[1:])
        self.update = nn.ModuleList(EmbeddingUpdate(width) for _ in steps[1:])
        self.enlarge = nn.ModuleList(
            nn.Sequential(*(GhostUpscale(width) for _ in range(doublings(step, steps[0]))))
            for step in steps
        )
        self.aggregate = nn.Sequential(
            nn.Conv2d(len(steps) * width, width, 3, padding=1, bias=False),
            BatchNorm(width),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(width, classes, 1)
        self.confidence = nn.Linear(width, classes)

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        """Logits; `supervised` masks at the same stride; the diverse half of every stage's map."""
        laterals, diverse = self.reconstructed(features)
        maps, masks, embeddings = self.attended(laterals)
        size = maps[0].shape[2:]
        scaled = [_to(mask, size) for mask in masks]
        # Of several masks the finest one is left out: it is there to assist, not to be supervised.
        supervised = sum(scaled[1:-1], scaled[0])
        total = supervised + scaled[-1] if len(scaled) > 1 else supervised
        logits = self.classify(self.dropout(self.aggregated(maps)))
        logits = logits + self.assistance(embeddings, total)
        aux = {f"diverse_{stage}": half for stage, half in enumerate(diverse)}
        return logits, {"supervised": supervised, **aux}

    def reconstructed(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of every stage, finest first: its map `b width h w` and that map's diverse half."""
        pairs = [
            reconstruct(features[level])
            for reconstruct, level in zip(self.reconstruct, self.levels, strict=True)
        ]
        return [lateral for lateral, _ in pairs], [half for _, half in pairs]

    def attended(
        self, laterals: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Float[Tensor, "b k width"]]:
        """Maps that have read from the classes, finest first; masks, deepest first; embeddings.

        A mask is `b k h w` at its own stage's stride: raw logits.
        """
        maps, masks = [laterals[-1]], [self.first_mask(laterals[-1])]
        embeddings = self.embed[-1](masks[0])
        for stage in reversed(range(len(laterals) - 1)):
            read, mask = self.attend[stage](laterals[stage], embeddings)
            embeddings = self.update[stage](embeddings, self.embed[stage](mask))
            maps.insert(0, read)
            masks.append(mask)
        return maps, masks, embeddings

    def aggregated(self, maps: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """All maps at the stride of the finest one, then one map of them."""
        size = maps[0].shape[2:]
        enlarged = [_to(grow(x), size) for grow, x in zip(self.enlarge, maps, strict=True)]
        return self.aggregate(torch.cat(enlarged, dim=1))

    def assistance(
        self, embeddings: Float[Tensor, "b k width"], total: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b k h w"]:
        """What class k's own mask adds to its logit, 0..1, weighted by how well k names itself."""
        own = self.confidence(embeddings).softmax(dim=2).diagonal(dim1=1, dim2=2)  # b k
        return own[:, :, None, None] * total.sigmoid()

    def targets(self, labels: Int64[Tensor, "b h w"]) -> dict[str, Tensor]:
        """Which classes occur in which photo, on the grid of the mask losses."""
        return {"present": present_classes(self._coarse(labels), ignore=self.ignore)}

    def loss(
        self,
        aux: dict[str, Tensor],
        labels: Int64[Tensor, "b h w"],
        targets: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """Mask and dice loss of the supervised masks, and the lack of diversity, weighted."""
        config = self.config
        losses = class_mask_losses(
            aux["supervised"],
            self._coarse(labels),
            (targets or self.targets(labels))["present"],
            scale=self.stride // self._loss_stride,
            focal=(config.focal_alpha, config.focal_gamma) if config.mask_loss == "focal" else None,
        )
        loss = config.mask_weight * losses.mask + config.dice_weight * losses.dice
        if not config.diversity_weight:
            return loss
        lacks = [lack_of_diversity(half) for name, half in aux.items() if name != "supervised"]
        return loss + config.diversity_weight * torch.stack(lacks).mean()

    @property
    def _loss_stride(self) -> int:
        """The largest stride that divides both: masks are enlarged by whole numbers."""
        return math.gcd(self.config.loss_stride, self.stride)

    def _coarse(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b _h _w"]:
        """The labels in the middle of the cells of the mask losses' grid."""
        s = self._loss_stride
        return labels[:, s // 2 :: s, s // 2 :: s]


def chosen_levels(strides: Sequence[int], finest_stride: int) -> tuple[int, ...]:
    """The last maps, at most four, of those that are not finer than `finest_stride`."""
    if any(a > b for a, b in pairwise(strides)):
        raise ValueError(f"backbone maps must go from fine to coarse, not strides {[*strides]}")
    levels = [i for i, stride in enumerate(strides) if stride >= finest_stride]
    if not levels:
        raise ValueError(
            f"ece.finest_stride={finest_stride} leaves out all maps of a backbone with strides "
            f"{[*strides]}: set it to {strides[-1]} or less"
        )
    return tuple(levels[-MOST_LEVELS:])


def doublings(stride: int, finest: int) -> int:
    """How often a map can be doubled without becoming finer than the finest one."""
    return int(math.log2(stride / finest))


def _to(x: Float[Tensor, "b c _h _w"], size: torch.Size) -> Float[Tensor, "b c h w"]:
    if x.shape[2:] == size:
        return x
    return interpolate(x, size=size, mode="bilinear", align_corners=False)


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The head for `classes` classes, background included; it asks nothing of the graph."""
    del graph
    return EceHead(channels, strides, classes, config.ece)
