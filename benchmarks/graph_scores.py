"""How good are the raw activation maps of many classifiers? All of them in one pass over photos.

A stage of `benchmarks.graph_bench`. Classifiers whose backbones hold the same weights share its
forward passes, and no map is written: each goes through the rounding of a file and is counted. What
comes out is what `cams` and `inspect` would say of each alone. Writes scores.json:
{arm: {seed: scores}}, empty where no train photo has a mask.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, Field, PositiveInt

from pipeline.context import Context
from stages.cams import Config as Cams

if TYPE_CHECKING:
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from data.records import Photo
    from stages.nets.backbone import Backbone
    from stages.nets.cam import CamMaker
    from stages.nets.pooled import Images
    from stages.quality.raw_maps import MapScores, PhotoCounts

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """What is scored. The background score is Li's over the maps of each classifier's own."""

    arms: dict[str, Cams] = Field(description="name of the arm -> settings of its maps")
    seeds: tuple[int, ...] = Field(description="seeds of the classifiers of every arm")
    photos: PositiveInt | None = Field(
        None, description="score so many train photos with a mask, evenly spread; none: all"
    )
    whole_split: bool = Field(
        False, description="choose the background score on all train photos, also without a mask"
    )
    bins: int = Field(256, ge=16, le=1024, description="steps of the background score over 0..1")


class Scored(NamedTuple):
    """One classifier: whose it is, what makes its maps, and what is counted of them."""

    arm: str
    seed: int
    maker: "CamMaker"
    counts: "MapScores"


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Score the maps of every classifier among the inputs.

    Raises:
        FileNotFoundError: a photo or a mask is missing.
        ValueError: a photo, mask or classifier cannot be used.
    """
    from data.files import replacing
    from data.manifest import Manifest
    from data.masks import MaskIndex

    manifest = Manifest.of(inputs, context.places)
    masks = MaskIndex.of(inputs, context.places)
    photos = chosen(config, manifest, set(masks.ids))
    found: dict[str, dict[str, Any]] = {}
    if photos:
        groups = _grouped(config, inputs, manifest, context)
        done, total = 0, len(photos) * len(groups)
        for group in groups:
            for count in _counted(group, photos, manifest, masks, context):
                done += count
                context.listener.progress(done, total, "photos")
        for one in (one for group in groups for one in group):
            found.setdefault(one.arm, {})[str(one.seed)] = one.counts.figures()
    with replacing(out / "scores.json") as path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def chosen(config: Config, manifest: "Manifest", masked: set[str]) -> "list[Photo]":
    """The train photos that are looked at; none where none has a mask."""
    train = manifest.split("train")
    scored = [photo for photo in train if photo.id in masked]
    if config.photos is not None and scored:
        step = max(1, len(scored) / config.photos)
        scored = [scored[int(at * step)] for at in range(min(config.photos, len(scored)))]
    if not scored or not config.whole_split:
        return scored
    kept = {photo.id for photo in scored}
    return [photo for photo in train if photo.id in kept or photo.id not in masked]


def _grouped(
    config: Config, inputs: Mapping[str, Path], manifest: "Manifest", context: Context
) -> list[list[Scored]]:
    """The classifiers, together those that see photos alike: one backbone, one set of scales."""
    from knowledge.graph import ClassGraph
    from stages.nets.cam import CamMaker
    from stages.nets.classifier import load_classifier
    from stages.nets.device import pick_device
    from stages.quality.raw_maps import MapScores

    device, names = pick_device(context.device), manifest.classes.names
    groups: dict[tuple[Any, ...], list[Scored]] = {}
    for arm, cams in config.arms.items():
        for seed in config.seeds:
            graph = ClassGraph.load(inputs[f"graph-{arm}-{seed}"])
            graph.check(names)
            classifier = load_classifier(inputs[f"classify-{arm}-{seed}"], graph)
            read = tuple(classifier.widths)  # of the backbone's maps
            key = (fingerprint(classifier.backbone), read, cams.scales, cams.flip)
            if key in groups:
                classifier.backbone = groups[key][0].maker.classifier.backbone
            maker = CamMaker(
                classifier.to(device),
                branch=cams.classifier,
                scales=cams.scales,
                flip=cams.flip,
                competition=cams.competition,
            )
            counts = MapScores(names, config.bins)
            groups.setdefault(key, []).append(Scored(arm, seed, maker, counts))
    return list(groups.values())


def fingerprint(network: "Backbone") -> str:
    """A digest of a backbone: how it is built (its stride is no weight), weights and buffers."""
    import hashlib

    state = hashlib.sha256(json.dumps(network.description, sort_keys=True).encode())
    for name, value in network.state_dict().items():
        state.update(name.encode())
        state.update(value.contiguous().cpu().numpy().tobytes())
    return state.hexdigest()


def _counted(
    group: Sequence[Scored],
    photos: "Sequence[Photo]",
    manifest: "Manifest",
    masks: "MaskIndex",
    context: Context,
) -> Iterator[int]:
    """Count the maps of every photo and classifier; yields how many photos were done at a time."""
    from stages.nets.cam import shared_maps
    from stages.nets.device import autocast
    from stages.nets.pooled import photo_batches
    from stages.nets.streams import in_streams
    from stages.quality.raw_maps import PhotoCounts, kept_cam

    device = group[0].maker.device
    makers, masked = [one.maker for one in group], set(masks.ids)
    bins, labels = group[0].counts.sweep.bins, len(manifest.classes) + 1

    def count(given: "tuple[list[Photo], Images]") -> "list[list[PhotoCounts]]":
        batch, images = given
        classes = [manifest.tag_indices(photo) for photo in batch]
        truths = [masks.read(photo) if photo.id in masked else None for photo in batch]
        with autocast(context.precision, device):
            made = shared_maps(makers, images.to(device), classes)
        return [
            [
                PhotoCounts.of(kept_cam(own, found, photo.size), truth, bins=bins, labels=labels)
                for own, found, photo, truth in zip(classes, maps, batch, truths, strict=True)
            ]
            for maps in made
        ]

    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for made in in_streams(count, batches, device=device, streams=context.workers):
        for one, counts in zip(group, made, strict=True):
            for of_photo in counts:
                one.counts.add(of_photo)
        yield len(made[0])
