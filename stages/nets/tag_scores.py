"""How well a classifier names the tags of whole photos: average precision by class and split."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.manifest import Manifest
from data.records import Photo, Split
from pipeline.context import Context
from stages.average_precision import mean_over_classes, per_class
from stages.nets.classifier import Classifier
from stages.nets.device import autocast
from stages.nets.pooled import file_of, photo_batches, plain_features, read_kept, read_pooled
from stages.nets.resize import as_seen
from stages.nets.tag_loss import Logits, Scored


def tag_scores(
    classifier: Classifier,
    manifest: Manifest,
    *,
    branch: Scored,
    context: Context,
    features: Path | None = None,
) -> dict[str, Any]:
    """The document scores.json: `branch` in full, the other branches' means beside it.

    Whole photos at their own size, one scale, not mirrored. The truth of both splits are tags: no
    mask is read. Numbers are null where a split or a class has no photo. features: where the
    photos' features were kept, if the backbone is still the one that made them.

    On the way the classifier is told the mean features of the classes (`Classifier.centre`).
    """
    branches = _branches(classifier)
    branch = branch if branch in branches else "linear"

    photos = manifest.split("train")
    kept = features if photos else None
    pooled = whole_features(classifier, manifest, photos, context=context, features=kept)
    classifier.centre(pooled, torch.from_numpy(manifest.tag_matrix(photos)))

    def scored(photos: Sequence[Photo], known: Tensor | None) -> Logits:
        if known is not None and classifier.nodes is None:
            return _scored(classifier, known)
        kept = features if photos else None
        return tag_logits(classifier, manifest, photos, context=context, features=kept)

    splits: dict[Split, Tensor | None] = {"val": None, "train": pooled}
    found = {
        name: _split(manifest, name, branches, partial(scored, known=known))
        for name, known in splits.items()
    }
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


def _branches(classifier: Classifier) -> tuple[Scored, ...]:
    """The branches that there are; fused where there is more than one."""
    parts: list[Scored] = ["linear"]
    parts += ["graph"] if classifier.graph is not None else []
    parts += ["nodes"] if classifier.nodes is not None else []
    return tuple(parts) if len(parts) == 1 else (*parts, "fused")


@torch.no_grad()
def tag_logits(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    context: Context,
    features: Path | None = None,
) -> Logits:
    """Scores of whole photos in their order, on the CPU; `features` as in `tag_scores`."""
    classifier.eval()
    device = classifier.linear.weight.device
    if classifier.nodes is None:
        pooled = whole_features(classifier, manifest, photos, context=context, features=features)
        return _scored(classifier, pooled)
    found: dict[str, Logits] = {}
    for photo, maps in _maps(classifier, manifest, photos, context=context, features=features):
        found[photo.id] = _on_cpu(classifier.judge(maps.to(device)))
    empty = _on_cpu(classifier.score(torch.zeros(0, classifier.linear.in_features, device=device)))
    parts = [empty._replace(nodes=empty.of("linear")), *(found[photo.id] for photo in photos)]
    graphs = [part.graph for part in parts if part.graph is not None]
    return Logits(
        torch.cat([part.linear for part in parts]),
        torch.cat(graphs) if graphs else None,
        torch.cat([part.nodes for part in parts if part.nodes is not None]),
    )


def whole_features(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    context: Context,
    features: Path | None = None,
) -> Float[Tensor, "n d"]:
    """f of whole photos in their order, on the CPU; `features` as in `tag_scores`."""
    if features is not None:
        return read_pooled(features, photos, "plain")
    return plain_features(classifier, manifest, photos, context=context)


@torch.no_grad()
def _scored(classifier: Classifier, pooled: Float[Tensor, "n d"]) -> Logits:
    return _on_cpu(classifier.eval().score(pooled.to(classifier.linear.weight.device)))


def _maps(
    classifier: Classifier,
    manifest: Manifest,
    photos: Sequence[Photo],
    *,
    context: Context,
    features: Path | None,
) -> Iterator[tuple[Photo, Float[Tensor, "1 d h w"]]]:
    """Every photo with its whole map."""
    if features is not None:
        for photo in photos:
            yield photo, read_kept(file_of(features, photo), "maps")[:1].float()
        return
    device = classifier.linear.weight.device
    for batch, images in photo_batches(manifest, photos, device=device, workers=context.workers):
        with autocast(context.precision, device):
            maps = classifier.features(as_seen(images.to(device), 1.0)).float()
        yield from zip(batch, maps.split(1), strict=True)


def _on_cpu(logits: Logits) -> Logits:
    graph, nodes = (None if part is None else part.cpu() for part in logits[1:])
    return Logits(logits.linear.cpu(), graph, nodes)


def _split(
    manifest: Manifest,
    split: Split,
    branches: tuple[Scored, ...],
    scored: Callable[[Sequence[Photo]], Logits],
) -> dict[Scored, list[float | None]]:
    photos = manifest.split(split)
    logits, truth = scored(photos), manifest.tag_matrix(photos)
    return {name: per_class(logits.of(name).numpy(), truth) for name in branches}
