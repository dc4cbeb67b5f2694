"""Activation maps that cover more of the object: a walk between places that look alike.

    python run_pipeline.py --from walk --walk.steps 3

Reads the artifacts of `index` (train photos), `classify` (its backbone) and `cams`; nothing is
trained and no mask is read. Writes <id>.npz, a photo each: the maps of `cams` after the walk, in
the same form. A photo that has its file is left as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from pipeline.context import Context
from stages.nets.settings import AffinityConfig

if TYPE_CHECKING:
    import torch

    from data.records import Photo
    from stages.nets.backbone import Backbone
    from stages.nets.pooled import Images

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the walk."""

    steps: int = Field(0, ge=0, le=1000, description="steps of the walk; 0 leaves the stage out")
    affinity: AffinityConfig = Field(AffinityConfig(), description="which places look alike")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Walk over the maps of this rank's train photos that have no file yet.

    Raises:
        FileNotFoundError: a photo or activation map is missing.
        ValueError: a photo or activation map cannot be read, or they do not fit each other.
    """
    from data.manifest import Manifest
    from stages.nets.classifier import load_backbone
    from stages.nets.device import pick_device
    from stages.nets.pooled import photo_batches
    from stages.nets.streams import in_streams

    manifest = Manifest.of(inputs, context.places)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.npz").exists()]
    if not todo:
        return
    device = pick_device(context.device)
    backbone = load_backbone(inputs["classify"]).to(device)

    def walk(given: "tuple[list[Photo], Images]") -> int:
        photos, images = given
        _walk(
            config,
            backbone,
            photos,
            images.to(device),
            cams=inputs["cams"],
            out=out,
            precision=context.precision,
        )
        return len(photos)

    batches = photo_batches(manifest, todo, device=device, workers=context.workers)
    done = len(mine) - len(todo)
    for walked in in_streams(walk, batches, device=device, streams=context.workers):
        done += walked
        context.listener.progress(done, len(mine), "photos")


def _walk(
    config: Config,
    backbone: "Backbone",
    photos: "list[Photo]",
    images: "torch.Tensor",
    *,
    cams: Path,
    out: Path,
    precision: str,
) -> None:
    """Write the walked maps of photos of one size."""
    import torch

    from data.cams import Cam, fitting_cam, write_cam
    from stages.nets.affinity import Affinity, walked
    from stages.nets.device import autocast

    with autocast(precision, images.device):
        affinity = Affinity(backbone, images, config.affinity)
    for at, photo in enumerate(photos):
        cam = fitting_cam(cams / f"{photo.id}.npz", photo.size)
        maps = torch.from_numpy(cam.normalised()).to(images.device)
        found = walked(maps, affinity.of(at), affinity.grid, steps=config.steps)
        write_cam(out / f"{photo.id}.npz", Cam(cam.classes, found.cpu().numpy(), cam.size))
