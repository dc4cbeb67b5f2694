"""Refine label probabilities of photos by the dense CRF: one, or a stream of them on all cores."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from stages.crf.lattice import Lattice, check_image, check_probabilities
from stages.crf.parameters import CrfParameters
from stages.crf.threads import in_order


class Item(NamedTuple):
    """A photo for `refine_many`; see `refine`."""

    image: UInt8[np.ndarray, "h w 3"]
    probabilities: Float[np.ndarray, "*groups k h w"]
    scale: float = 1.0
    name: str = ""
    """What an error calls the photo."""
    label: Any = None
    """Whatever belongs to the photo and is wanted back beside its result."""


def refine(
    image: UInt8[np.ndarray, "h w 3"],
    probabilities: Float[np.ndarray, "*groups k h w"],
    parameters: CrfParameters,
    *,
    scale: float = 1.0,
) -> Float32[np.ndarray, "*groups k h w"]:
    """Label probabilities Q of every pixel, from the softmax or scores of the labels present.

    image: RGB 0..255 as decoded, not normalised. probabilities: at least 0, in any scale of the
    pixel (the energy is -log, so a factor changes nothing); axis k runs over the labels present.
    Leading groups are independent labellings of the same photo: they share its lattices, which is
    cheaper than one call each. scale: multiplies both widths in pixels.
    Q sums to 1 over k.

    Raises ValueError for an image that is not uint8 RGB, sizes that differ, and probabilities that
    are negative or not finite.
    """
    check_image(image)
    check_probabilities(probabilities, (image.shape[0], image.shape[1]))
    return Lattice(image, parameters, scale=scale).refine(probabilities)


def refine_many(
    items: Iterable[Item], parameters: CrfParameters, *, workers: int = 1, device: str = "auto"
) -> Iterator[tuple[Item, Float32[np.ndarray, "*groups k h w"]]]:
    """Yield each item with its Q, in the order of `items`, as soon as it is ready.

    `workers` threads share the lattices that depend on the size alone; numba lets them run side by
    side. The backend torch takes batches of photos on `device` instead. At most 2 * workers + 1
    photos are held at a time, so `items` may be a generator over a whole data set. Results do not
    depend on the number of workers. The first error ends the stream.
    """
    if parameters.backend == "torch":
        from stages.crf.batch import refine_batches

        yield from refine_batches(items, parameters, device=device)
        return
    yield from in_order(partial(_refined, parameters), items, workers=workers)


def warmup(labels: Iterable[int] = (2, 4, 8, 16)) -> None:
    """Compile what photos of so many labels will need, and keep it on disk: 3 to 30 seconds.

    Only the first run on a machine would otherwise take that time in its first photos.
    """
    for count in labels:
        for groups in (1, 3):  # 3 as for pseudo-labels: see `stages/pseudo_label.py`
            scores = np.ones((groups, count, 2, 2), np.float32)
            refine(np.zeros((2, 2, 3), np.uint8), scores, CrfParameters())


def _refined(
    parameters: CrfParameters, item: Item
) -> tuple[Item, Float32[np.ndarray, "*groups k h w"]]:
    try:
        return item, refine(item.image, item.probabilities, parameters, scale=item.scale)
    except ValueError as error:
        raise ValueError(f"{item.name}: {error}" if item.name else str(error)) from error
