"""Whole maps of a frozen backbone, read from disk in batches: what nodes are trained on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from data.loader import ahead
from data.records import Photo
from stages.nets.pooled import file_of, read_kept


class PlacesBatch(NamedTuple):
    """Photos of several sizes as their places, shorter ones filled up with zeros."""

    places: Float32[Tensor, "b n d"]
    seen: Bool[Tensor, "b n"]
    """Which places are the photo's own."""
    tags: Float[Tensor, "b c"]


class KeptMaps:
    """The maps that the stage `features` kept of some photos, as they are and mirrored.

    All of them in float16 in memory where they take at most `limit` bytes, else read anew from the
    files, which the operating system keeps as far as it can.
    """

    def __init__(self, folder: Path, photos: Sequence[Photo], *, limit: int = 2 << 30) -> None:
        self.paths = [file_of(folder, photo) for photo in photos]
        size = sum(path.stat().st_size for path in self.paths if path.exists())
        kept = size <= limit
        self.maps = [read_kept(path, "maps") for path in self.paths] if kept else None

    def of(self, at: int, view: int) -> Float32[Tensor, "n d"]:
        """The places of photo `at`: of itself (0) or of its mirror image (1).

        Raises ValueError naming the file that is missing or damaged, or has no maps.
        """
        maps = read_kept(self.paths[at], "maps") if self.maps is None else self.maps[at]
        return maps[view].flatten(1).T.float()

    def batch(self, rows: Sequence[int], views: Sequence[int], tags: Tensor) -> PlacesBatch:
        """Some photos together; tags: theirs, b c."""
        found = [self.of(at, view) for at, view in zip(rows, views, strict=True)]
        longest = max(len(places) for places in found)
        canvas = torch.zeros(len(found), longest, found[0].shape[1])
        seen = torch.zeros(len(found), longest, dtype=torch.bool)
        for row, places in enumerate(found):
            canvas[row, : len(places)] = places
            seen[row, : len(places)] = True
        return PlacesBatch(canvas, seen, tags)

    def loader(
        self, tags: Bool[np.ndarray, "n c"], *, batch_size: int, seed: int
    ) -> Callable[[int, int], Iterator[PlacesBatch]]:
        """(epoch, start) -> batches, each photo once an epoch, as it is or mirrored.

        What it yields depends on seed, epoch and position alone; the last batch may be smaller.
        """
        truth = torch.from_numpy(tags.astype(np.float32))

        def epoch_from(epoch: int, start: int) -> Iterator[PlacesBatch]:
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(self.paths))
            views = rng.integers(2, size=len(self.paths))
            chunks = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]

            def made(rows: np.ndarray) -> PlacesBatch:
                return self.batch(rows.tolist(), views[rows].tolist(), truth[rows])

            return ahead(made, chunks[start:], threads=1, depth=2)

        return epoch_from
