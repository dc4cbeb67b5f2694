"""The pixel labels that a segmentation network is trained on: pseudo-labels, or declared masks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Integer

from data.labels import check_label, fitted, ignored, read_grey, read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Photo


@dataclass(frozen=True)
class PixelLabels:
    """Labels of the train photos: 0 background, 1..C classes, ignored; and weights, if asked.

    Its methods serve as callbacks of loaders, worker processes included.
    """

    photos: tuple[Photo, ...]
    """The train photos that have a label, sorted by id."""
    classes: int
    """Background included."""
    said: str
    """What they are, in words for the model's card."""
    folder: Path | None
    """Of pseudo-label PNGs; None for masks."""
    masks: MaskIndex | None
    confidence: Path | None
    """Folder of confidence PNGs, where pixels are weighted."""
    exponent: float = 1.0
    """Weight of a pixel = confidence in [0, 1] to this."""

    @classmethod
    def pseudo(
        cls, manifest: Manifest, artifact: Path, *, ignore_band: bool, confidence: float
    ) -> "PixelLabels":
        """Those of the `labels` stage; `confidence` is the exponent of the weights, 0 for none."""
        return cls(
            photos=manifest.split("train"),
            classes=len(manifest.classes.names) + 1,
            said="pseudo-labels with ignore band" if ignore_band else "pseudo-labels",
            folder=artifact if ignore_band else artifact / "full",
            masks=None,
            confidence=artifact / "confidence" if confidence else None,
            exponent=confidence,
        )

    @classmethod
    def drawn(cls, manifest: Manifest, masks: MaskIndex) -> "PixelLabels":
        """Masks drawn by people: the upper bound, for photos that have one.

        Raises ValueError where no train photo has one.
        """
        known = set(masks.ids)
        photos = tuple(photo for photo in manifest.split("train") if photo.id in known)
        if not photos:
            raise ValueError(
                "no train photo has a mask: the upper bound (--segment.labels masks) needs some"
            )
        classes = len(manifest.classes.names) + 1
        return cls(photos, classes, "masks (upper bound)", None, masks, None)

    def label(self, photo: Photo) -> Integer[np.ndarray, "h w"]:
        """The label of one photo, in the type of `classes`.

        Raises FileNotFoundError or ValueError naming the file.
        """
        if self.masks is not None:
            return self.masks.read(photo)
        assert self.folder is not None
        path = self.folder / f"{photo.id}.png"
        label = read_label(path)
        check_label(label, self.classes - 1, str(path))
        return fitted(label, self.classes - 1)

    def weight(self, photo: Photo) -> Float32[np.ndarray, "h w"]:
        """The weight of every pixel of one photo, in [0, 1]; 1 where there is no confidence."""
        if self.confidence is None:
            return np.ones(photo.size, np.float32)
        grey = read_grey(self.confidence / f"{photo.id}.png")
        return (grey.astype(np.float32) / 255) ** np.float32(self.exponent)

    def pixels(self) -> Int64[np.ndarray, " c"]:
        """Labelled pixels of each class over all photos; ignored ones do not count.

        Raises ValueError where all of them are ignored.
        """
        counts = np.zeros(self.classes, np.int64)
        for photo in self.photos:
            label = self.label(photo)
            counts += np.bincount(label[~ignored(label)], minlength=self.classes)
        if not counts.any():
            raise ValueError("every pixel of every label is ignored: nothing to train on")
        return counts
