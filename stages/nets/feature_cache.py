"""What a frozen backbone says of every photo, made once and kept in memory.

On a small machine the backbone is nearly all of a training's cost; frozen, it says the same of a
photo in every epoch. Kept are the maps that a head reads, in bfloat16, of the photo and of its
mirror image at every scale.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor
from torch.nn import functional

from data.labels import ignore_of
from data.loader import ahead, decoded, sized_batches
from data.records import Photo
from pipeline.context import Context
from stages.nets.backbone import Backbone
from stages.nets.device import autocast
from stages.nets.pooled import indexed_photo
from stages.nets.resize import resized
from stages.nets.segmenter import Segmenter
from stages.nets.streams import in_streams
from stages.pixel_labels import PixelLabels

BYTES = 2
"""Of one bfloat16."""


@dataclass(frozen=True)
class FeatureBatch:
    """Whole photos of several sizes as their maps, on zeros at the bottom and on the right."""

    features: list[Tensor]
    """One entry a backbone map; those that no head reads have no cells."""
    labels: Int64[Tensor, "b h w"]
    """0 background, 1..C classes, `ignore_of` C outside the photo too."""
    weights: Float[Tensor, "b h w"] | None
    """Weight of every pixel in the loss, 0 outside the photo."""
    ids: list[str]


def cache_bytes(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    *,
    flip: bool,
    scales: Sequence[float] = (1.0,),
    least: Iterable[int] = (),
) -> int:
    """Memory that the maps of `photos` would take, in bytes.

    least: backbone maps that count whether the head reads them or not.
    """
    backbone = segmenter.backbone
    step = max(backbone.strides)
    sizes = [scaled(photo.size, scale) for photo in photos for scale in scales]
    pixels = sum(_up(height, step) * _up(width, step) for height, width in sizes)
    levels = {*segmenter.head.levels, *least}
    cell = sum(backbone.channels[level] / backbone.strides[level] ** 2 for level in levels)
    return round(pixels * cell * BYTES * (2 if flip else 1))


class FeatureCache:
    """Maps, labels and weights of photos, and epochs of batches of them.

    Order, scale and mirroring are a pure function of (seed, epoch, position), so that a resumed
    training goes on as it would have gone. A batch has one scale.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        labels: PixelLabels,
        *,
        path: Callable[[Photo], Path],
        flip: bool,
        context: Context,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        """Run the backbone over all photos of `labels` and keep the maps that the head reads.

        Raises ValueError where a label or a photo is not of the size that the index says.
        """
        backbone = segmenter.backbone
        self.levels, self.photos, self.flip = segmenter.head.levels, labels.photos, flip
        self.scales = tuple(scales)
        self.strides, self.channels = backbone.strides, backbone.channels
        self.step = max(backbone.strides)
        self.ignore = ignore_of(labels.classes - 1)
        self.labels = [_checked(labels.label(photo), photo, "label") for photo in self.photos]
        self.weights = None
        if labels.confidence is not None:
            self.weights = [_checked(labels.weight(p), p, "confidence") for p in self.photos]
        self.maps = self._extracted(backbone, path, context)

    def _extracted(
        self, backbone: Backbone, path: Callable[[Photo], Path], context: Context
    ) -> dict[str, list[list[list[Tensor]]]]:
        """Per photo and scale: the kept maps as they are and, with `flip`, of the mirror image."""
        found: dict[str, list[list[list[Tensor]]]] = {}
        device = backbone.mean.device
        batches = sized_batches(self.photos, 1)
        images = decoded(batches, partial(indexed_photo, path), context.workers)

        def maps_of(
            given: tuple[list[Photo], list[np.ndarray]],
        ) -> tuple[str, list[list[list[Tensor]]]]:
            (photo,), (image,) = given
            views = [image, image[:, ::-1]] if self.flip else [image]
            stack = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).to(device)
            scales = []
            for scale in self.scales:
                with torch.no_grad(), autocast(context.precision, device):
                    maps = backbone(resized(stack, scale))
                kept = [maps[level].to("cpu", torch.bfloat16) for level in self.levels]
                scales.append([[m[view].clone() for m in kept] for view in range(len(views))])
            return photo.id, scales

        for name, maps in in_streams(maps_of, images, device=device, streams=context.workers):
            found[name] = maps
            context.listener.progress(len(found), len(self.photos), "photos")
        return found

    def batches(
        self, epoch: int, start: int = 0, *, seed: int, batch_size: int
    ) -> Iterator[FeatureBatch]:
        """The batches `start`, `start + 1`, ... of `epoch`; the last is filled from the front."""
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self.photos))
        total = _up(len(self.photos), batch_size)
        mirrored = rng.random(total) < 0.5
        plan = list(zip(np.resize(order, total).tolist(), mirrored.tolist(), strict=True))
        scales = rng.integers(len(self.scales), size=total // batch_size).tolist()
        chunks = [
            _Places(plan[at * batch_size : (at + 1) * batch_size], scale)
            for at, scale in enumerate(scales)
        ]
        return ahead(self._batch, chunks[start:], threads=1, depth=2)

    def _batch(self, places: "_Places") -> FeatureBatch:
        scale = self.scales[places.scale]
        sizes = [scaled(self.photos[i].size, scale) for i, _ in places.photos]
        height, width = (max(_up(size[axis], self.step) for size in sizes) for axis in (0, 1))
        features = [torch.zeros(len(sizes), 0, 1, 1) for _ in self.strides]
        for place, level in enumerate(self.levels):
            s = self.strides[level]
            canvas = torch.zeros(len(sizes), self.channels[level], height // s, width // s)
            canvas = canvas.contiguous(memory_format=torch.channels_last)
            for row, (i, flipped) in enumerate(places.photos):
                views = self.maps[self.photos[i].id][places.scale]
                one = views[1 if flipped and self.flip else 0][place]
                canvas[row, :, : one.shape[1], : one.shape[2]] = one
            features[level] = canvas
        labels = self._pixels(self.labels, places, (height, width), self.ignore).long()
        weights = None
        if self.weights is not None:
            weights = self._pixels(self.weights, places, (height, width), 0)
        return FeatureBatch(
            features, labels, weights, [self.photos[i].id for i, _ in places.photos]
        )

    def _pixels(
        self, pixels: list[Tensor], places: "_Places", size: tuple[int, int], fill: int
    ) -> Tensor:
        """Labels or weights of a batch, scaled and mirrored as their photos are, on `fill`."""
        rows = []
        for i, flipped in places.photos:
            one = _nearest(pixels[i], scaled(self.photos[i].size, self.scales[places.scale]))
            one = one.flip(1) if flipped and self.flip else one
            below, after = size[0] - one.shape[0], size[1] - one.shape[1]
            rows.append(functional.pad(one, (0, after, 0, below), value=fill))
        return torch.stack(rows)


class _Places(NamedTuple):
    """The photos of one batch: number and whether mirrored; and the number of its scale."""

    photos: list[tuple[int, bool]]
    scale: int


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) of a photo at `scale`, as `resized` makes it."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _nearest(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of a label or weight at another size, each from the middle of its area."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * (old / new)).long()
        for new, old in zip(size, pixels.shape, strict=True)
    )
    return pixels if pixels.shape == size else pixels[rows[:, None], columns]


def _up(length: int, step: int) -> int:
    return -(-length // step) * step


def _checked(
    pixels: Integer[np.ndarray, "h w"] | Float[np.ndarray, "h w"], photo: Photo, name: str
) -> Tensor:
    if pixels.shape != photo.size:
        raise ValueError(
            f"{name} of {photo.id} is {pixels.shape}, its photo {photo.size} (height, width): "
            "make the labels again from these photos"
        )
    return torch.from_numpy(np.array(pixels))  # decoded images are read-only
