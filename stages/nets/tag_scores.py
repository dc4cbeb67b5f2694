"""How well a classifier names the tags of whole photos: average precision by class and split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from data.manifest import Manifest
from data.records import Photo, Split
from pipeline.context import Context
from stages.average_precision import mean_over_classes, per_class
from stages.nets.classifier import Branch, Classifier
from stages.nets.pooled import plain_features, read_pooled


def tag_scores(
    classifier: Classifier,
    manifest: Manifest,
    *,
    branch: Branch,
    context: Context,
    features: Path | None = None,
) -> dict[str, Any]:
    """The document scores.json: `branch` in full, the other branches' means beside it.

    Whole photos at their own size, one scale, not mirrored. The truth of both splits are tags: no
    mask is read. Numbers are null where a split or a class has no photo. features: where the
    photos' features were kept, if the backbone is still the one that made them.
    """
    branches: tuple[Branch, ...] = ("linear", "graph", "fused")
    if classifier.graph is None:
        branches, branch = ("linear",), "linear"

    def pooled(photos: Sequence[Photo]) -> Float32[Tensor, "n d"]:
        if features is not None and photos:
            return read_pooled(features, photos, "plain")
        return plain_features(classifier, manifest, photos, context=context)

    found = {name: _split(classifier, manifest, name, branches, pooled) for name in SPLITS}
    names = manifest.classes.names
    val, train = found["val"], found["train"]
    return {
        "map": mean_over_classes(val[branch]),
        "ap": dict(zip(names, val[branch], strict=True)),
        "split": "val",
        "photos": len(manifest.split("val")),
        "branch": branch,
        "branches": {name: mean_over_classes(values) for name, values in val.items()},
        "map_train": mean_over_classes(train[branch]),
        "ap_train": dict(zip(names, train[branch], strict=True)),
        "truth": "image-level tags",
        "weights": classifier.backbone.card,
    }


SPLITS: tuple[Split, ...] = ("val", "train")


@torch.no_grad()
def _split(
    classifier: Classifier,
    manifest: Manifest,
    split: Split,
    branches: tuple[Branch, ...],
    pooled: Callable[[Sequence[Photo]], Tensor],
) -> dict[Branch, list[float | None]]:
    photos = manifest.split(split)
    logits = classifier.eval().score(pooled(photos).to(classifier.linear.weight.device))
    truth = manifest.tag_matrix(photos)
    return {name: per_class(logits.of(name).cpu().numpy(), truth) for name in branches}
