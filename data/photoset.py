"""Photos with tags and, by callbacks, labels and weights: what a loader draws samples from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor

from data.labels import fitted, ignore_of, label_type
from data.manifest import Manifest, Photo
from data.photos import read_photo
from data.transforms import Sample

LabelOf = Callable[[Photo], Integer[np.ndarray, "h w"] | None]
"""Label of a photo, or None where it has none: then every pixel of it is ignored."""
WeightOf = Callable[[Photo], Float[np.ndarray, "h w"] | None]
"""Weight of every pixel in the loss, or None for 1 everywhere."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos with their tags and, by callbacks, their labels and weights.

    The callbacks cross over to worker processes: with `workers` > 1 they must pickle, as module
    functions, `functools.partial` of them and methods of plain objects do.
    """

    photos: tuple[Photo, ...]
    paths: tuple[Path, ...]
    tags: Bool[np.ndarray, "n c"]
    label: LabelOf | None = None
    weight: WeightOf | None = None

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        photos: Sequence[Photo],
        *,
        label: LabelOf | None = None,
        weight: WeightOf | None = None,
    ) -> "PhotoSet":
        """`photos` of the manifest, in the order given."""
        paths = tuple(manifest.path(photo) for photo in photos)
        return cls(tuple(photos), paths, manifest.tag_matrix(photos), label, weight)

    def __len__(self) -> int:
        return len(self.photos)

    def read(self, index: int) -> Sample:
        """Photo `index` as it is on disk. Raises ValueError where its label has another size."""
        photo = self.photos[index]
        image = _tensor(read_photo(self.paths[index])).permute(2, 0, 1)
        size = tuple(image.shape[1:])
        label = weight = None
        if self.label is not None:
            found = self.label(photo)
            classes = self.tags.shape[1]
            if found is None:
                found = np.full(size, ignore_of(classes), label_type(classes))
            label = _tensor(fitted(found, classes))
        if self.weight is not None:
            given = self.weight(photo)
            weight = torch.ones(size) if given is None else _tensor(given).float()
        for name, pixels in (("label", label), ("weight", weight)):
            if pixels is not None and tuple(pixels.shape) != size:
                raise ValueError(
                    f"{name} of {photo.id} is {tuple(pixels.shape)}, its photo {size} (height, "
                    "width): make the labels again from these photos"
                )
        return Sample(image, label, weight)


def _tensor(pixels: Shaped[np.ndarray, "h w *channels"]) -> Tensor:
    # A copy: Pillow's arrays are read-only, which torch does not know.
    return torch.from_numpy(np.array(pixels, order="C"))
