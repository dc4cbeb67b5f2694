"""A second look, or a third: what the labels so far have in common, scored at every place.

    python run_pipeline.py --from rescore --rescore.pixels.epochs 8

Reads the artifacts of `index` (train photos and tags), `classify` (its backbone), `cams` (the maps
that the labels were made from), `labels` (the labels so far) and, where those are not the first,
`first` (whose background score is that of the maps); no mask is read. A linear classifier learns
the labels so far from the backbone's features. Its probabilities, between a photo's own tags and
the background, times the scores of the maps, shared once more between places that look alike, are
the new scores. Writes

- <id>.npz, a photo each: probabilities of the photo's classes and of the background;
- pixels.safetensors: the linear classifier.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context
from stages.nets.settings import AffinityConfig, PixelConfig
from stages.normalisation import background_score

if TYPE_CHECKING:
    from data.records import Photo
    from stages.nets.pooled import Images

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the second look, and of the third."""

    rounds: int = Field(
        0,
        ge=0,
        le=2,
        description="looks, each at the labels of the round before; 0 leaves the stage and its "
        "first labels out",
    )
    scales: tuple[PositiveFloat, ...] = Field(
        (1.0, 2.0), min_length=1, description="factors of the photo's size; logits are averaged"
    )
    levels: int = Field(3, ge=1, description="maps of the backbone that are read, from the last on")
    cells: int = Field(
        16384,
        ge=16,
        description="most places of a photo at a scale; a larger photo gets a smaller scale",
    )
    pixels: PixelConfig = Field(PixelConfig(), description="the linear classifier")
    steps: int = Field(1, ge=0, le=1000, description="steps of the walk over the new scores")
    affinity: AffinityConfig = Field(AffinityConfig(), description="which places look alike")
    seed: int = Field(0, ge=0, description="of the drawn places, initial weights and dropout")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Train the linear classifier, then score the train photos that have no file yet.

    Raises:
        FileNotFoundError: a photo, activation map or label is missing.
        ValueError: one of them cannot be read, or they do not fit each other.
    """
    from data.manifest import Manifest
    from stages.nets.classifier import load_backbone
    from stages.nets.device import pick_device
    from stages.nets.pixel_classifier import load_pixel_classifier, save_pixel_classifier
    from stages.nets.pooled import photo_batches
    from stages.nets.streams import in_streams
    from stages.rescoring import Rescoring, trained

    manifest = Manifest.of(inputs, context.places)
    device = pick_device(context.device)
    backbone = load_backbone(inputs["classify"]).to(device)
    path = out / "pixels.safetensors"
    background = background_score(inputs["first"] if "first" in inputs else inputs["labels"])
    if not path.exists():
        made = trained(config, manifest, backbone, labels=inputs["labels"], context=context)
        save_pixel_classifier(path, made)
    rescoring = Rescoring(
        config,
        backbone,
        load_pixel_classifier(path).to(device),
        background=background,
        precision=context.precision,
    )
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.npz").exists()]

    def rescore(given: "tuple[list[Photo], Images]") -> int:
        photos, images = given
        tags = [manifest.tag_indices(photo) for photo in photos]
        rescoring.write(photos, tags, images.to(device), cams=inputs["cams"], out=out)
        return len(photos)

    batches = photo_batches(manifest, todo, device=device, workers=context.workers)
    done = len(mine) - len(todo)
    for scored in in_streams(rescore, batches, device=device, streams=context.workers):
        done += scored
        context.listener.progress(done, len(mine), "photos")
