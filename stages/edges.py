"""Where does one class end and another begin? A boundary network learns it from the first labels.

    python run_pipeline.py --recipe voc-cpu --until labels --edges.epochs 2

Reads the artifacts of `index` (train photos), `classify` (its backbone, frozen) and `labels` (the
labels so far, without what they ignore); no mask is read. The network is told which of two places
near each other have the same label; that a boundary lies somewhere between the others it finds out
by itself. Writes

- model.safetensors, metrics.jsonl: the boundary network and its training;
- <id>.png, a photo each: grey, 255 times the probability of a boundary, a quarter of its size.

A killed training continues from its checkpoint; a photo that has its file is left as it is.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field

from pipeline.context import Context

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the learned boundaries."""

    epochs: int = Field(
        0, ge=0, description="passes over the photos; 0 leaves out learned boundaries altogether"
    )
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
    """Train the network, then find the boundaries of this rank's train photos without a file.

    Raises:
        FileNotFoundError: a photo or label is missing.
        ValueError: one of them cannot be read, they do not fit, or no label tells anything apart.
    """
    from data.manifest import Manifest
    from stages.edge_training import Features, trained, write_boundaries
    from stages.nets.boundary_net import load_boundary_net, save_boundary_net
    from stages.nets.classifier import load_backbone
    from stages.nets.device import pick_device

    manifest = Manifest.of(inputs, context.places)
    backbone = load_backbone(inputs["classify"]).to(pick_device(context.device))
    features = Features(config, manifest, backbone, context)
    path = out / "model.safetensors"
    if not path.exists():
        net = trained(config, features, labels=inputs["labels"], out=out)
        save_boundary_net(path, net)
        (out / "checkpoint.pt").unlink(missing_ok=True)
    net = load_boundary_net(path).to(backbone.mean.device)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.png").exists()]
    done = len(mine) - len(todo)
    for found in write_boundaries(net, features, todo, out=out):
        done += found
        context.listener.progress(done, len(mine), "photos")
