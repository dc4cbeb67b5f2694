"""Where is each tag? Class activation maps of the train photos, at several scales and mirrored.

    python run_pipeline.py --from cams --cams.scales 1.0 1.5 2.0 --cams.competition 1

Reads the artifacts of `index` (photos and tags, never a mask), `graph` and `classify`; writes
<id>.npz a photo: the maps of its own tags, a quarter of its size, one byte a value. Photos whose
file is there are skipped; several ranks share the photos and write the same files as one.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context

if TYPE_CHECKING:
    from data.manifest import Manifest
    from data.records import Photo
    from stages.nets.cam import CamMaker
    from stages.nets.pooled import Images

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the class activation maps."""

    classifier: Literal["linear", "graph", "fused", "recam", "nodes", "readout"] = Field(
        "linear",
        description="what makes the maps: linear weights, those from the class graph, their mean, "
        "those of ReCAM; where the nodes look, or what each place adds to a node's score",
    )
    scales: tuple[PositiveFloat, ...] = Field(
        (1.0, 0.5, 1.5, 2.0), min_length=1, description="factors of the photo's size; maps add up"
    )
    flip: bool = Field(True, description="add the mirror image's maps at every scale")
    competition: float = Field(
        0.0,
        ge=0,
        description="power of the softmax over all classes that weighs each pixel's maps; 0: none",
    )


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Make the maps of this rank's train photos that have none yet.

    Raises:
        FileNotFoundError: a photo is missing.
        ValueError: a photo cannot be read, a classifier that was trained for other classes or has
            no graph branch.
    """
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from stages.nets.cam import CamMaker
    from stages.nets.classifier import load_classifier
    from stages.nets.device import pick_device
    from stages.nets.resize import said_of_large

    manifest = Manifest.of(inputs, context.places)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.npz").exists()]
    if not todo:
        return
    if said := said_of_large(todo):
        context.note(said)
    graph = ClassGraph.load(inputs["graph"])
    graph.check(manifest.classes.names)
    make = CamMaker(
        load_classifier(inputs["classify"], graph).to(pick_device(context.device)),
        branch=config.classifier,
        scales=config.scales,
        flip=config.flip,
        competition=config.competition,
    )
    done = len(mine) - len(todo)
    for made in write_cams(make, manifest, todo, out=out, context=context):
        done += made
        context.listener.progress(done, len(mine), "photos")


def write_cams(
    make: "CamMaker",
    manifest: "Manifest",
    photos: "Sequence[Photo]",
    *,
    out: Path,
    context: Context,
) -> Iterator[int]:
    """Write the maps of `photos` below `out`; yields how many were written at a time."""
    import numpy as np

    from data.cams import Cam, write_cam
    from stages.nets.device import autocast
    from stages.nets.pooled import photo_batches
    from stages.nets.streams import in_streams

    device = make.device

    def cams_of(given: "tuple[list[Photo], Images]") -> "list[tuple[Photo, Cam]]":
        batch, images = given
        classes = [manifest.tag_indices(photo) for photo in batch]
        with autocast(context.precision, device):
            maps = make(images.to(device), classes)
        return [
            (photo, Cam(np.array(indices, dtype=np.int64), found.cpu().numpy(), photo.size))
            for photo, indices, found in zip(batch, classes, maps, strict=True)
        ]

    batches = photo_batches(manifest, photos, device=device, workers=context.workers)
    for made in in_streams(cams_of, batches, device=device, streams=context.workers):
        for photo, cam in made:
            write_cam(out / f"{photo.id}.npz", cam)
        yield len(made)
