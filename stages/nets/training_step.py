"""One step of the segmentation network's training: from a batch to its loss."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from data.loader import Batch
from stages.nets.device import autocast
from stages.nets.feature_cache import FeatureBatch
from stages.nets.losses import Criterion
from stages.nets.segmenter import Segmenter


def step_on_images(
    segmenter: Segmenter, criterion: Criterion, precision: str, *, through_backbone: bool
) -> Callable[[Batch], Float[Tensor, ""]]:
    """Batch of crops -> loss; gradients reach the backbone only `through_backbone`."""
    device = segmenter.backbone.mean.device

    def step(batch: Batch) -> Float[Tensor, ""]:
        if batch.labels is None:
            raise ValueError("a batch without labels cannot train a segmentation network")
        with autocast(precision, device):
            with torch.set_grad_enabled(through_backbone):
                maps = segmenter.backbone(batch.images.to(device))
            logits, aux = segmenter.head(maps)
        weights = None if batch.weights is None else batch.weights.to(device)
        return criterion(logits, aux, batch.labels.to(device), weights)

    return step


def step_on_features(
    segmenter: Segmenter, criterion: Criterion, precision: str
) -> Callable[[FeatureBatch], Float[Tensor, ""]]:
    """Batch of what the frozen backbone said of whole photos -> loss."""
    device = segmenter.backbone.mean.device

    def step(batch: FeatureBatch) -> Float[Tensor, ""]:
        with autocast(precision, device):
            logits, aux = segmenter.head([level.to(device) for level in batch.features])
        weights = None if batch.weights is None else batch.weights.to(device)
        return criterion(logits, aux, batch.labels.to(device), weights)

    return step
