"""Rows of pictures: what the pipeline made of the worst, the median and the best photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.labels import read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo
from stages.confusion import Confusion
from stages.reports.paint import Picture, encoded
from stages.reports.views import Drawing, Painter

MOST_SCORED = 3000
"""Val photos that are scored one by one to find the worst; beyond, an even sample of so many."""


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


def row(
    photo: Photo, score: str, painter: Painter, views: Sequence[Drawing | None], *, quality: int
) -> Row:
    """A row of `views` of one photo, as JPEG of `quality`."""
    pictures = tuple(
        None if view is None else encoded(view.pixels, view.alt, quality=quality) for view in views
    )
    return Row(photo.id, score, painter.tags(photo), pictures)


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
