"""Ways to look at a photo when it is predicted: one scale, several with mirror images, a CRF."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Integer, UInt8
from torch import Tensor

from data.labels import label_type, write_label
from data.manifest import Manifest
from data.photos import read_photo
from data.records import Photo
from pipeline.context import Context
from stages.crf.engines import available
from stages.crf.parameters import CrfParameters
from stages.crf.refine import refine
from stages.nets.device import autocast
from stages.nets.pooled import Images, photo_batches
from stages.nets.segmenter import Segmenter
from stages.nets.streams import in_streams

LEAST = 0.02
"""A class that reaches this probability nowhere in a photo is no label of its CRF."""


class View(NamedTuple):
    """How photos are predicted."""

    scales: Sequence[float]
    flip: bool
    crf: CrfParameters | None
    """The dense CRF over the network's probabilities; None for none."""


class Viewer:
    """Predicts photos in one way and writes the labels."""

    def __init__(
        self, segmenter: Segmenter, view: View, manifest: Manifest, *, context: Context
    ) -> None:
        """`segmenter` in eval mode, on its device."""
        self.segmenter, self.manifest, self.context = segmenter, manifest, context
        self.crf = view.crf
        if view.crf is not None:
            backend, said = available(view.crf.backend)
            self.crf = view.crf.model_copy(update={"backend": backend})
            if said:
                context.note(said)
        self.view = view

    def write(self, photos: Sequence[Photo], out: Path) -> int:
        """Predict those of this rank's `photos` that have no file in `out`; how many that were."""
        mine = self.context.mine(photos)
        todo = [photo for photo in mine if not (out / f"{photo.id}.png").exists()]
        device, workers = self.segmenter.backbone.mean.device, self.context.workers
        done = len(mine) - len(todo)
        labels_made = len(self.manifest.classes.names) + 1
        read = photo_batches(
            self.manifest, todo, device=device, workers=workers, classes=labels_made
        )
        for group, labels in in_streams(self._labels, read, device=device, streams=workers):
            for photo, label in zip(group, labels, strict=True):
                write_label(out / f"{photo.id}.png", label, self.manifest.classes)
            done += len(group)
            self.context.listener.progress(done, len(mine), "photos")
        return len(todo)

    def _labels(
        self, given: tuple[list[Photo], Images]
    ) -> tuple[list[Photo], Sequence[np.ndarray] | np.ndarray]:
        device = self.segmenter.backbone.mean.device
        group, images = given[0], given[1].to(device)
        scales, flip = self.view.scales, self.view.flip
        with torch.inference_mode(), autocast(self.context.precision, device):
            if self.crf is None:
                return group, self.segmenter.predict(images, scales=scales, flip=flip).cpu().numpy()
            probabilities = self.segmenter.probabilities(images, scales=scales, flip=flip)
        return group, [
            self._refined(photo, one) for photo, one in zip(group, probabilities, strict=True)
        ]

    def _refined(
        self, photo: Photo, probabilities: Float[Tensor, "c h w"]
    ) -> Integer[np.ndarray, "h w"]:
        assert self.crf is not None
        image = read_photo(self.manifest.path(photo))
        return refined(image, probabilities.float().cpu().numpy(), self.crf)


def refined(
    image: UInt8[np.ndarray, "h w 3"],
    probabilities: Float32[np.ndarray, "c h w"],
    crf: CrfParameters,
) -> Integer[np.ndarray, "h w"]:
    """The label of every pixel after a dense CRF over the classes that the network sees at all.

    The kernels' widths shrink with the photo, as for pseudo-labels: they are those of 500 pixels.
    """
    highest = probabilities.max(axis=(1, 2))
    # Among more than 1 / LEAST classes an undecided network may give none that much.
    seen = np.flatnonzero(highest >= min(LEAST, highest.max()))
    labels = seen.astype(label_type(len(probabilities) - 1))
    if len(seen) == 1:
        return np.full(image.shape[:2], labels[0])
    scale = max(image.shape[:2]) / 500
    q = refine(image, np.ascontiguousarray(probabilities[seen]), crf, scale=scale)
    return labels[q.argmax(axis=0)]
