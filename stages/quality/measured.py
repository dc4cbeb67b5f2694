"""The photos of a split, read and measured on many cores, handed back in order."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from data.cams import read_cam
from data.labels import read_grey, read_label
from data.masks import MaskIndex
from data.records import Photo
from pipeline.parallel import map_unordered
from stages.quality.photo import PhotoQuality, Views, measure


class Item(NamedTuple):
    """One photo on its way to a worker, with its own mask only."""

    place: int
    photo: Photo
    mask: MaskIndex | None


@dataclass(frozen=True)
class Measure:
    """Reads what the pipeline says about a photo and measures it; travels to worker processes."""

    cams: Path
    labels: Path
    classes: int
    """Background not counted."""
    bins: int
    boundary: float

    def __call__(self, item: Item) -> tuple[int, PhotoQuality]:
        """(place of the photo, its counts). Raises as the readers and `measure` do."""
        photo, name = item.photo, f"{item.photo.id}.png"
        views = Views(
            label=read_label(self.labels / name),
            full=read_label(self.labels / "full" / name),
            confidence=read_grey(self.labels / "confidence" / name),
            cam=read_cam(self.cams / f"{photo.id}.npz"),
            mask=None if item.mask is None else item.mask.read(photo),
        )
        found = measure(
            photo.id, views, classes=self.classes, bins=self.bins, boundary=self.boundary
        )
        return item.place, found


def measured(
    measure: Measure, photos: Sequence[Photo], masks: MaskIndex, *, workers: int
) -> Iterator[tuple[Photo, PhotoQuality]]:
    """Each photo with its counts, in the order of `photos` whatever the number of `workers`.

    Sums of floats then do not depend on which worker was first.
    """
    waiting: dict[int, PhotoQuality] = {}
    following = 0
    for place, quality in map_unordered(
        measure, _items(photos, masks), workers=workers, name=lambda item: item.photo.id
    ):
        waiting[place] = quality
        while following in waiting:
            yield photos[following], waiting.pop(following)
            following += 1


def _items(photos: Sequence[Photo], masks: MaskIndex) -> Iterable[Item]:
    by_id = {mask.id: mask for mask in masks.masks}
    for place, photo in enumerate(photos):
        mask = by_id.get(photo.id)
        # An index of thousands of masks would otherwise be sent along with each photo.
        yield Item(place, photo, None if mask is None else replace(masks, masks=(mask,)))


def mask_card(photos: Sequence[Photo], masks: MaskIndex) -> dict[str, str | None]:
    """Which masks these photos are scored against: a digest of their ids and bytes (64 bits)."""
    known = {photo.id for photo in photos}
    lines = "".join(f"{mask.id} {mask.sha256}\n" for mask in masks.masks if mask.id in known)
    return {
        "masks_sha256": hashlib.sha256(lines.encode()).hexdigest()[:16] if lines else None,
        "masks_missing": None if lines else "no train photo has a mask: scores are null",
    }
