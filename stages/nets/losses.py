"""Losses of the segmentation network.

Labels are int64; what is ignored depends on the number of classes (`data.labels.ignore_of`): 255 up
to 254 classes beside the background, 32767 beyond.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from data.labels import ignore_of
from stages.nets.decoder import resized
from stages.nets.heads.head import Head


def cross_entropy(
    logits: Float[Tensor, "b c h w"],
    labels: Int64[Tensor, "b h w"],
    *,
    weights: Float[Tensor, "b h w"] | None = None,
    class_weights: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy over labelled pixels, each weighted by `weights` times its class's weight.

    The mean divides by the sum of the weights, so their scale does not matter. Nothing labelled
    gives 0, not NaN.
    """
    ignore = ignore_of(logits.shape[1] - 1)
    losses = functional.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="none")
    labelled = labels != ignore
    scale = labelled.to(losses.dtype)
    if weights is not None:
        scale = scale * weights
    if class_weights is not None:
        scale = scale * class_weights[labels.where(labelled, 0)]
    return (losses * scale).sum() / scale.sum().clamp_min(1e-6)


def class_weights(pixels: Int64[Tensor, " c"], power: float) -> Float[Tensor, " c"]:
    """(mean / frequency)^power of each class; 1 where a class has no pixel. Power 0: all alike.

    `pixels` counts the labelled pixels of each class; the mean is over classes that have some.
    """
    counts = pixels.double()
    present = counts > 0
    mean = counts[present].mean() if bool(present.any()) else counts.new_ones(())
    weights = torch.where(present, mean / counts.clamp_min(1), torch.ones_like(counts))
    return weights.pow(power).float()


def lovasz_softmax(
    logits: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Lovász-softmax: the convex extension of 1 - IoU, mean over the classes present in the batch.

    Berman, Triki, Blaschko 2018 (arXiv 1705.08790), equations 8, 9 and 11: the pixel errors m(c) of
    a class, sorted downwards, are weighted by the discrete gradient of the Jaccard loss. The
    labelled pixels of a batch are one set. For certain predictions it is the mean of 1 - IoU.
    """
    c = logits.shape[1]
    labelled = labels != ignore_of(c - 1)
    truth = labels[labelled]  # n
    if truth.numel() == 0:
        return logits.sum() * 0.0
    probabilities = logits.float().softmax(dim=1).permute(1, 0, 2, 3)[:, labelled]  # c n
    present = torch.bincount(truth, minlength=c).nonzero()[:, 0]  # k
    foreground = (truth == present[:, None]).float()  # k n
    errors = (foreground - probabilities[present]).abs()
    errors, order = errors.sort(dim=1, descending=True)
    gradient = jaccard_gradient(foreground.gather(1, order))
    return (errors * gradient).sum(dim=1).mean()


def jaccard_gradient(foreground: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    """Discrete gradient of the Jaccard loss along pixels sorted by falling error (equation 9).

    `foreground` is 1 where the pixel, in that order, belongs to the class. Entry i is the loss of
    getting the first i + 1 pixels wrong minus that of getting the first i wrong.
    """
    total = foreground.sum(dim=1, keepdim=True)
    intersection = total - foreground.cumsum(dim=1)
    union = total + (1 - foreground).cumsum(dim=1)
    loss = 1 - intersection / union.clamp_min(1)
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(total))


class Criterion:
    """What the network is trained on: cross-entropy, Lovász-softmax and the head's own losses."""

    def __init__(
        self,
        head: Head,
        *,
        stride: int,
        lovasz: float,
        class_weights: Float[Tensor, " c"] | None = None,
    ) -> None:
        """`lovasz` is the share of the Lovász-softmax, the rest is cross-entropy.

        Losses are taken on a grid of one pixel in `stride` per axis, or in the largest number that
        divides it and the head's stride, so that cells of 14 pixels keep their place too.
        """
        self.head = head
        self.stride = math.gcd(stride, head.stride)
        self.lovasz = lovasz
        self.class_weights = class_weights

    def __call__(
        self,
        logits: Float[Tensor, "b c h w"],
        aux: dict[str, Tensor],
        labels: Int64[Tensor, "b H W"],
        weights: Float[Tensor, "b H W"] | None = None,
        targets: dict[str, Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a batch; labels and weights at full size.

        `targets`: what the head made of these labels, on their device.
        """
        first, s = self.stride // 2, self.stride
        coarse = labels[:, first::s, first::s]
        height, width = coarse.shape[1:]
        fine = resized(logits.float(), self.head.stride // s, (height, width))
        scale = None if weights is None else weights[:, first::s, first::s]
        loss = cross_entropy(fine, coarse, weights=scale, class_weights=self.class_weights)
        if self.lovasz:
            loss = (1 - self.lovasz) * loss + self.lovasz * lovasz_softmax(fine, coarse)
        return loss + self.head.loss(aux, labels, targets or {})
