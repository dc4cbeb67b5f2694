"""Mean features of whole photos: what a classifier scores, and what its head can be trained on."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.files import replacing
from data.loader import decoded, sized_batches
from data.manifest import Manifest
from data.photos import read_photo
from data.records import Photo
from pipeline.context import Context
from stages.nets.classifier import Classifier
from stages.nets.device import autocast
from stages.nets.resize import resized
from stages.nets.streams import in_streams

PIXELS = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Photo pixels that go through a network at once, by kind of device: bounds the memory."""

Images = UInt8[Tensor, "b 3 h w"]


def photo_batches(
    manifest: Manifest, photos: Sequence[Photo], *, device: torch.device, workers: int
) -> Iterator[tuple[list[Photo], Images]]:
    """The photos in batches of one size, RGB in 0..255, decoded ahead of use.

    Raises ValueError, naming the file, where a photo no longer has the size that the index says.
    """
    batches: list[list[Photo]] = []
    for (height, width), group in groupby(sorted(photos, key=_size), key=_size):
        at_once = max(1, PIXELS.get(device.type, PIXELS["cpu"]) // (height * width))
        batches += sized_batches(group, at_once)
    read = partial(indexed_photo, manifest.path)
    for batch, arrays in decoded(batches, read, workers):
        yield batch, torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def _size(photo: Photo) -> tuple[int, int]:
    return photo.size


def indexed_photo(path: Callable[[Photo], Path], photo: Photo) -> UInt8[np.ndarray, "h w 3"]:
    """The photo at `path(photo)`, RGB in 0..255.

    Raises ValueError, naming the file, where it no longer has the size that the index says.
    """
    image = read_photo(path(photo))
    if image.shape[:2] != photo.size:
        raise ValueError(
            f"{path(photo)} is {image.shape[:2]} (height, width), but was indexed as "
            f"{photo.size}: index the photos again with --force index"
        )
    return image


def pooled_features(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    context: Context,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Float32[Tensor, "n views d"]:
    """f of every photo at each scale, then, with `flip`, mirrored; in the order of `photos`."""
    classifier.eval()
    device = classifier.linear.weight.device
    found: dict[str, Tensor] = {}

    def pooled(given: tuple[list[Photo], Images]) -> tuple[list[Photo], Tensor]:
        batch, images = given
        sized = [resized(images.to(device), scale) for scale in scales]
        seen = []
        for view in [*sized, *(image.flip(-1) for image in sized if flip)]:
            with torch.no_grad(), autocast(context.precision, device):
                seen.append(classifier.pooled(view))
        return batch, torch.stack(seen, dim=1).cpu()

    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for batch, features in in_streams(pooled, batches, device=device, streams=context.workers):
        found.update(zip((photo.id for photo in batch), features, strict=True))
        context.listener.progress(len(found), len(photos), "photos")
    if not photos:
        return torch.zeros(0, len(scales) * (1 + flip), classifier.linear.in_features)
    return torch.stack([found[photo.id] for photo in photos])


def kept_features(
    path: Path,
    classifier: Classifier,
    manifest: Manifest,
    *,
    context: Context,
    scales: Sequence[float],
) -> Float32[Tensor, "n views d"]:
    """`pooled_features` of the train photos, mirrored too; kept at `path` for a resumed run."""
    if not path.exists():
        features = pooled_features(
            classifier,
            manifest,
            manifest.split("train"),
            context=context,
            scales=scales,
            flip=True,
        )
        with replacing(path) as temporary:
            save_file({"features": features.contiguous()}, temporary)
    return load_file(path)["features"]


def pooled_loader(
    features: Float32[Tensor, "n views d"],
    tags: Bool[np.ndarray, "n c"],
    *,
    batch_size: int,
    seed: int,
) -> Callable[[int, int], Iterator[tuple[Tensor, Tensor]]]:
    """(epoch, start) -> batches of (features b d, tags b c): one view a photo, drawn each epoch.

    What it yields depends on seed, epoch and position alone; the last batch may be smaller.
    """
    truth = torch.from_numpy(tags.astype(np.float32))

    def epoch_from(epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([seed, epoch])
        order = torch.from_numpy(rng.permutation(len(features)))
        views = torch.from_numpy(rng.integers(features.shape[1], size=len(features)))
        for rows in order.split(batch_size)[start:]:
            yield features[rows, views[rows]], truth[rows]

    return epoch_from
