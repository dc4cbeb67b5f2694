"""What the run's own network says of a photo, for the gallery."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Integer, UInt8

from data.records import Photo
from pipeline.context import Context
from stages.nets.device import autocast, pick_device
from stages.nets.segmenter import TENSORS, load_segmenter
from stages.region_scores import Regions


class Predictor:
    """Labels photos one by one, each once: at one scale, without mirror image."""

    def __init__(self, artifact: Path, context: Context) -> None:
        """The network in `artifact`, on the device of `context`."""
        self.device = pick_device(context.device)
        self.precision = context.precision
        self.segmenter = load_segmenter(artifact).to(self.device)
        self._known: dict[str, Integer[np.ndarray, "h w"]] = {}
        self._regions = Regions(self.segmenter, self.precision)

    def __call__(
        self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]
    ) -> Integer[np.ndarray, "h w"]:
        """The label of every pixel of `image`, which is `photo` decoded."""
        if photo.id not in self._known:
            batch = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(self.device)
            with autocast(self.precision, self.device):
                self._known[photo.id] = self.segmenter.predict(batch)[0].cpu().numpy()
        return self._known[photo.id]

    def regions(
        self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]
    ) -> Int64[np.ndarray, "h w"] | None:
        """The strongest token at every pixel of `image`, in the blocks of the network's grid.

        None where the network's head has no regions.
        """
        found = self._regions(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
        if found is None:
            return None
        strongest = found.regions[0].argmax(axis=0)
        blocks = strongest.repeat(found.stride, axis=0).repeat(found.stride, axis=1)
        return blocks[: photo.size[0], : photo.size[1]]


def predictor(artifact: Path | None, context: Context) -> Predictor | None:
    """The network in `artifact`, or None where there is none."""
    if artifact is None or not (artifact / TENSORS).is_file():
        return None
    return Predictor(artifact, context)
