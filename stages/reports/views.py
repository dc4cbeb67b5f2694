"""What the pipeline made of one photo, drawn: photo, CAM, pseudo-label, predictions, mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from data.cams import read_cam
from data.labels import ignored, read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from data.photos import read_photo
from data.records import Photo
from stages.reports.paint import (
    colours,
    paint_cam,
    paint_label,
    paint_regions,
    shrunk,
    shrunk_label,
    shrunk_regions,
    small_size,
)

TRAIN = ("Photo", "CAM", "Pseudo-label", "Prediction", "Mask")
VAL = ("Photo", "Prediction", "Upper bound", "Mask")

REGIONS = ("Photo", "Regions", "Prediction", "Mask")


@runtime_checkable
class Predict(Protocol):
    """The run's own network."""

    def __call__(
        self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]
    ) -> Integer[np.ndarray, "h w"]:
        """The label of every pixel of `image`, which is `photo` decoded."""
        ...

    def regions(
        self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]
    ) -> Int64[np.ndarray, "h w"] | None:
        """The strongest token at every pixel; None where the network has no regions."""
        ...


class Drawing(NamedTuple):
    """One small picture and what it shows in words."""

    pixels: UInt8[np.ndarray, "h w 3"]
    alt: str


@dataclass(frozen=True)
class Painter:
    """Draws the pictures of one photo."""

    manifest: Manifest
    masks: MaskIndex | None
    inputs: Mapping[str, Path]
    longest: int
    """Longest side of a drawing in pixels."""
    predict: Predict | None = None

    def train(self, photo: Photo) -> tuple[Drawing | None, ...]:
        """The columns TRAIN of a train photo; None for what there is not."""
        image = read_photo(self.manifest.path(photo))
        prediction = self.predict(photo, image) if self.predict else None
        return (
            self._photo(photo, image),
            self._cam(photo, image),
            self._label(image, self._file("labels", photo), "Pseudo-label"),
            self._label(image, prediction, "Prediction of the network"),
            self._label(image, self._mask(photo), "Mask drawn by people"),
        )

    def val(self, photo: Photo) -> tuple[Drawing | None, ...]:
        """The columns VAL of a val photo; None for what there is not."""
        image = read_photo(self.manifest.path(photo))
        bound = self._file("evaluate-masks", photo)
        return (
            self._photo(photo, image),
            self._label(image, self._file("evaluate", photo), "Prediction of the network"),
            self._label(image, bound, "Prediction of the upper bound"),
            self._label(image, self._mask(photo), "Mask drawn by people"),
        )

    def predictions(self, photo: Photo, folders: Mapping[str, Path]) -> tuple[Drawing | None, ...]:
        """A photo, its mask, and its predictions in `folders`: name of the network -> folder."""
        image = read_photo(self.manifest.path(photo))
        found = [
            self._label(image, read_label(path), f"Prediction of {name}")
            if path.is_file()
            else None
            for name, folder in folders.items()
            for path in (folder / f"{photo.id}.png",)
        ]
        mask = self._label(image, self._mask(photo), "Mask drawn by people")
        return (self._photo(photo, image), mask, *found)

    def regions(self, photo: Photo) -> tuple[Drawing | None, ...] | None:
        """The columns REGIONS of a val photo; None where the network has no regions."""
        image = read_photo(self.manifest.path(photo))
        regions = self.predict.regions(photo, image) if self.predict else None
        if regions is None:
            return None
        small = small_size(photo.size, self.longest)
        shown = np.unique(regions).size
        painted = paint_regions(shrunk(image, small), shrunk_regions(regions, small))
        return (
            self._photo(photo, image),
            Drawing(painted, f"Regions: {shown} tokens are the strongest somewhere"),
            self._label(image, self._file("evaluate", photo), "Prediction of the network"),
            self._label(image, self._mask(photo), "Mask drawn by people"),
        )

    def _photo(self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]) -> Drawing:
        small = shrunk(image, small_size(photo.size, self.longest))
        said = ", ".join(photo.tags) or "no class"
        return Drawing(small, f"Photo {photo.id}, tagged {said}")

    def _cam(self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]) -> Drawing | None:
        path = self._path("cams", f"{photo.id}.npz")
        if path is None:
            return None
        cam = read_cam(path)
        size = small_size(photo.size, self.longest)
        maps = cam.upsampled(cam.normalised())
        place = np.ix_(
            np.arange(len(maps)),
            *(
                np.linspace(0, full - 1, part).round().astype(int)
                for full, part in zip(photo.size, size, strict=True)
            ),
        )
        labels = tuple(int(index) + 1 for index in cam.classes)
        painted = paint_cam(
            shrunk(image, size), maps[place], labels, colours(self.manifest.classes)
        )
        names = ", ".join(self.manifest.classes.names[label - 1] for label in labels)
        return Drawing(painted, f"Activation of {names or 'no class'}")

    def _label(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        label: Integer[np.ndarray, "h w"] | None,
        what: str,
    ) -> Drawing | None:
        if label is None:
            return None
        size = small_size((image.shape[0], image.shape[1]), self.longest)
        palette = colours(self.manifest.classes)
        painted = paint_label(shrunk(image, size), shrunk_label(label, size), palette)
        return Drawing(painted, f"{what}: {self._said(label)}")

    def _said(self, label: Integer[np.ndarray, "h w"]) -> str:
        blank = ignored(label)
        shares = np.bincount(label[~blank]) / label.size
        names = ("background", *self.manifest.classes.names)
        parts = [f"{names[v]} {shares[v]:.0%}" for v in np.flatnonzero(shares[: len(names)])]
        return ", ".join([*parts, f"ignored {blank.mean():.0%}"] if blank.any() else parts)

    def tags(self, photo: Photo) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each of its tags."""
        classes = self.manifest.classes.classes
        own = [classes[index] for index in self.manifest.tag_indices(photo)]
        return tuple((entry.name, "#{:02x}{:02x}{:02x}".format(*entry.colour)) for entry in own)

    def _mask(self, photo: Photo) -> Integer[np.ndarray, "h w"] | None:
        if self.masks is None or self.masks.path(photo.id) is None:
            return None
        return self.masks.read(photo)

    def _file(self, stage: str, photo: Photo) -> Integer[np.ndarray, "h w"] | None:
        path = self._path(stage, f"{photo.id}.png")
        return None if path is None else read_label(path)

    def _path(self, stage: str, name: str) -> Path | None:
        folder = self.inputs.get(stage)
        path = folder / name if folder is not None else None
        return path if path is not None and path.is_file() else None
