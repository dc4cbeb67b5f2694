"""How well a segmentation network names the tags of photos: a score that needs no mask."""

from collections.abc import Sequence

import numpy as np
import torch

from data.labels import ignored
from data.manifest import Manifest
from data.records import Photo
from pipeline.context import Context
from stages.nets.device import autocast
from stages.nets.pooled import Images, photo_batches
from stages.nets.segmenter import Segmenter
from stages.nets.streams import in_streams

LEAST = 0.01
"""Share of a photo's pixels from which on a class counts as painted."""


def tag_agreement(
    segmenter: Segmenter, manifest: Manifest, photos: Sequence[Photo], context: Context
) -> float:
    """Mean over the photos of the F1 between their tags and the classes painted, in [0, 1].

    A photo without a tag on which nothing is painted counts 1. Every layer is left in the mode
    (train or eval) that it was in, and no random number is drawn.
    """
    modes = {module: module.training for module in segmenter.modules()}
    device = segmenter.backbone.mean.device
    segmenter.eval()

    def scores(given: tuple[list[Photo], Images]) -> list[float]:
        group, images = given
        with torch.inference_mode(), autocast(context.precision, device):
            labels = segmenter.predict(images.to(device)).cpu().numpy()
        return [
            f1(set(manifest.tag_indices(photo)), painted(label))
            for photo, label in zip(group, labels, strict=True)
        ]

    classes, workers = len(manifest.classes.names) + 1, context.workers
    batches = photo_batches(manifest, photos, device=device, workers=workers, classes=classes)
    found = [
        score
        for group in in_streams(scores, batches, device=device, streams=context.workers)
        for score in group
    ]
    for module, mode in modes.items():
        module.training = mode
    return float(np.mean(found))


def painted(label: np.ndarray) -> set[int]:
    """0-based classes that cover at least `LEAST` of a label's pixels."""
    counts = np.bincount(label[~ignored(label)])[1:]
    return set(np.flatnonzero(counts >= LEAST * label.size).tolist())


def f1(tags: set[int], found: set[int]) -> float:
    """2 |both| / (|tags| + |found|); 1 where both are empty."""
    total = len(tags) + len(found)
    return 2 * len(tags & found) / total if total else 1.0
