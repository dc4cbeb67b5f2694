"""The pixels of VOC's own masks of its train list, set beside what is known of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from data.checksums import check_pixels
from data.findings import Finding
from data.masks import read_mask
from knowledge.classes import VOC
from pipeline.parallel import map_unordered

HANDFUL = 32
"""Masks that one process reads at a time."""


def check_mask_pixels(paths: Sequence[Path], *, workers: int) -> Iterator[Finding]:
    """Count the labels of the masks in `paths`, those that are there, and compare."""
    here = [path for path in paths if path.is_file()]
    handfuls = [here[at : at + HANDFUL] for at in range(0, len(here), HANDFUL)]
    counts = map_unordered(pixels, handfuls, workers=workers, name=lambda some: some[0].name)
    yield from check_pixels(sum(counts, start=np.zeros(256, np.int64)), len(here))


def pixels(paths: Sequence[Path]) -> Int64[np.ndarray, " 256"]:
    """Pixels by label over some masks. Raises ValueError naming the one that cannot be used."""
    total = np.zeros(256, np.int64)
    for path in paths:
        total += np.bincount(read_mask(path, VOC)[0].ravel(), minlength=256)
    return total
