"""Head `rsp`: context handed down a feature pyramid by relations between adjacent levels.

RSP-style, after the abstract and Fig. 1 of arXiv 2106.01744 (Relational Semantics Propagator): the
operator is public, its sizes are this project's. A pixel of the lower level asks the region of the
higher level around its own place, by a softmax over keys with a learned embedding of the place in
the region (Ramachandran et al. 2019, arXiv 1906.05909). Levels are stacked: what a level was given
is what the next one asks. At the start the gates are closed, and the head equals its pyramid.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from data.labels import ignore_of
from knowledge.graph import ClassGraph
from stages.nets.batch_norm import BatchNorm
from stages.nets.heads.head import Head
from stages.nets.pyramid import Pyramid
from stages.nets.settings import HeadConfig, RspConfig

AUX_STRIDE = 16
"""The level whose stride is nearest to this one has the auxiliary classifier."""


class Rse(nn.Module):
    """Relational semantics extractor: what each low-level pixel reads from its region above.

    y_ij = sum_n w_n V_n over the k x k cells n of the high level around (i // 2, j // 2), with
    w = softmax_n(q_ij . (K_n + r_n) / sqrt(d)) over the cells that lie on the map, in groups of d
    channels. Keys and values are unfolded once, at the high level's size; four pixels share them.
    """

    def __init__(self, width: int, config: RspConfig) -> None:
        super().__init__()
        if width % config.groups:
            raise ValueError(f"width={width} cannot be cut into rsp.groups={config.groups} groups")
        self.kernel, self.groups = config.kernel, config.groups
        self.query = nn.Conv2d(width, width, 1, bias=False)
        self.key = nn.Conv2d(width, width, 1, bias=False)
        self.value = nn.Conv2d(width, width, 1, bias=False)
        self.out = nn.Conv2d(width, width, 1, bias=False)
        rows = {"none": 0, "add_to_key": width // config.groups, "bias": 1}[config.position]
        self.on_key = config.position == "add_to_key"
        self.position: nn.Parameter | None = None
        if rows:
            places = torch.empty(config.groups, rows, config.kernel**2)
            self.position = nn.Parameter(nn.init.trunc_normal_(places, std=0.02))

    def forward(
        self, low: Float[Tensor, "b c h w"], high: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "b c h w"]:
        """Context for `low` from `high`, half its size (rounded up where `low` is odd)."""
        return self.out(self.relate(self.query(low), self.key(high), self.value(high)))

    def relate(
        self,
        query: Float[Tensor, "b c h w"],
        key: Float[Tensor, "b c H W"],
        value: Float[Tensor, "b c H W"],
    ) -> Float[Tensor, "b c h w"]:
        """The weighted mean of the values of each pixel's region.

        Raises ValueError where the levels are not adjacent.
        """
        (height, width), cells = query.shape[-2:], key.shape[-2:]
        if cells != (-(-height // 2), -(-width // 2)):
            raise ValueError(
                f"levels of {height} x {width} and {cells[0]} x {cells[1]} cells are not adjacent: "
                "the higher one must have half as many rows and columns, rounded up"
            )
        # An odd map has no partner for its last row: an empty one asks, and its answer is cut off.
        query = functional.pad(query, (0, width % 2, 0, height % 2))
        read = self.weights(query, key) @ self._regions(value).transpose(-1, -2)  # b g H W 4 d
        b, c, h, w = query.shape
        read = read.view(b, self.groups, *cells, 2, 2, c // self.groups)
        whole = read.permute(0, 1, 6, 2, 4, 3, 5).reshape(b, c, h, w)
        return whole[:, :, :height, :width]

    def weights(
        self, query: Float[Tensor, "b c h w"], key: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "b g H W 4 n"]:
        """Of the n cells of the region of each of the 4 pixels below a cell; they sum to 1.

        `query` has exactly twice the rows and columns of `key`. Cells off the map have weight 0.
        """
        b, c, (rows, columns) = key.shape[0], key.shape[1], key.shape[-2:]
        asked = query.view(b, self.groups, c // self.groups, rows, 2, columns, 2)
        asked = asked.permute(0, 1, 3, 5, 4, 6, 2).reshape(b, self.groups, rows, columns, 4, -1)
        keys = self._regions(key)
        if self.position is not None and self.on_key:
            keys = keys + self.position[:, None, None].to(keys.dtype)
        scores = asked @ keys / math.sqrt(c // self.groups)
        if self.position is not None and not self.on_key:
            scores = scores + self.position[:, None, None]
        return scores.masked_fill(~self._on_map(key), -torch.inf).softmax(dim=-1).to(key.dtype)

    def _regions(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b g H W d n"]:
        """The k x k cells around every cell, zeros off the map; one copy, k^2 times as large."""
        r, k = self.kernel // 2, self.kernel
        windows = functional.pad(x, (r, r, r, r)).unfold(2, k, 1).unfold(3, k, 1)
        grouped = windows.unflatten(1, (self.groups, -1))  # b g d H W k k
        return grouped.permute(0, 1, 3, 4, 2, 5, 6).flatten(5)

    def _on_map(self, x: Float[Tensor, "b c H W"]) -> Bool[Tensor, "H W 1 n"]:
        r, k = self.kernel // 2, self.kernel
        inside = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device)
        inside = functional.pad(inside, (r, r, r, r))
        return inside.unfold(0, k, 1).unfold(1, k, 1).flatten(2)[:, :, None]


class Rsp(nn.Module):
    """One step down: G = ReLU(l + BN(conv(cat[l, RSE(l, G above)]))), the norm's scale 0 at first.

    The ReLU follows the sum, as in a ResNet: one before it would hold a closed gate closed, for its
    slope at 0 is 0. Levels of the pyramid are >= 0, hence a closed gate hands on `l` bit for bit.
    """

    def __init__(self, width: int, config: RspConfig) -> None:
        super().__init__()
        self.extract = Rse(width, config)
        self.fuse = conv3x3(2 * width, width, separable=config.separable)
        self.norm = BatchNorm(width)
        if config.zero_init:
            nn.init.zeros_(self.norm.weight)

    def forward(
        self, low: Float[Tensor, "b c h w"], high: Float[Tensor, "b c H W"]
    ) -> Float[Tensor, "b c h w"]:
        context = self.extract(low, high)
        return torch.relu(low + self.norm(self.fuse(torch.cat([low, context], dim=1))))


def conv3x3(inputs: int, outputs: int, *, separable: bool) -> nn.Sequential:
    """A 3x3 convolution without bias, or a depthwise one with norm and ReLU and a pointwise one."""
    if not separable:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        BatchNorm(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


class Raised(nn.Sequential):
    """3x3 convolution, group norm and ReLU, then twice the rows and columns; as often as asked.

    `steps` of 0 is the convolution without the doubling.
    """

    def __init__(self, width: int, steps: int, *, separable: bool) -> None:
        super().__init__()
        for _ in range(max(1, steps)):
            self.extend(conv3x3(width, width, separable=separable))
            self.append(nn.GroupNorm(math.gcd(32, width), width))
            self.append(nn.ReLU(inplace=True))
            if steps:
                self.append(nn.Upsample(scale_factor=2, mode="bilinear"))


class LevelSum(nn.Module):
    """All levels at the finest stride, added (Panoptic FPN; facebookresearch/detectron2)."""

    def __init__(self, width: int, levels: int, *, separable: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            Raised(width, level, separable=separable) for level in range(levels)
        )

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "b c h w"]:
        height, width = maps[0].shape[-2:]
        # Of an odd map, the level above stands for a row more: doubled, it is cut back.
        raised = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return torch.stack([x[:, :, :height, :width] for x in raised]).sum(dim=0)


class RspHead(Head):
    """Pyramid, propagators from the top down, dropout, 1x1 classifier; auxiliary classifier."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, config: HeadConfig
    ) -> None:
        super().__init__()
        rsp, width = config.rsp, config.width
        self.pyramid = Pyramid(channels, strides, width=width, finest=rsp.finest_stride)
        self.levels = self.pyramid.levels
        self.stride = self.pyramid.strides[0]
        steps = len(self.pyramid.strides)
        self.steps = nn.ModuleList(Rsp(width, rsp) for _ in range(steps - 1))
        self.merge = (
            LevelSum(width, steps, separable=rsp.separable) if rsp.output == "sum" else None
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.classify = nn.Conv2d(width, classes, 1)
        self.aux_weight = rsp.aux_weight
        distances = [abs(stride - AUX_STRIDE) for stride in self.pyramid.strides]
        self.aux_level = distances.index(min(distances))
        self.aux = nn.Conv2d(width, classes, 1) if rsp.aux_weight else None

    def propagate(self, levels: list[Tensor]) -> list[Float[Tensor, "b c _h _w"]]:
        """G, fine to coarse: the top level as it is, every other from its own and the G above."""
        given = [levels[-1]]
        for step, low in zip(reversed(self.steps), reversed(levels[:-1]), strict=True):
            given.insert(0, step(low, given[0]))
        return given

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        maps = self.propagate(self.pyramid(features))
        x = maps[0] if self.merge is None else self.merge(maps)
        logits = self.classify(self.dropout(x))
        if self.aux is None or not self.training:
            return logits, {}
        return logits, {"coarse": self.aux(maps[self.aux_level])}

    def loss(
        self,
        aux: dict[str, Tensor],
        labels: Int64[Tensor, "b h w"],
        targets: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """`aux_weight` times the cross-entropy of the coarse level, on the labels of its cells."""
        if "coarse" not in aux:
            return super().loss(aux, labels, targets)
        logits, stride = aux["coarse"].float(), self.pyramid.strides[self.aux_level]
        seen = at_cells(labels, stride)
        logits = logits[:, :, : seen.shape[1], : seen.shape[2]]
        ignore = ignore_of(logits.shape[1] - 1)
        total = functional.cross_entropy(logits, seen, ignore_index=ignore, reduction="sum")
        return self.aux_weight * total / (seen != ignore).sum().clamp_min(1)


def at_cells(labels: Int64[Tensor, "b h w"], stride: int) -> Int64[Tensor, "b H W"]:
    """The label of the pixel in the middle of each cell, of the last pixel where it is cut off."""
    rows, columns = (
        (torch.arange(-(-side // stride), device=labels.device) * stride + stride // 2).clamp_max(
            side - 1
        )
        for side in labels.shape[1:]
    )
    return labels[:, rows[:, None], columns]


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The head; it asks nothing of the graph."""
    del graph
    return RspHead(channels, strides, classes, config)
