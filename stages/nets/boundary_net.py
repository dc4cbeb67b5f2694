"""Where one class ends and another begins, read off a frozen backbone's maps.

The boundary branch of IRN (Ahn, Cho and Kwak 2019, arXiv 1904.05044; jiwoon-ahn/irn,
net/resnet50_irn.py): a 1x1 convolution with group norm on each level, one more over all of them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.cams import SCALE
from data.files import replacing
from stages.nets.backbone import Backbone
from stages.nets.boundary_paths import barriers, paths
from stages.nets.cam import resampling
from stages.nets.dense_features import fitting_scale
from stages.nets.resize import resized

GROUPS = 4
"""Groups of the group norms, as in IRN."""
FAR = 30.0
"""A logit whose boundary is 1 in float32."""
UNKNOWN = -1
"""Label of a cell that is in no pair."""

Axes = tuple[Float32[Tensor, "h4 h"], Float32[Tensor, "w4 w"]]


class Levels(NamedTuple):
    """A backbone's maps of photos of one size, and how each lies on the grid of the walk."""

    maps: list[Float[Tensor, "*b _c _h _w"]]
    axes: list[Axes]
    """Of each map, rows and columns: places of the grid, a quarter of the photo, over cells."""


def boundary_levels(
    backbone: Backbone, images: UInt8[Tensor, "b 3 H W"], *, scale: float, levels: int, cells: int
) -> Levels:
    """The last `levels` maps of the photos at `scale`, in bfloat16; padding is cut off.

    A photo whose coarsest map would have more than `cells` cells gets a smaller scale. Call it
    inside `autocast`. Raises ValueError where the backbone has fewer maps.
    """
    if levels > len(backbone.strides):
        raise ValueError(
            f"levels={levels}: {backbone.description['name']} has {len(backbone.strides)} maps; "
            "set --edges.levels to fewer"
        )
    photo, coarsest = (images.shape[2], images.shape[3]), backbone.strides[-1]
    scaled = resized(images, fitting_scale(photo, scale=scale, stride=coarsest, cells=cells))
    maps, axes = [], []
    with torch.inference_mode():
        found = backbone(scaled)[-levels:]
    for level, stride in zip(found, backbone.strides[-levels:], strict=True):
        size = [math.ceil(side / stride) for side in scaled.shape[2:]]
        # Half a pixel of every halving: a finer map is off by its share of the coarsest's shift.
        shift = backbone.shift * (stride - 1) / max(coarsest - 1, 1)
        rows, columns = (
            resampling(side, stride=stride, length=length, target=-(-whole // SCALE), shift=shift)
            for side, length, whole in zip(size, scaled.shape[2:], photo, strict=True)
        )
        axes.append((rows.float().to(level.device), columns.float().to(level.device)))
        maps.append(level[:, :, : size[0], : size[1]].bfloat16())
    return Levels(maps, axes)


class BoundaryNet(nn.Module):
    """Maps of a backbone to logits of a class boundary, on a grid of a quarter of the photo."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """`channels` of the maps that it reads; `width` of what it makes of each, in fours."""
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.GroupNorm(GROUPS, width))
            for wide in channels
        )
        self.last = nn.Conv2d(width * len(channels), 1, 1)

    def forward(self, levels: Levels) -> Float32[Tensor, "b h4 w4"]:
        """Logits: 0 is as likely a boundary as none."""
        seen = [
            functional.relu(rows @ layer(one.float()) @ columns.T)
            for layer, one, (rows, columns) in zip(
                self.levels, levels.maps, levels.axes, strict=True
            )
        ]
        logits: Tensor = self.last(torch.cat(seen, dim=1))
        return logits[:, 0]


def pair_losses(
    logits: Float32[Tensor, "h w"], label: Int64[Tensor, "h w"], radius: int
) -> tuple[Float32[Tensor, " 3"], Int64[Tensor, " 3"]]:
    """Sums and counts of -log a over pairs of one object class and of the background, and of
    -log (1 - a) over pairs of two classes; cells of -1 are in no pair.

    a = 1 - the largest boundary between the two (IRN, equations 5 to 7).
    """
    between = barriers(logits[None], radius, outside=FAR)[0]
    reach, (height, width) = radius - 1, label.shape
    padded = functional.pad(label, (reach, reach, 0, reach), value=UNKNOWN)
    other = torch.stack(
        [
            padded[down : down + height, reach + right : reach + right + width]
            for down, right in paths(radius).pairs
        ]
    )
    known = (label != UNKNOWN) & (other != UNKNOWN)
    same = known & (label == other)
    kinds = (same & (label > 0), same & (label == 0), known & ~same)
    # Of logits, not of a: -log(1 - sigmoid(z)) = softplus(z) has no logarithm of 0.
    sums = [functional.softplus(between[kind]).sum() for kind in kinds[:2]]
    sums.append(functional.softplus(-between[kinds[2]]).sum())
    return torch.stack(sums), torch.stack([kind.sum() for kind in kinds])


def pair_loss(sums: Float32[Tensor, " 3"], counts: Int64[Tensor, " 3"]) -> Float32[Tensor, ""]:
    """(L_pos + L_neg) / 2, L_pos half objects and half background: rare pairs count as much."""
    objects, background, apart = sums / counts.clamp_min(1)
    return ((objects + background) / 2 + apart) / 2


def save_boundary_net(path: Path, net: BoundaryNet) -> None:
    """Write its tensors to `path`, atomically."""
    state = {key: value.cpu().contiguous() for key, value in net.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary)


def load_boundary_net(path: Path) -> BoundaryNet:
    """What `save_boundary_net` wrote, on the CPU. Raises ValueError naming a damaged file."""
    try:
        state = load_file(path)
        firsts = [value for key, value in sorted(state.items()) if key.endswith(".0.weight")]
        net = BoundaryNet([one.shape[1] for one in firsts], firsts[0].shape[0])
        net.load_state_dict(state)
    except (SafetensorError, RuntimeError, IndexError, ValueError) as problem:
        raise ValueError(f"{path} holds no boundary network ({problem}): delete it") from problem
    return net.eval().requires_grad_(False)
