"""Masks from tags that a classifier predicts: class activation maps cut at a background score.

Stage one alone, for photos that nobody tagged: `predict --from-tags`.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Integer, UInt8
from torch import Tensor

from data.cams import Cam
from data.labels import label_type
from stages.nets.cam import CamMaker
from stages.nets.classifier import Classifier, Mapped
from stages.nets.look import LIMIT
from stages.nets.resize import resized
from stages.nets.tag_loss import Scored
from stages.pseudo_label import weighed


class TagSettings(NamedTuple):
    """How a run made its maps, and what of them is background."""

    branch: Mapped = "linear"
    """Weights that make the maps."""
    scored: Scored = "linear"
    """Weights that score the tags."""
    scales: tuple[float, ...] = (1.0, 0.5, 1.5, 2.0)
    flip: bool = True
    competition: float = 0.0
    background: float = 0.25
    """Of scores in [0, 1), each map divided by its own maximum."""
    tag: float = 0.5
    """Probability from which on a tag is taken."""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "TagSettings":
        """Read what `_asdict` and JSON made of settings; ValueError where it is something else."""
        try:
            return cls(**{**document, "scales": tuple(document["scales"])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the model has other settings of tags ({error}): export it again"
            ) from error


class TagMasks(NamedTuple):
    """Labels of photos of one size, and the probability of every tag."""

    labels: Integer[np.ndarray, "b h w"]
    """0 background, 1..C classes."""
    tags: Float32[np.ndarray, "b c"]
    taken: Bool[np.ndarray, "b c"]
    """The tags that were looked for."""


def tag_probabilities(
    classifier: Classifier, images: UInt8[Tensor, "b 3 h w"], branch: Scored
) -> Float32[np.ndarray, "b c"]:
    """Probability of each class to be in each photo."""
    with torch.inference_mode():
        scores = classifier(images.to(classifier.linear.weight.device)).of(branch)
        found: Float32[np.ndarray, "b c"] = scores.float().sigmoid().cpu().numpy()
    return found


def tag_masks(
    classifier: Classifier, images: UInt8[Tensor, "b 3 h w"], settings: TagSettings
) -> TagMasks:
    """Label photos of one size (RGB, 0..255) by the maps of their predicted tags.

    A photo of more than `LIMIT` pixels is shrunk to that first: its maps, which are compared with
    their own maximum over the photo, cannot be made tile by tile. Call it inside `autocast`.
    """
    size = (images.shape[-2], images.shape[-1])
    if (factor := (LIMIT / (size[0] * size[1])) ** 0.5) < 1:
        images = resized(images, factor).round().clamp(0, 255).to(torch.uint8)
    tags = tag_probabilities(classifier, images, settings.scored)
    taken = tags >= settings.tag
    make = CamMaker(
        classifier,
        branch=settings.branch,
        scales=settings.scales,
        flip=settings.flip,
        competition=settings.competition,
    )
    classes = [np.flatnonzero(row) for row in taken]
    maps = make(images.to(classifier.linear.weight.device), [row.tolist() for row in classes])
    labels = [
        cut(Cam(row.astype(np.int64), found.float().cpu().numpy(), size), settings.background)
        for row, found in zip(classes, maps, strict=True)
    ]
    kind = label_type(tags.shape[1])
    return TagMasks(np.stack(labels).astype(kind), tags, taken)


def cut(cam: Cam, background: float) -> Integer[np.ndarray, "h w"]:
    """The strongest class of each pixel, or 0 where none beats the background score."""
    if not len(cam.classes):
        return np.zeros(cam.size, np.uint8)
    scores = weighed(cam.upsampled(cam.scores()), background)
    label: Integer[np.ndarray, "h w"] = cam.labels[scores.argmax(axis=0)]
    return label


def area_shares(label: Integer[np.ndarray, "h w"], classes: int) -> Float64[np.ndarray, " c"]:
    """Share of the pixels of each label 0..`classes`."""
    return np.bincount(label.reshape(-1), minlength=classes + 1)[: classes + 1] / label.size
