"""Re-activated class activation maps (ReCAM, Chen et al. 2022): a second set of class weights."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

from data.manifest import Manifest
from data.records import Photo
from pipeline.context import Context
from stages.nets.classifier import Classifier
from stages.nets.device import autocast
from stages.nets.pooled import photo_batches
from stages.nets.resize import as_seen
from stages.nets.streams import in_streams


class ClassFeatures(NamedTuple):
    """F_c of every tag of every photo: one row a pair of photo and tag, in order of the photos."""

    features: Float32[Tensor, "m 2 d"]
    """Of the photo and of its mirror image."""
    classes: Int64[Tensor, " m"]
    photos: Int64[Tensor, " m"]
    """Number of the photo, 0 .. n - 1; a photo without tags has no row."""


def class_features(
    classifier: Classifier, manifest: Manifest, photos: Sequence[Photo], *, context: Context
) -> ClassFeatures:
    """F_c = mean_p cam_c(p) X_p, cam_c = ReLU(w_c . X) / (its maximum + 1e-5).

    As in zhaozhengChen/ReCAM, step/train_recam.py. Photos at their own size.
    """
    classifier.eval()
    device = classifier.linear.weight.device
    tags = {photo.id: manifest.tag_indices(photo) for photo in photos}
    found: dict[str, Tensor] = {}

    @torch.no_grad()
    def pooled(given: tuple[list[Photo], Tensor]) -> list[tuple[str, Tensor]]:
        batch, images = given[0], as_seen(given[1].to(device), 1.0)
        with autocast(context.precision, device):
            views = [classifier.features(view).float() for view in (images, images.flip(-1))]
        weights = classifier.class_weights("linear")
        made = torch.stack([masked_means(features, weights) for features in views], dim=2)
        rows = zip(batch, made, strict=True)
        return [(photo.id, one[list(tags[photo.id])].cpu()) for photo, one in rows]

    tagged = [photo for photo in photos if tags[photo.id]]
    batches = photo_batches(manifest, tagged, device=device, workers=context.workers)
    for made in in_streams(pooled, batches, device=device, streams=context.workers):
        found.update(made)
        context.listener.progress(len(found), len(tagged), "photos")
    counts = torch.tensor([len(tags[photo.id]) for photo in photos], dtype=torch.long)
    empty = torch.zeros(0, 2, classifier.linear.in_features)
    return ClassFeatures(
        torch.cat([empty, *(found[photo.id] for photo in tagged)]),
        torch.tensor([c for photo in photos for c in tags[photo.id]], dtype=torch.long),
        torch.arange(len(photos)).repeat_interleave(counts),
    )


def masked_means(
    features: Float[Tensor, "b d h w"], weights: Float[Tensor, "c d"]
) -> Float[Tensor, "b c d"]:
    """F_c of every class: the mean over all places of X times the normalised map of the class."""
    places = features.flatten(2)
    maps = functional.relu(weights @ places)
    maps = maps / (maps.amax(dim=2, keepdim=True) + 1e-5)
    return maps @ places.transpose(1, 2) / places.shape[2]


def softmax_loss(
    logits: Float[Tensor, "m c"], classes: Int64[Tensor, " m"], photos: Int64[Tensor, " m"]
) -> Float[Tensor, ""]:
    """Cross entropy of each tag's own features, averaged by photo, then over the photos.

    Photos without tags have no row and count nothing; without any row the loss is 0.
    """
    if not len(classes):
        return logits.sum()
    losses = functional.cross_entropy(logits, classes, reduction="none")
    _, where, counts = photos.unique(return_inverse=True, return_counts=True)
    return (losses / counts[where]).sum() / len(counts)


def class_feature_loader(
    found: ClassFeatures, *, count: int, batch_size: int, seed: int
) -> Callable[[int, int], Iterator[tuple[Tensor, Tensor, Tensor]]]:
    """(epoch, start) -> features (m d), classes and photos of the tags of `batch_size` photos.

    One view a photo, drawn each epoch. What is yielded depends on seed, epoch and position alone.
    """

    def epoch_from(epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        rng = np.random.default_rng([seed, epoch])
        order = torch.from_numpy(rng.permutation(count))
        views = torch.from_numpy(rng.integers(2, size=count))
        for photos in order.split(batch_size)[start:]:
            rows = torch.isin(found.photos, photos).nonzero().flatten()
            of = found.photos[rows]
            yield found.features[rows, views[of]], found.classes[rows], of

    return epoch_from
