"""What a segmentation network says of photos of any size: whole, shrunk, or tile by tile."""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from stages.nets.decoder import resized as to_pixels
from stages.nets.resize import resized
from stages.nets.segmenter import Segmenter, torch_type

TILE = 1024
"""Side of a tile in pixels."""
OVERLAP = 128
"""Least overlap of two tiles; the seam runs through its middle."""
LIMIT = 2_000_000
"""Photos of more pixels are cut into tiles (1920 x 1040 is just below)."""


class Look(NamedTuple):
    """Labels of photos of one size, and how sure the network is of each."""

    labels: Integer[Tensor, "b h w"]
    """0 background, 1..C classes, none ignored."""
    scores: Float[Tensor, "b c"]
    """Mean probability of each label (background first) over the cells that it wins; 0: none."""


@torch.inference_mode()
def look(
    segmenter: Segmenter, images: UInt8[Tensor, "b 3 h w"], *, longest: int | None = None
) -> Look:
    """Label photos of one size (RGB, 0..255), on the device of the network.

    longest: shrink photos to this longest side first; labels come at the photo's own size from
        scores that are scaled up. Without it, photos of more than `LIMIT` pixels are seen in tiles.

    Call it inside `autocast`.
    """
    size = (images.shape[-2], images.shape[-1])
    images = images.to(segmenter.backbone.mean.device)
    if longest is not None and max(size) > longest:
        small = resized(images, longest / max(size))
        logits, cells = _seen(segmenter, small)
        return Look(_upscaled(to_pixels(logits, segmenter.head.stride, _size(small)), size), cells)
    if size[0] * size[1] > LIMIT:
        return _tiled(segmenter, images)
    logits, cells = _seen(segmenter, images)
    return Look(segmenter.winner(logits, size), cells)


def _size(images: Float[Tensor, "b 3 h w"]) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _seen(
    segmenter: Segmenter, images: Tensor
) -> tuple[Float[Tensor, "b c _h _w"], Float[Tensor, "b c"]]:
    """Logits, and the mean probability of each label over the cells of the photo that it wins."""
    logits = segmenter(images).logits.float()
    stride = segmenter.head.stride
    rows, columns = (-(-side // stride) for side in images.shape[-2:])
    share = logits[:, :, :rows, :columns].softmax(dim=1).flatten(2)  # b c p
    best = share.max(dim=1)
    sums = torch.zeros_like(share[:, :, 0]).scatter_add_(1, best.indices, best.values)
    counts = torch.zeros_like(sums).scatter_add_(1, best.indices, torch.ones_like(best.values))
    return logits, sums / counts.clamp_min(1)


def _upscaled(logits: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Integer[Tensor, "b H W"]:
    """The winner at each pixel of `size`, one class in memory at a time: photos may be large."""
    shape = (len(logits), *size)
    best = torch.full(shape, -torch.inf, device=logits.device)
    labels = torch.zeros(shape, dtype=torch_type(logits.shape[1]), device=logits.device)
    for label in range(logits.shape[1]):
        one = interpolate(
            logits[:, label : label + 1], size=size, mode="bilinear", align_corners=False
        )[:, 0]
        labels[one > best] = label
        best = torch.maximum(best, one)
    return labels


def _tiled(segmenter: Segmenter, images: UInt8[Tensor, "b 3 h w"]) -> Look:
    """Tiles of one size, one after the other; a pixel takes its label from the nearest middle."""
    labels = torch.zeros((len(images), *images.shape[-2:]), dtype=torch.int16, device=images.device)
    sums = torch.zeros(len(images), 0)
    weights = sums
    for top, first_row, last_row in tiles(images.shape[-2]):
        for left, first, last in tiles(images.shape[-1]):
            tile = images[:, :, top : top + TILE, left : left + TILE]
            logits, scores = _seen(segmenter, tile)
            found = segmenter.winner(logits, (tile.shape[-2], tile.shape[-1]))
            kept = found[:, first_row - top : last_row - top, first - left : last - left]
            labels[:, first_row:last_row, first:last] = kept
            weight = _areas(kept, scores.shape[1])
            sums = scores * weight if not sums.numel() else sums + scores * weight
            weights = weight if not weights.numel() else weights + weight
    return Look(labels.to(torch_type(sums.shape[1])), sums / weights.clamp_min(1))


def _areas(labels: Integer[Tensor, "b h w"], classes: int) -> Float[Tensor, "b c"]:
    """Pixels of each label."""
    flat = labels.flatten(1).long()
    empty = torch.zeros(len(flat), classes, device=flat.device)
    return empty.scatter_add_(1, flat, torch.ones_like(flat, dtype=empty.dtype))


def tiles(length: int) -> list[tuple[int, int, int]]:
    """(start, first kept, one past the last kept) of the tiles along an axis of `length` pixels.

    Tiles are `TILE` long (the axis itself where it is shorter), spread evenly; what they keep
    covers the axis once.
    """
    if length <= TILE:
        return [(0, 0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    starts = [round(i * (length - TILE) / (count - 1)) for i in range(count)]
    seams = [(a + TILE + b) // 2 for a, b in pairwise(starts)]
    return list(zip(starts, [0, *seams], [*seams, length], strict=True))
