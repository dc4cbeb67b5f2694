"""Loaders: batches depend on seed, epoch and position alone, and come ahead of use."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from data.loader import (
    Batch,
    PhotoSet,
    TrainingLoader,
    ahead,
    decoded,
    sized_batches,
)
from data.manifest import Manifest, Photo
from data.photos import read_photo
from data.transforms import TrainTransform
from knowledge.classes import ClassTable

CLASSES = ClassTable.of_names("things", ["left", "right", "rare"])
CROP = TrainTransform(crop=24, scale=(0.7, 1.4), jitter=0.1)


def label_of(photo: Photo) -> UInt8[np.ndarray, "h w"] | None:
    """Class 1 everywhere; the first photo has no label."""
    return None if photo.id == "photo-00" else np.ones(photo.size, np.uint8)


def weight_of(value: float, photo: Photo) -> Float[np.ndarray, "h w"]:
    return np.full(photo.size, value, np.float32)


def photo_set(folder: Path, count: int, *, labels: bool = True) -> PhotoSet:
    photos = []
    for number in range(count):
        size = (20 + number % 3, 30 - number % 2)
        noise = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        name = f"photo-{number:02d}"
        Image.fromarray(noise).save(folder / f"{name}.png")
        tags = ("left",) if number % 2 else ("left", "right")
        photos.append(Photo(name, f"{name}.png", size, tags, "train", "0" * 64))
    manifest = Manifest(folder, CLASSES, tuple(photos))
    label = label_of if labels else None
    weight = partial(weight_of, 0.5) if labels else None
    return PhotoSet.of(manifest, manifest.split("train"), label=label, weight=weight)


def loader(photos: PhotoSet, *, workers: int = 1, seed: int = 7) -> TrainingLoader:
    return TrainingLoader(photos, batch_size=4, transform=CROP, seed=seed, workers=workers)


def same(first: Batch, second: Batch) -> bool:
    assert first.labels is not None
    assert second.labels is not None
    assert first.weights is not None
    assert second.weights is not None
    return (
        first.ids == second.ids
        and torch.equal(first.images, second.images)
        and torch.equal(first.tags, second.tags)
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.weights, second.weights)
    )


def test_a_batch_holds_what_the_networks_expect(tmp_path: Path) -> None:
    batch = next(iter(loader(photo_set(tmp_path, 4))(epoch=0)))
    assert batch.images.shape == (4, 3, 24, 24)
    assert batch.images.dtype == torch.uint8
    assert batch.tags.dtype == torch.float32
    for row, name in zip(batch.tags.tolist(), batch.ids, strict=True):
        assert row == ([1, 0, 0] if int(name[-2:]) % 2 else [1, 1, 0])
    assert batch.labels is not None
    assert batch.labels.dtype == torch.int64
    assert batch.weights is not None
    for label, weight, name in zip(batch.labels, batch.weights, batch.ids, strict=True):
        assert (1 in label.unique()) == (name != "photo-00")
        assert weight.max() == pytest.approx(0.5)


def test_photos_without_labels_give_none(tmp_path: Path) -> None:
    batch = next(iter(loader(photo_set(tmp_path, 2, labels=False))(epoch=0)))
    assert batch.labels is None
    assert batch.weights is None


def test_worker_processes_give_the_same_batches_and_spare_the_global_state(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 10)
    one, two = loader(photos), loader(photos, workers=2)
    state = torch.get_rng_state()
    for epoch in (0, 1):
        pairs = list(zip(one(epoch), two(epoch), strict=True))
        assert len(pairs) == 3
        assert all(same(first, second) for first, second in pairs)
    resumed = list(zip(one(1, start=2), two(1, start=2), strict=True))
    assert len(resumed) == 1
    assert same(*resumed[0])
    assert torch.equal(state, torch.get_rng_state())


def test_a_resumed_epoch_goes_on_bit_for_bit_without_decoding_what_it_skips(
    tmp_path: Path,
) -> None:
    photos = photo_set(tmp_path, 12)
    whole = list(loader(photos)(epoch=3))
    assert all(map(same, whole[2:], loader(photos)(epoch=3, start=2)))
    for name in {*whole[0].ids, *whole[1].ids} - set(whole[2].ids):
        (tmp_path / f"{name}.png").unlink()
    assert same(whole[2], next(iter(loader(photos)(epoch=3, start=2))))
    assert list(loader(photos)(epoch=3, start=3)) == []


def test_seeds_and_epochs_differ_and_each_epoch_shows_every_photo(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 12)
    orders = [
        [name for batch in loader(photos, seed=seed)(epoch) for name in batch.ids]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert all(sorted(order) == sorted(photo.id for photo in photos.photos) for order in orders)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_last_batch_is_topped_up(tmp_path: Path, count: int) -> None:
    photos = photo_set(tmp_path, count)
    made = loader(photos)
    batches = list(made(epoch=0))
    assert len(batches) == made.steps_per_epoch == -(-count // 4)
    assert all(len(batch.ids) == 4 for batch in batches)
    names = [name for batch in batches for name in batch.ids]
    assert names == [names[at % count] for at in range(len(names))]
    assert set(names) == {photo.id for photo in photos.photos}
    if count == 1:  # the one photo comes under four different draws
        assert len(torch.unique(batches[0].images, dim=0)) == 4


def test_no_photo_and_a_label_of_another_size_are_named(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 2)
    empty = PhotoSet((), (), np.zeros((0, 3), bool))
    with pytest.raises(ValueError, match="no photo to train on"):
        loader(empty)
    wrong = PhotoSet(photos.photos, photos.paths, photos.tags, lambda _: np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match="label of photo-0"):
        next(iter(loader(wrong)(epoch=0)))


def test_an_unreadable_photo_is_named_by_thread_and_process(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 4)
    (tmp_path / "photo-02.png").write_bytes(b"no photo")
    for workers in (1, 2):
        with pytest.raises(ValueError, match=r"photo-02\.png"):
            list(loader(photos, workers=workers)(epoch=0))


def test_sized_batches_hold_one_size_each_and_every_photo_once(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 20).photos
    batches = sized_batches(photos, 3)
    assert all(len({photo.size for photo in batch}) == 1 for batch in batches)
    assert all(1 <= len(batch) <= 3 for batch in batches)
    assert sorted(photo.id for batch in batches for photo in batch) == [p.id for p in photos]
    assert len(sized_batches(photos, 20, multiple=16)) == 1
    assert sized_batches([], 3) == []


def test_decoded_photos_come_in_order(tmp_path: Path) -> None:
    photos = photo_set(tmp_path, 9)
    folder = tmp_path

    def read(photo: Photo) -> UInt8[np.ndarray, "h w 3"]:
        if photo.id == "photo-00":
            time.sleep(0.05)  # the first one comes last from disk
        return read_photo(folder / photo.photo)

    batches = sized_batches(photos.photos, 2)
    got = list(decoded(batches, read, workers=3))
    assert [batch for batch, _ in got] == batches
    for batch, arrays in got:
        for photo, array in zip(batch, arrays, strict=True):
            assert np.array_equal(array, read_photo(folder / photo.photo))


def test_ahead_is_bounded_and_stops_when_left() -> None:
    made, most, lock = [], [0], threading.Lock()
    used = [0]

    def make(item: int) -> int:
        with lock:
            made.append(item)
            most[0] = max(most[0], len(made) - used[0])
        return item

    def consume() -> Iterator[int]:
        for item in ahead(make, range(1000), threads=2, depth=3):
            used[0] += 1
            yield item

    loop = consume()
    assert [next(loop) for _ in range(20)] == list(range(20))
    loop.close()
    assert most[0] <= 5
    assert len(made) < 40
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
