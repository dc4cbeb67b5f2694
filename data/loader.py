"""Loaders: augmented batches for training, decoded photos for per-photo work, ahead of use.

    loader = TrainingLoader(
        PhotoSet.of(manifest, manifest.split("train")),
        batch_size=16, transform=TrainTransform(crop=128, scale=(0.8, 1.25)), seed=0, workers=2,
    )
    for batch in loader(epoch=3, start=0): ...

Order and augmentation are a pure function of (seed, epoch, position): not of the number of workers,
of what ran before, nor of any global random state. An epoch resumed at batch `start` goes on bit
for bit, and the skipped batches are never decoded.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.manifest import Photo
from data.photoset import PhotoSet
from data.transforms import Sample, TrainTransform

Given = TypeVar("Given")
Made = TypeVar("Made")

AHEAD = 4
"""Batches that are prepared ahead of use."""


@dataclass(frozen=True)
class Batch:
    """Photos as a network takes them. The ids travel along: no output depends on the order."""

    images: UInt8[Tensor, "b 3 h w"]
    """RGB, 0..255: networks normalise themselves."""
    tags: Float[Tensor, "b c"]
    """1 where the photo has the class, else 0."""
    labels: Int64[Tensor, "b h w"] | None
    """0 background, 1..C classes, `ignore_of` C; None where the set has no labels."""
    weights: Float[Tensor, "b h w"] | None
    """Weight of every pixel in the loss; None where the set has no weights."""
    ids: list[str]


class TrainingLoader:
    """Endless supply of epochs of augmented batches; worker processes live from epoch to epoch.

    Every batch is full: where the photos run out, the last batch goes on with the order's first
    photos under other draws. A batch norm thus never sees one lonely photo, and one photo is enough
    to train on. Raises ValueError where there is no photo.
    """

    def __init__(
        self,
        photos: PhotoSet,
        *,
        batch_size: int,
        transform: TrainTransform,
        seed: int,
        workers: int = 1,
    ) -> None:
        if not len(photos):
            raise ValueError("there is no photo to train on: look at the index's problems.jsonl")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
        self.photos, self.batch_size, self.seed = photos, batch_size, seed
        self.steps_per_epoch = -(-len(photos) // batch_size)
        self._batches = _Batches(photos, transform, seed)
        self._plan = _Plan()
        self._processes = self._start(workers) if workers > 1 else None

    def _start(self, workers: int) -> "DataLoader[Batch | _Failure]":
        # No forks of this process: with threads in it (OpenMP, CUDA) they may hang. A server that
        # has imported the slow modules once forks instead.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torchvision.transforms.v2"])
        return DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._plan,
            num_workers=workers,
            # DataLoader draws a seed for its workers: not from the state that dropout draws from.
            generator=torch.Generator(),
            multiprocessing_context=context,
            persistent_workers=True,
        )

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches `start`, `start + 1`, ... of `epoch`; at most one epoch runs at a time."""
        self._plan.batches = self._planned(epoch)[start:]
        if self._processes is not None:
            return _checked(self._processes)
        make = self._batches.__getitem__
        return _checked(ahead(make, self._plan.batches, threads=1, depth=AHEAD))

    def _planned(self, epoch: int) -> "list[list[_Place]]":
        order = _generator(self.seed, epoch, 0).permutation(len(self.photos))
        total = self.steps_per_epoch * self.batch_size
        places = [(epoch, at, int(order[at % len(order)])) for at in range(total)]
        return [places[at : at + self.batch_size] for at in range(0, total, self.batch_size)]


_Place = tuple[int, int, int]
"""(epoch, position in the epoch, index of the photo): all that a sample depends on."""


class _Plan:
    """Tells DataLoader the batches of the epoch that is about to run.

    It does not know the loader that owns it: a circle would leave the end of the worker processes
    to the garbage collector, which tears down their queues first, and then waits for them.
    """

    def __init__(self) -> None:
        self.batches: list[list[_Place]] = []

    def __iter__(self) -> Iterator[list[_Place]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Failure(NamedTuple):
    """Bad data, on its way home: an exception out of a worker would come with its traceback."""

    message: str


def _checked(batches: Iterable[Batch | _Failure]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, _Failure):
            raise ValueError(batch.message)
        yield batch


class _Batches(Dataset[Batch | _Failure]):
    """Turns the places of a batch into the batch, in this process or in a worker."""

    def __init__(self, photos: PhotoSet, transform: TrainTransform, seed: int) -> None:
        self.photos, self.transform, self.seed = photos, transform, seed

    def _sample(self, place: _Place) -> Sample:
        epoch, position, index = place
        # Position 0 seeds the order of the epoch: samples count from 1.
        rng = _generator(self.seed, epoch, position + 1)
        return self.transform(self.photos.read(index), rng)

    def __getitem__(self, places: list[_Place]) -> Batch | _Failure:
        try:
            samples = [self._sample(place) for place in places]
        except (OSError, ValueError) as error:
            return _Failure(str(error))
        indices = [index for _, _, index in places]
        labels = [sample.label for sample in samples if sample.label is not None]
        weights = [sample.weight for sample in samples if sample.weight is not None]
        return Batch(
            images=torch.stack([sample.image for sample in samples]),
            tags=torch.from_numpy(self.photos.tags[indices].astype(np.float32)),
            labels=torch.stack(labels).long() if labels else None,
            weights=torch.stack(weights) if weights else None,
            ids=[self.photos.photos[index].id for index in indices],
        )


def sized_batches(
    photos: Iterable[Photo], batch_size: int, *, multiple: int = 1
) -> list[list[Photo]]:
    """Batches of photos of one size, in order of first appearance: no pixel of padding.

    With `multiple` > 1 photos share a batch when their sizes agree once rounded up to multiples of
    it; the caller pads.
    """
    buckets: dict[tuple[int, ...], list[Photo]] = {}
    for photo in photos:
        size = tuple(-(-length // multiple) for length in photo.size)
        buckets.setdefault(size, []).append(photo)
    return [
        bucket[at : at + batch_size]
        for bucket in buckets.values()
        for at in range(0, len(bucket), batch_size)
    ]


def decoded(
    batches: Iterable[Sequence[Photo]],
    read: Callable[[Photo], Shaped[np.ndarray, "..."]],
    workers: int = 1,
) -> Iterator[tuple[list[Photo], list[Shaped[np.ndarray, "..."]]]]:
    """Each batch with what `read` gives for its photos, in order, read on background threads.

    At most `workers` + 1 batches are in memory beside the one in use. An error of `read` is raised
    where its batch would have come.
    """
    make = partial(_read_all, read=read)
    return ahead(make, batches, threads=max(1, workers), depth=max(1, workers) + 1)


def ahead(
    make: Callable[[Given], Made], items: Iterable[Given], *, threads: int, depth: int
) -> Iterator[Made]:
    """`make(item)` for every item, in order, at most `depth` of them made ahead of use.

    Leaving the loop early drops what has not begun and waits for what has.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_all(
    batch: Sequence[Photo], read: Callable[[Photo], Any]
) -> tuple[list[Photo], list[Any]]:
    return list(batch), [read(photo) for photo in batch]


def _generator(seed: int, epoch: int, position: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, position])
