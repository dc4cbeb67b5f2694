"""Mean features of whole photos: what a classifier scores, and what its head can be trained on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.files import replacing
from data.loader import decoded, sized_batches
from data.manifest import Manifest
from data.photos import read_photo
from data.records import Photo
from pipeline.context import Context
from stages.nets.classifier import Classifier
from stages.nets.device import autocast
from stages.nets.node_branch import gathered
from stages.nets.resize import as_seen
from stages.nets.streams import in_streams

PIXELS = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Photo pixels that go through a network at once, by kind of device: bounds the memory."""
NUMBERS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Class values at photo size that are made at once: 0.25 GiB and 2 GiB of float32."""

HALF = 65504.0
"""Largest number of float16."""

Images = UInt8[Tensor, "b 3 h w"]


def pixels_at_once(device: torch.device, classes: int = 0) -> int:
    """Photo pixels of one batch; `classes`: values made for every pixel at the photo's own size."""
    kind = device.type if device.type in PIXELS else "cpu"
    return min(PIXELS[kind], NUMBERS[kind] // classes) if classes else PIXELS[kind]


def photo_batches(
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    device: torch.device,
    workers: int,
    classes: int = 0,
) -> Iterator[tuple[list[Photo], Images]]:
    """The photos in batches of one size, RGB in 0..255, decoded ahead of use.

    classes: values that the caller makes for every pixel of a photo, at its own size (logits of
    all classes, say); many of them make batches smaller. A photo is the smallest batch.

    Raises ValueError, naming the file, where a photo no longer has the size that the index says.
    """
    batches: list[list[Photo]] = []
    for (height, width), group in groupby(sorted(photos, key=_size), key=_size):
        at_once = max(1, pixels_at_once(device, classes) // (height * width))
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
    maps: bool = False
    """Also the whole map at the photo's own size and, with `flip`, that of its mirror image."""


def pooled_views(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    views: Views,
    context: Context,
) -> Iterator[tuple[Photo, dict[str, Tensor]]]:
    """f of every photo as it is, and of its `views`, on the CPU; in order of the photos' sizes.

    The dictionary holds "plain" (d), "views" (v d) where there are any, and "maps" (v d h w,
    float16) where asked for. Photos of more than `SEEN` pixels are seen smaller.

    Raises ValueError, naming the file, where a photo no longer has the size that the index says.
    """
    classifier.eval()
    device = classifier.linear.weight.device

    def pooled(given: tuple[list[Photo], Images]) -> tuple[list[Photo], dict[str, Tensor]]:
        batch, images = given[0], given[1].to(device)
        found, maps = [], []

        def look(image: Tensor, keep: bool) -> Tensor:
            with torch.no_grad(), autocast(context.precision, device):
                features = classifier.features(image)
            if keep:
                maps.append(features.float().clamp(-HALF, HALF).to("cpu", torch.float16))
            return classifier.pool(features).detach().cpu()

        sized = {scale: as_seen(images, scale) for scale in views.scales}
        kept = {scale: views.maps and scale == 1.0 for scale in sized}
        found = [look(image, kept[scale]) for scale, image in sized.items()]
        own = list(sized).index(1.0) if 1.0 in sized else None
        plain = look(as_seen(images, 1.0), views.maps) if own is None else found[own]
        if views.flip:
            found += [look(image.flip(-1), kept[scale]) for scale, image in sized.items()]
        if views.flip and views.maps and own is None:
            look(as_seen(images, 1.0).flip(-1), True)
        made = {"plain": plain}
        made |= {"views": torch.stack(found, dim=1)} if found else {}
        made |= {"maps": torch.stack(maps, dim=1)} if maps else {}
        return batch, made

    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for batch, made in in_streams(pooled, batches, device=device, streams=context.workers):
        for at, photo in enumerate(batch):
            yield photo, {kind: tensor[at] for kind, tensor in made.items()}


def plain_features(
    classifier: Classifier, manifest: Manifest, photos: Sequence[Photo], *, context: Context
) -> Float32[Tensor, "n d"]:
    """f of every photo as it is, in the order of `photos`."""
    found: dict[str, Tensor] = {}
    made = pooled_views(classifier, manifest, photos, views=Views(), context=context)
    for photo, features in made:
        found[photo.id] = features["plain"]
        context.listener.progress(len(found), len(photos), "photos")
    if not photos:
        return torch.zeros(0, classifier.linear.in_features)
    return torch.stack([found[photo.id] for photo in photos])


def file_of(folder: Path, photo: Photo) -> Path:
    """Where `write_pooled` keeps the features of a photo."""
    return folder / f"{photo.id}.safetensors"


def write_pooled(folder: Path, photo: Photo, features: Mapping[str, Tensor]) -> None:
    """Keep the features of one photo, as `pooled_views` gives them, below `folder`."""
    kept = {kind: tensor.contiguous() for kind, tensor in features.items()}
    with replacing(file_of(folder, photo)) as temporary:
        save_file(kept, temporary)


def read_pooled(
    folder: Path, photos: Sequence[Photo], kind: Literal["plain", "views"]
) -> Float32[Tensor, "n ..."]:
    """What `write_pooled` kept of these photos: "plain" n d, or "views" n v d.

    Raises ValueError naming the file that is missing or damaged, or has no views.
    """
    return torch.stack([read_kept(file_of(folder, photo), kind) for photo in photos])


def read_kept(path: Path, kind: Literal["plain", "views", "maps"]) -> Tensor:
    """One entry of one file, the others unread. Raises ValueError as `read_pooled`."""
    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_tensor(kind)
            return found
    except (OSError, KeyError, SafetensorError) as error:
        raise ValueError(
            f"{path} holds no {kind} features ({error}): make them again with --force features"
        ) from error


@torch.no_grad()
def read_gathered(
    folder: Path, photos: Sequence[Photo], classifier: Classifier
) -> Float16[Tensor, "n 2 c d"]:
    """What each class sees of these photos and of their mirror images, from their kept maps.

    Class by class the mean features that `NodeBranch` starts from, of the linear weights as they
    are now. Raises ValueError as `read_pooled`.
    """
    looks = classifier.class_weights("linear")
    found = torch.zeros(len(photos), 2, *looks.shape, dtype=torch.float16)
    for row, photo in enumerate(photos):
        maps = read_kept(file_of(folder, photo), "maps").to(looks)
        found[row] = gathered(maps.flatten(2).transpose(1, 2), looks).clamp(-HALF, HALF)
    return found


def pooled_loader(
    features: Float[Tensor, "n views ..."],
    tags: Bool[np.ndarray, "n c"],
    *,
    batch_size: int,
    seed: int,
) -> Callable[[int, int], Iterator[tuple[Tensor, Tensor]]]:
    """(epoch, start) -> batches of (features b ..., tags b c): one view a photo, drawn each epoch.

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
