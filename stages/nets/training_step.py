"""One step of the segmentation network's training: from a batch to its loss."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from data.loader import Batch, ahead
from stages.nets.device import autocast
from stages.nets.feature_cache import FeatureBatch
from stages.nets.heads import Head
from stages.nets.losses import Criterion
from stages.nets.segmenter import Segmenter

Targets = dict[str, Tensor]
AnyBatch = TypeVar("AnyBatch", Batch, FeatureBatch)


def with_targets(
    head: Head, loader: Callable[[int, int], Iterable[AnyBatch]]
) -> Callable[[int, int], Iterator[tuple[AnyBatch, Targets]]]:
    """`loader`, with what the head's own loss needs of the labels made beside the step."""

    def targets(batch: AnyBatch) -> tuple[AnyBatch, Targets]:
        return batch, {} if batch.labels is None else head.targets(batch.labels)

    return lambda epoch, start: ahead(targets, loader(epoch, start), threads=1, depth=1)


def step_on_images(
    segmenter: Segmenter, criterion: Criterion, precision: str, *, through_backbone: bool
) -> Callable[[tuple[Batch, Targets]], Float[Tensor, ""]]:
    """Batch of crops -> loss; gradients reach the backbone only `through_backbone`."""
    device = segmenter.backbone.mean.device

    def step(given: tuple[Batch, Targets]) -> Float[Tensor, ""]:
        batch, targets = given
        if batch.labels is None:
            raise ValueError("a batch without labels cannot train a segmentation network")
        with autocast(precision, device):
            with torch.set_grad_enabled(through_backbone):
                maps = segmenter.backbone(batch.images.to(device))
            logits, aux = segmenter.head(maps)
        weights = None if batch.weights is None else batch.weights.to(device)
        moved = {name: value.to(device) for name, value in targets.items()}
        return criterion(logits, aux, batch.labels.to(device), weights, moved)

    return step


def step_on_features(
    segmenter: Segmenter, criterion: Criterion, precision: str
) -> Callable[[tuple[FeatureBatch, Targets]], Float[Tensor, ""]]:
    """Batch of what the frozen backbone said of whole photos -> loss."""
    device = segmenter.backbone.mean.device

    def step(given: tuple[FeatureBatch, Targets]) -> Float[Tensor, ""]:
        batch, targets = given
        with autocast(precision, device):
            logits, aux = segmenter.head([level.to(device) for level in batch.features])
        weights = None if batch.weights is None else batch.weights.to(device)
        moved = {name: value.to(device) for name, value in targets.items()}
        return criterion(logits, aux, batch.labels.to(device), weights, moved)

    return step
