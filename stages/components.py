"""Connected components of a labelling: what stands for objects where only classes are known."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped
from scipy import ndimage

from data.labels import ignore_in

NEIGHBOURS = {4: ndimage.generate_binary_structure(2, 1), 8: np.ones((3, 3), bool)}


class Components(NamedTuple):
    """The components of one labelling, in the order of their classes, then from the top left on."""

    ids: Int32[np.ndarray, "h w"]
    """1..m by component; 0 where the label is ignored or its component is left out."""
    classes: Int64[np.ndarray, " m"]
    """The class of each component."""

    def masks(self) -> Bool[np.ndarray, "m h w"]:
        """One mask a component; they do not overlap."""
        found: Bool[np.ndarray, "m h w"] = (
            self.ids == np.arange(1, len(self.classes) + 1)[:, None, None]
        )
        return found


def connected(
    label: Shaped[np.ndarray, "h w"], *, connectivity: int = 8, min_area: int = 1, most: int = 2**31
) -> Components:
    """The connected components of every class of an integer `label`, the background included.

    Ignored cells, those of components under `min_area` cells, and of all but the `most` largest of
    the others belong to no component. `connectivity`: 4 or 8 neighbours.
    """
    ids = np.zeros(label.shape, np.int32)
    classes: list[int] = []
    blank = ignore_in(label)
    for value in np.unique(label):
        if value != blank:
            own, count = ndimage.label(label == value, NEIGHBOURS[connectivity])
            ids = np.where(own > 0, own + len(classes), ids)
            classes += [int(value)] * count
    areas = np.bincount(ids.ravel(), minlength=len(classes) + 1)[1:]
    kept = areas >= min_area
    kept[np.argsort(-areas, kind="stable")[most:]] = False
    renumbered = np.zeros(len(classes) + 1, np.int32)
    renumbered[1:][kept] = np.arange(1, kept.sum() + 1)
    return Components(renumbered[ids], np.array(classes, np.int64)[kept])


def on_grid(label: Shaped[np.ndarray, "*b h w"], stride: int) -> Shaped[np.ndarray, "*b _h _w"]:
    """`label` at the middle pixel of each cell of `stride` pixels: nearest neighbour, no mixing.

    Cells at the far edges count where their middle lies on the labelling; there is at least one.
    """
    first = [min(stride // 2, side - 1) for side in label.shape[-2:]]
    return label[..., first[0] :: stride, first[1] :: stride]
