"""Mean features of whole photos: what a classifier scores, and what its head can be trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from safetensors import SafetensorError
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


@dataclass(frozen=True)
class Views:
    """What of a photo is seen beside the whole photo at its own size: nothing, unless told."""

    scales: tuple[float, ...] = ()
    flip: bool = False
    """Also the mirror images, after all scales."""

    def __len__(self) -> int:
        return len(self.scales) * (1 + self.flip)


def pooled_views(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    views: Views,
    context: Context,
) -> Iterator[tuple[Photo, Float32[Tensor, " d"], Float32[Tensor, "v d"]]]:
    """f of every photo as it is, and of its `views`, on the CPU; in order of the photos' sizes.

    Raises ValueError, naming the file, where a photo no longer has the size that the index says.
    """
    classifier.eval()
    device = classifier.linear.weight.device

    def pooled(given: tuple[list[Photo], Images]) -> tuple[list[Photo], Tensor, Tensor]:
        batch, images = given[0], given[1].to(device)

        def seen(image: Tensor) -> Tensor:
            with torch.no_grad(), autocast(context.precision, device):
                return classifier.pooled(image).cpu()

        sized = {scale: resized(images, scale) for scale in views.scales}
        found = [seen(image) for image in sized.values()]
        plain = found[views.scales.index(1.0)] if 1.0 in sized else seen(images)
        found += [seen(image.flip(-1)) for image in sized.values() if views.flip]
        return batch, plain, torch.stack(found, dim=1) if found else plain[:, None][:, :0]

    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for batch, plain, found in in_streams(pooled, batches, device=device, streams=context.workers):
        yield from zip(batch, plain, found, strict=True)


def plain_features(
    classifier: Classifier, manifest: Manifest, photos: Sequence[Photo], *, context: Context
) -> Float32[Tensor, "n d"]:
    """f of every photo as it is, in the order of `photos`."""
    found: dict[str, Tensor] = {}
    made = pooled_views(classifier, manifest, photos, views=Views(), context=context)
    for photo, plain, _ in made:
        found[photo.id] = plain
        context.listener.progress(len(found), len(photos), "photos")
    if not photos:
        return torch.zeros(0, classifier.linear.in_features)
    return torch.stack([found[photo.id] for photo in photos])


def file_of(folder: Path, photo: Photo) -> Path:
    """Where `write_pooled` keeps the features of a photo."""
    return folder / f"{photo.id}.safetensors"


def write_pooled(
    folder: Path, photo: Photo, plain: Float32[Tensor, " d"], views: Float32[Tensor, "v d"]
) -> None:
    """Keep the features of one photo below `folder`."""
    kept = {"plain": plain.contiguous()}
    if len(views):
        kept["views"] = views.contiguous()
    with replacing(file_of(folder, photo)) as temporary:
        save_file(kept, temporary)


def read_pooled(
    folder: Path, photos: Sequence[Photo], kind: Literal["plain", "views"]
) -> Float32[Tensor, "n ..."]:
    """What `write_pooled` kept of these photos: "plain" n d, or "views" n v d.

    Raises ValueError naming the file that is missing or damaged, or has no views.
    """
    return torch.stack([_read(file_of(folder, photo), kind) for photo in photos])


def _read(path: Path, kind: str) -> Tensor:
    try:
        return load_file(path)[kind]
    except (OSError, KeyError, SafetensorError) as error:
        raise ValueError(
            f"{path} holds no {kind} features ({error}): make them again with --force features"
        ) from error


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
