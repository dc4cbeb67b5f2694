"""Losses of class masks with a fixed matching: mask k is compared with class k, where it occurs.

After SegViT (Zhang et al. 2022, arXiv 2210.05844), without its class term: no Hungarian matching,
and a class that a photo lacks costs its mask nothing.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from data.labels import IGNORE, ignore_of
from stages.nets.decoder import resized


class MaskLosses(NamedTuple):
    """Means over the pairs of a photo and a class that occurs in it; 0 where there is none."""

    mask: Float[Tensor, ""]
    """Binary loss, mean over the labelled pixels of the photo."""
    dice: Float[Tensor, ""]
    """1 - (2 |p t| + 1) / (|p| + |t| + 1) over the labelled pixels, 0..1."""


def present_classes(
    labels: Int64[Tensor, "b h w"], *, ignore: int = IGNORE
) -> Int64[Tensor, "m 2"]:
    """(photo, class) of every class that has a pixel in a photo, in that order.

    ignore: the largest value, which is no class.
    """
    photos = torch.arange(len(labels), device=labels.device)[:, None, None]
    numbers = labels + (ignore + 1) * photos  # one number for each photo and class
    found = numbers[labels != ignore].unique()
    return torch.stack([found // (ignore + 1), found % (ignore + 1)], dim=1)


def class_mask_losses(
    masks: Float[Tensor, "b k h w"],
    labels: Int64[Tensor, "b H W"],
    pairs: Int64[Tensor, "m 2"],
    *,
    scale: int,
    focal: tuple[float, float] | None,
) -> MaskLosses:
    """Losses of raw mask logits against labels on a grid `scale` times as fine.

    Pixels of `ignore_of` k - 1 classes are ignored.

    pairs: what `present_classes` says of these labels.
    focal: alpha and gamma of the focal loss (Lin et al. 2017, arXiv 1708.02002); None for binary
        cross-entropy.
    """
    if len(pairs) == 0:
        nothing = masks.sum() * 0.0
        return MaskLosses(nothing, nothing)
    photo, found = pairs.unbind(1)
    logits = masks[photo, found].float()  # m h w: only what is compared is enlarged
    logits = resized(logits[:, None], scale, (labels.shape[1], labels.shape[2]))[:, 0].flatten(1)
    rows = labels[photo].flatten(1)
    valid = (rows != ignore_of(masks.shape[1] - 1)).float()
    truth = (rows == found[:, None]).float()
    if focal is None:
        wrong = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    else:
        wrong = sigmoid_focal_loss(logits, truth, *focal)
    probability = logits.sigmoid() * valid
    overlap = (probability * truth).sum(dim=1)
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=1) + truth.sum(dim=1) + 1)
    return MaskLosses(((wrong * valid).sum(dim=1) / valid.sum(dim=1)).mean(), dice.mean())
