"""What the regions of a trained network hold, measured on photos that have a mask."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo
from pipeline.context import Context
from stages.components import on_grid
from stages.nets.device import autocast
from stages.nets.pooled import Images, photo_batches
from stages.nets.segmenter import Segmenter
from stages.nets.streams import in_streams
from stages.region_metrics import RegionMetrics

BLANK = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
"""A small photo that shows whether a head gives regions at all."""


class RegionMap(NamedTuple):
    """Regions of a batch of photos on their grid."""

    regions: Float32[np.ndarray, "b k h w"]
    """In [0, 1], a token each."""
    stride: int
    """Pixels of the photo per cell."""


class Regions:
    """The regions that a network gives for photos, on the grid where they were made."""

    def __init__(self, segmenter: Segmenter, precision: str) -> None:
        """`segmenter` in eval mode; `precision` as in a context."""
        self.segmenter = segmenter
        self.precision = precision

    @torch.inference_mode()
    def __call__(self, images: Images) -> RegionMap | None:
        """The regions of photos of one size; None where the head makes none.

        The grid may reach beyond the photos, which the backbone pads at the bottom and the right.
        """
        device = self.segmenter.backbone.mean.device
        with autocast(self.precision, device):
            logits, aux = self.segmenter(images.to(device))
        if "regions" not in aux:
            return None
        regions = aux["regions"].float().cpu().numpy()
        return RegionMap(regions, logits.shape[2] * self.segmenter.head.stride // regions.shape[2])


def region_scores(
    segmenter: Segmenter,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    masks: MaskIndex,
    context: Context,
) -> dict[str, Any]:
    """{"regions": the figures of `RegionMetrics`} over those of `photos` that have a mask.

    Empty for heads without regions and where no photo has a mask. The masks are brought to the
    regions' grid by nearest neighbour; every class but the background counts as countable. One
    scale and no mirror image, whatever the predictions were made with.
    """
    known = set(masks.ids)
    scored = [photo for photo in photos if photo.id in known]
    metrics = RegionMetrics(range(1, len(manifest.classes.names) + 1))
    device, look = segmenter.backbone.mean.device, Regions(segmenter, context.precision)
    if not scored or look(BLANK) is None:
        return {}
    read = photo_batches(manifest, scored, device=device, workers=context.workers)
    facts: dict[str, Any] = {}
    for group, found in in_streams(
        lambda given: (given[0], look(given[1])), read, device=device, streams=context.workers
    ):
        assert found is not None, "the head gave regions for a blank photo"
        regions, stride = found
        facts = {"tokens": regions.shape[1], "stride": stride}
        for photo, own in zip(group, regions, strict=True):
            label = on_grid(masks.read(photo), stride)
            metrics.add(own[:, : label.shape[0], : label.shape[1]], label)
        context.listener.progress(len(metrics.photos), len(scored), "photos, regions")
    return {"regions": {**facts, **metrics.figures()}}
