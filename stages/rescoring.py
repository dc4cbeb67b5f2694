"""The workers of the second look: drawing places, training on them, scoring photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Integer, UInt8
from torch import Tensor

from data.cams import Cam, fitting_cam, write_cam
from data.labels import read_label
from data.manifest import Manifest
from data.records import Photo
from pipeline.context import Context
from stages.nets.affinity import Affinity, walked
from stages.nets.backbone import Backbone
from stages.nets.dense_features import Grid, dense_features, fitting_scale
from stages.nets.device import autocast
from stages.nets.pixel_classifier import PixelClassifier, Samples, drawn
from stages.nets.pooled import Images, photo_batches
from stages.nets.streams import in_streams
from stages.rescore import Config


def trained(
    config: Config, manifest: Manifest, backbone: Backbone, *, labels: Path, context: Context
) -> PixelClassifier:
    """The linear classifier of the complete labels in `labels`, over all train photos."""
    samples = _samples(config, manifest, backbone, labels=labels, context=context)
    torch.manual_seed(config.seed)
    made = PixelClassifier(samples.features.shape[1], len(manifest.classes.names) + 1)
    made.to(samples.features.device).fit(samples, config.pixels, seed=config.seed)
    return made


def _samples(
    config: Config, manifest: Manifest, backbone: Backbone, *, labels: Path, context: Context
) -> Samples:
    """Places of all train photos, in the photos' order.

    Which are drawn depends on the seed, the photo's rank and the scale alone.
    """
    photos = manifest.split("train")
    rank = {photo.id: place for place, photo in enumerate(photos)}
    room = config.pixels.samples // (len(photos) * len(config.scales))
    count = max(1, min(config.pixels.places, room))
    device = backbone.mean.device

    def sampled(given: tuple[list[Photo], Images]) -> dict[int, list[Samples]]:
        batch, images = given
        found: dict[int, list[Samples]] = {rank[photo.id]: [] for photo in batch}
        known = [_label(labels, photo) for photo in batch]
        for at_scale, scale in enumerate(config.scales):
            maps, grid = _features(config, backbone, images.to(device), scale, context.precision)
            for photo, features, label in zip(batch, maps, known, strict=True):
                rng = np.random.default_rng([config.seed, rank[photo.id], at_scale])
                one = drawn(features, label, grid.centres, count=count, rng=rng)
                found[rank[photo.id]].append(one)
        return found

    by_rank: dict[int, list[Samples]] = {}
    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for found in in_streams(sampled, batches, device=device, streams=context.workers):
        by_rank |= found
        context.listener.progress(len(by_rank), len(photos), "photos looked at")
    ordered = [one for place in sorted(by_rank) for one in by_rank[place]]
    return Samples(
        torch.cat([one.features for one in ordered]), torch.cat([one.labels for one in ordered])
    )


class Rescoring:
    """New scores for photos of one size at a time."""

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        pixels: PixelClassifier,
        *,
        background: float,
        precision: str,
    ) -> None:
        """`background`: the score, beside the activation maps, that the labels so far had."""
        self.config, self.backbone, self.pixels = config, backbone, pixels
        self.background, self.precision = background, precision

    def write(
        self,
        photos: Sequence[Photo],
        tags: Sequence[Sequence[int]],
        images: UInt8[Tensor, "b 3 H W"],
        *,
        cams: Path,
        out: Path,
    ) -> None:
        """Write the new scores of `photos`, whose tags are 0-based class indices."""
        names = [[0, *(index + 1 for index in one)] for one in tags]
        logits = self._logits(images, names)
        with autocast(self.precision, images.device):
            affinity = Affinity(self.backbone, images, self.config.affinity)
        for at, photo in enumerate(photos):
            cam = fitting_cam(cams / f"{photo.id}.npz", photo.size)
            prior = torch.from_numpy(cam.scores()).to(images.device)
            prior[0] *= self.background
            scores = prior * logits[at].softmax(dim=0)
            scores = scores / scores.sum(dim=0).clamp_min(1e-12)
            shared = walked(scores, affinity.of(at), affinity.grid, steps=self.config.steps)
            given = (shared / shared.sum(dim=0).clamp_min(1e-12)).cpu().numpy()
            made = Cam(cam.classes, given[1:], cam.size, background=given[0])
            write_cam(out / f"{photo.id}.npz", made)

    def _logits(
        self, images: UInt8[Tensor, "b 3 H W"], labels: Sequence[Sequence[int]]
    ) -> list[Float32[Tensor, "_k h4 w4"]]:
        """Of each photo's own `labels`: mean over the scales, on the grid of the finished maps."""
        totals = [torch.zeros((), device=images.device) for _ in labels]
        for scale in self.config.scales:
            maps, grid = _features(self.config, self.backbone, images, scale, self.precision)
            with torch.inference_mode():
                cells = self.pixels(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                totals = [
                    total + grid.to_maps(one[list(own)])
                    for total, one, own in zip(totals, cells, labels, strict=True)
                ]
        return [total / len(self.config.scales) for total in totals]


def _features(
    config: Config,
    backbone: Backbone,
    images: UInt8[Tensor, "b 3 H W"],
    scale: float,
    precision: str,
) -> tuple[Float32[Tensor, "b d h w"], Grid]:
    size = (images.shape[2], images.shape[3])
    scale = fitting_scale(size, scale=scale, stride=backbone.strides[-1], cells=config.cells)
    with torch.inference_mode(), autocast(precision, images.device):
        maps, grid = dense_features(backbone, images, scale=scale, levels=config.levels)
    return torch.cat(maps, dim=1), grid


def _label(labels: Path, photo: Photo) -> Integer[np.ndarray, "H W"]:
    """The complete label of a photo. Raises ValueError where it has another size."""
    path = labels / "full" / f"{photo.id}.png"
    label = read_label(path)
    if label.shape != photo.size:
        raise ValueError(f"{path} is {label.shape}, its photo {photo.size} (height, width)")
    return label
