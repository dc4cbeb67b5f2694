"""Scores shared between places of a photo unless a boundary lies between them.

    python run_pipeline.py --recipe voc-cpu --edges.kind learned --from spread --spread.steps 4

Reads the artifacts of `index` (train photos), `edges` (boundary maps) and `cams` (activation maps,
walked over or not, or the probabilities of `rescore`); no network runs and no mask is read. Writes
<id>.npz, a photo each: the same scores after the walk, in the same form. A photo that has its file
is left as it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from pipeline.context import Context

if TYPE_CHECKING:
    from data.records import Photo

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the walk between boundaries."""

    steps: int = Field(8, ge=0, le=1000, description="steps of the walk; IRN takes 256 of its maps")
    radius: int = Field(
        5, ge=2, le=20, description="a step reaches places less than this apart, in 4 pixels"
    )
    beta: float = Field(
        4.0, gt=0, description="exponent of the affinities; higher: boundaries hold better"
    )
    damped: bool = Field(True, description="scores on a boundary count less, by its probability")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Walk over the scores of this rank's train photos that have no file yet.

    Raises:
        FileNotFoundError: a boundary map or a photo's scores are missing.
        ValueError: one of them cannot be read, or they do not fit each other.
    """
    import torch

    from data.manifest import Manifest
    from stages.nets.streams import in_streams

    manifest = Manifest.of(inputs, context.places)
    mine = context.mine(manifest.split("train"))
    todo = [photo for photo in mine if not (out / f"{photo.id}.npz").exists()]

    def spread(photo: "Photo") -> None:
        _spread(config, photo, edges=inputs["edges"], cams=inputs["cams"], out=out)

    made = in_streams(spread, todo, device=torch.device("cpu"), streams=context.workers)
    for _ in context.track(made, total=len(mine), done=len(mine) - len(todo)):
        pass


def _spread(config: Config, photo: "Photo", *, edges: Path, cams: Path, out: Path) -> None:
    """Write the walked scores of one photo: its probabilities add up to 1 as before."""
    import numpy as np
    import torch

    from data.cams import Cam, fitting_cam, map_size, write_cam
    from data.labels import read_grey
    from stages.nets.boundary_paths import BoundaryWalk

    cam = fitting_cam(cams / f"{photo.id}.npz", photo.size)
    path = edges / f"{photo.id}.png"
    boundary = read_grey(path).astype(np.float32) / 255
    if boundary.shape != map_size(photo.size):
        raise ValueError(f"{path} is {boundary.shape}, not of a photo of {photo.size} pixels")
    walk = BoundaryWalk(torch.from_numpy(boundary), radius=config.radius, beta=config.beta)
    scores = cam.normalised() if cam.background is None else cam.scores()
    if config.damped:
        # Never to nothing: a place between boundaries on all sides keeps what it was.
        scores = scores * np.maximum(1 - boundary, np.float32(1e-3))
    found = walk(torch.from_numpy(scores), steps=config.steps).numpy()
    if cam.background is None:
        made = Cam(cam.classes, found, cam.size)
    else:
        found = found / found.sum(axis=0).clip(1e-12)
        made = Cam(cam.classes, found[1:], cam.size, background=found[0])
    write_cam(out / f"{photo.id}.npz", made)
