"""Rows of pictures: what the pipeline made of the worst, the median and the best photos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data.cams import read_cam
from data.labels import IGNORE, read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from data.photos import read_photo
from data.records import Photo
from stages.confusion import Confusion
from stages.reports.paint import (
    Picture,
    colours,
    encoded,
    paint_cam,
    paint_label,
    shrunk,
    shrunk_label,
    small_size,
)

MOST_SCORED = 3000
"""Val photos that are scored one by one to find the worst; beyond, an even sample of so many."""

Predict = Callable[[Photo, UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "h w"]]
"""The label of every pixel of a photo, by the run's own network."""


@dataclass(frozen=True)
class Row:
    """One photo: its name, what it scores, its tags with colours, and its pictures."""

    id: str
    score: str
    tags: tuple[tuple[str, str], ...]
    """(name, "#rrggbb") of each tag."""
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class Group:
    """Rows under one heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def bytes(self) -> int:
        """Size of its pictures in the page."""
        return sum(p.bytes for row in self.rows for p in row.pictures if p is not None)


@dataclass(frozen=True)
class Painter:
    """Draws the pictures of one photo."""

    manifest: Manifest
    masks: MaskIndex | None
    inputs: Mapping[str, Path]
    longest: int
    quality: int
    predict: Predict | None = None

    def train_row(self, photo: Photo, score: str) -> Row:
        """Photo, CAM, pseudo-label, prediction and mask of a train photo, as far as there are."""
        image = read_photo(self.manifest.path(photo))
        prediction = self.predict(photo, image) if self.predict else None
        pictures = (
            self._photo(photo, image),
            self._cam(photo, image),
            self._label(image, self._file("labels", photo), "Pseudo-label"),
            self._label(image, prediction, "Prediction of the network"),
            self._label(image, self._mask(photo), "Mask drawn by people"),
        )
        return Row(photo.id, score, self._tags(photo), pictures)

    def val_row(self, photo: Photo, score: str) -> Row:
        """Photo, prediction, prediction of the upper bound and mask of a val photo."""
        image = read_photo(self.manifest.path(photo))
        bound = self._file("evaluate-masks", photo)
        pictures = (
            self._photo(photo, image),
            self._label(image, self._file("evaluate", photo), "Prediction of the network"),
            self._label(image, bound, "Prediction of the upper bound"),
            self._label(image, self._mask(photo), "Mask drawn by people"),
        )
        return Row(photo.id, score, self._tags(photo), pictures)

    def _photo(self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]) -> Picture:
        small = shrunk(image, small_size(photo.size, self.longest))
        said = ", ".join(photo.tags) or "no class"
        return encoded(small, f"Photo {photo.id}, tagged {said}", quality=self.quality)

    def _cam(self, photo: Photo, image: UInt8[np.ndarray, "h w 3"]) -> Picture | None:
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
        return encoded(painted, f"Activation of {names or 'no class'}", quality=self.quality)

    def _label(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        label: UInt8[np.ndarray, "h w"] | None,
        what: str,
    ) -> Picture | None:
        if label is None:
            return None
        size = small_size((image.shape[0], image.shape[1]), self.longest)
        palette = colours(self.manifest.classes)
        painted = paint_label(shrunk(image, size), shrunk_label(label, size), palette)
        return encoded(painted, f"{what}: {self._said(label)}", quality=self.quality)

    def _said(self, label: UInt8[np.ndarray, "h w"]) -> str:
        counts = np.bincount(label.ravel(), minlength=256) / label.size
        names = ("background", *self.manifest.classes.names)
        parts = [f"{names[v]} {counts[v]:.0%}" for v in np.flatnonzero(counts[: len(names)])]
        return ", ".join([*parts, f"ignored {counts[IGNORE]:.0%}"] if counts[IGNORE] else parts)

    def _tags(self, photo: Photo) -> tuple[tuple[str, str], ...]:
        classes = self.manifest.classes.classes
        own = [classes[index] for index in self.manifest.tag_indices(photo)]
        return tuple((entry.name, "#{:02x}{:02x}{:02x}".format(*entry.colour)) for entry in own)

    def _mask(self, photo: Photo) -> UInt8[np.ndarray, "h w"] | None:
        if self.masks is None or self.masks.path(photo.id) is None:
            return None
        return self.masks.read(photo)

    def _file(self, stage: str, photo: Photo) -> UInt8[np.ndarray, "h w"] | None:
        path = self._path(stage, f"{photo.id}.png")
        return None if path is None else read_label(path)

    def _path(self, stage: str, name: str) -> Path | None:
        folder = self.inputs.get(stage)
        path = folder / name if folder is not None else None
        return path if path is not None and path.is_file() else None


def with_columns(title: str, columns: Sequence[str], rows: Sequence[Row]) -> Group:
    """A group without the columns in which no row has a picture."""
    kept = [c for c in range(len(columns)) if any(row.pictures[c] is not None for row in rows)]
    trimmed = tuple(
        Row(row.id, row.score, row.tags, tuple(row.pictures[c] for c in kept)) for row in rows
    )
    return Group(title, tuple(columns[c] for c in kept), trimmed)


def scored_photos(
    manifest: Manifest, masks: MaskIndex, predictions: Path
) -> list[tuple[Photo, float]]:
    """Val photos with a mask and a prediction, by ascending IoU over the photo's own classes."""
    photos = [photo for photo in manifest.split("val") if masks.path(photo.id) is not None]
    step = max(1, -(-len(photos) // MOST_SCORED))
    found = []
    for photo in photos[::step]:
        path = predictions / f"{photo.id}.png"
        if path.is_file():
            confusion = Confusion(len(manifest.classes) + 1)
            confusion.add(masks.read(photo), read_label(path))
            found.append((photo, confusion.miou()))
    judged = [pair for pair in found if not np.isnan(pair[1])]
    return sorted(judged, key=lambda pair: (pair[1], pair[0].id))
