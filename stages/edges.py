"""Where does one class end and another begin? A boundary network learns it from the labels so far.

    python run_pipeline.py --recipe voc-cpu --until labels --edges.kind learned

Reads the artifacts of `index` (train photos), `classify` (its backbone, frozen) and `labels` (the
labels so far, without what they ignore); no mask is read. The network is told which of two places
near each other have the same label; that a boundary lies somewhere between the others it finds out
by itself. `--edges.kind image` learns nothing, reads `index` alone and takes changes of colour for
boundaries; so does the other where no label shows two classes. Writes

- model.safetensors, metrics.jsonl: the boundary network and its training;
- <id>.png, a photo each: grey, 255 times the probability of a boundary, a quarter of its size.

A killed training continues from its checkpoint; a photo that has its file is left as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from pipeline.context import Context

if TYPE_CHECKING:
    from data.manifest import Manifest
    from data.records import Photo

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the boundaries."""

    kind: Literal["none", "learned", "image"] = Field(
        "none",
        description="boundaries between classes, learned from the labels so far, or changes of "
        "colour; none leaves the stage out, and `spread` with it",
    )
    contrast: float = Field(
        60.0, gt=0, description="--edges.kind image: distance in RGB that is a boundary, nearly"
    )
    epochs: int = Field(2, ge=1, description="passes over the photos")
    photos: int = Field(
        500,
        ge=1,
        description="most photos to learn from, drawn by the seed; their features stay "
        "in memory, 1.5 MB for a photo of 320 pixels, 4 MB for one of 500",
    )
    scale: float = Field(2.0, gt=0, description="factor of the photo's size for the features")
    levels: int = Field(3, ge=1, description="maps of the backbone that are read, from the last on")
    cells: int = Field(
        4096,
        ge=16,
        description="most cells of a photo's coarsest map; a larger photo gets a smaller scale",
    )
    width: int = Field(
        32, ge=4, multiple_of=4, description="channels that the network makes of each map"
    )
    radius: int = Field(
        5, ge=2, le=20, description="pairs of places are less than this apart, in 4 pixels"
    )
    batch_size: int = Field(8, ge=1, description="photos a step")
    lr: float = Field(3e-3, gt=0, description="learning rate of AdamW, falls with poly 0.9")
    weight_decay: float = Field(1e-4, ge=0, description="pulls the weights towards 0")
    seed: int = Field(0, ge=0, description="of initial weights, drawn photos and their order")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Find the boundaries of this rank's train photos without a file; train the network before.

    Raises:
        FileNotFoundError: a photo or label is missing.
        ValueError: one of them cannot be read, or they do not fit.
    """
    from data.manifest import Manifest

    manifest = Manifest.of(inputs, context.places)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.png").exists()]
    find = {"learned": _learned, "image": _image}[config.kind]
    found = find(config, manifest, todo, inputs=inputs, out=out, context=context)
    for _ in context.track(found, total=len(mine), done=len(mine) - len(todo)):
        pass


def _learned(
    config: Config,
    manifest: "Manifest",
    todo: "Sequence[Photo]",
    *,
    inputs: Mapping[str, Path],
    out: Path,
    context: Context,
) -> Iterator[None]:
    """Train the boundary network where there is none, then write its map of every photo."""
    from stages.edge_training import Features, learnable, trained, write_boundaries
    from stages.nets.boundary_net import load_boundary_net, save_boundary_net
    from stages.nets.classifier import load_backbone
    from stages.nets.device import pick_device

    if not learnable(config, manifest.split("train"), inputs["labels"]):
        context.note("no label shows two classes, so there is no boundary to learn: colours decide")
        yield from _image(config, manifest, todo, inputs=inputs, out=out, context=context)
        return
    backbone = load_backbone(inputs["classify"]).to(pick_device(context.device))
    features = Features(config, manifest, backbone, context)
    path = out / "model.safetensors"
    if not path.exists():
        net = trained(config, features, labels=inputs["labels"], out=out)
        save_boundary_net(path, net)
        (out / "checkpoint.pt").unlink(missing_ok=True)
    net = load_boundary_net(path).to(backbone.mean.device)
    yield from write_boundaries(net, features, todo, out=out)


def _image(
    config: Config,
    manifest: "Manifest",
    todo: "Sequence[Photo]",
    *,
    inputs: Mapping[str, Path],
    out: Path,
    context: Context,
) -> Iterator[None]:
    """Write where the colour of every photo changes."""
    import torch

    from data.labels import write_grey
    from stages.nets.colour_contrast import colour_boundary
    from stages.nets.pooled import photo_batches

    del inputs
    batches = photo_batches(manifest, todo, device=torch.device("cpu"), workers=context.workers)
    for photos, images in batches:
        for photo, image in zip(photos, images, strict=True):
            boundary = colour_boundary(image, contrast=config.contrast)
            write_grey(out / f"{photo.id}.png", (boundary * 255).round().byte().numpy())
            yield
