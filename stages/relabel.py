"""One round of self-training: what the network is sure of becomes the label of the next network.

    python run_pipeline.py --relabel.rounds 1 --relabel.confidence 0.6

Reads the artifacts of `index` (train photos and tags), `graph` and `segment` (trained on
the pseudo-labels); never a mask. Writes, in the form of `labels` and in its place,

- <id>.png: the network's label of every train photo, 255 (16 bits: 65535) where it is not sure;
- full/<id>.png: the same; confidence/<id>.png: 255 times the probability of the label;
- thresholds.json: what the labels are.

By default a photo may only show its own tags and background: tags are known of train photos.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context

if TYPE_CHECKING:
    import numpy as np

    from data.records import Photo
    from stages.nets.pooled import Images

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the round of self-training."""

    rounds: int = Field(
        0, ge=0, le=1, description="0 leaves it out: the first network is the only one"
    )
    tags: bool = Field(True, description="a photo shows its own tags and background, nothing else")
    confidence: float = Field(
        0.0, ge=0, lt=1, description="least probability of a label; below it the pixel is ignored"
    )
    scales: tuple[PositiveFloat, ...] = Field(
        (1.0,), min_length=1, description="sizes to look at each photo in"
    )
    flip: bool = Field(True, description="look at the mirror image too")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Label this rank's train photos that lack a file in `out`.

    Raises:
        FileNotFoundError: a photo is missing.
        ValueError: a photo or the network cannot be read.
    """
    import torch

    from data.files import replacing
    from data.labels import write_grey, write_label
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from stages.nets.device import autocast, pick_device
    from stages.nets.pooled import photo_batches
    from stages.nets.segmenter import load_segmenter
    from stages.nets.streams import in_streams

    manifest = Manifest.of(inputs, context.places)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not _labelled(out, photo.id)]
    device = pick_device(context.device)
    network = load_segmenter(inputs["segment"], ClassGraph.load(inputs["graph"])).to(device)
    if context.rank == 0:
        with replacing(out / "thresholds.json") as path:
            path.write_text(json.dumps(_card(config), indent=1) + "\n", encoding="utf-8")

    def labels_of(
        given: "tuple[list[Photo], Images]",
    ) -> "list[tuple[Photo, np.ndarray, np.ndarray]]":
        photos, images = given
        with torch.inference_mode(), autocast(context.precision, device):
            found = network.probabilities(images.to(device), scales=config.scales, flip=config.flip)
        pairs = zip(photos, found.float().cpu().numpy(), strict=True)
        return [(photo, *_label(config, one, manifest.tag_indices(photo))) for photo, one in pairs]

    classes, workers = len(manifest.classes.names) + 1, context.workers
    batches = photo_batches(manifest, todo, device=device, workers=workers, classes=classes)
    done = len(mine) - len(todo)
    for made in in_streams(labels_of, batches, device=device, streams=context.workers):
        for photo, label, confidence in made:
            write_grey(out / "confidence" / f"{photo.id}.png", confidence)
            write_label(out / "full" / f"{photo.id}.png", label, manifest.classes)
            write_label(out / f"{photo.id}.png", label, manifest.classes)
        done += len(made)
        context.listener.progress(done, len(mine), "photos")


def _labelled(out: Path, identity: str) -> bool:
    """Whether a photo has all its files: a repaired artifact may lack any one of them."""
    folders = (out, out / "full", out / "confidence")
    return all((folder / f"{identity}.png").exists() for folder in folders)


def _label(
    config: Config, probabilities: "np.ndarray", tags: tuple[int, ...]
) -> "tuple[np.ndarray, np.ndarray]":
    """Label and confidence (0..255) of one photo from `c h w` probabilities, background first."""
    import numpy as np

    from data.labels import ignore_in, label_type

    names = np.arange(len(probabilities))
    if config.tags:
        names = np.array([0, *(tag + 1 for tag in tags)])
    kept = probabilities[names]
    kept = kept / kept.sum(axis=0).clip(1e-12)
    best = kept.max(axis=0)
    label = names[kept.argmax(axis=0)].astype(label_type(len(probabilities) - 1))
    label[best < config.confidence] = ignore_in(label)
    return label, np.rint(best * 255).astype(np.uint8)


def _card(config: Config) -> dict[str, object]:
    return {
        "threshold": config.confidence,
        "chosen": "least probability that the first network gives its label (self-training)",
        "normalisation": "the network's probabilities"
        + (" over the photo's tags and the background" if config.tags else ""),
        "masks_used": 0,
    }
