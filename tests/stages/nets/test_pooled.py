"""Batches of photos: of one size, and no larger than what is made of them may take."""

from pathlib import Path

import pytest
import torch

from data.manifest import Manifest
from data.records import Photo
from knowledge.classes import DEMO
from stages.nets import pooled
from stages.nets.pooled import photo_batches, pixels_at_once
from tests.datasets import write_photo

CPU = torch.device("cpu")


def photos(root: Path, count: int, size: tuple[int, int]) -> Manifest:
    made = []
    for n in range(count):
        write_photo(root / f"{n}.jpg", n, size)
        made.append(Photo(str(n), f"{n}.jpg", size, (), "train", ""))
    return Manifest(root, DEMO, tuple(made))


@pytest.mark.parametrize(("classes", "batches"), [(0, [6]), (4, [4, 2]), (20, [1] * 6)])
def test_many_classes_make_batches_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, batches: list[int]
) -> None:
    monkeypatch.setitem(pooled.NUMBERS, "cpu", 4 * 4 * 20 * 30)
    given = photos(tmp_path, 6, (20, 30))
    found = [
        (len(group), images.shape)
        for group, images in photo_batches(
            given, given.photos, device=CPU, workers=1, classes=classes
        )
    ]
    assert [count for count, _ in found] == batches
    assert all(shape == (count, 3, 20, 30) for count, shape in found)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_class_values_at_photo_size_are_bounded(kind: str) -> None:
    """As many photos as ever for VOC and COCO; with a thousand classes a quarter and fewer."""
    device = torch.device(kind)
    for classes in (0, 21, 81):
        assert pixels_at_once(device, classes) == pooled.PIXELS[kind]
    for classes in (255, 1001):
        assert classes * pixels_at_once(device, classes) <= pooled.NUMBERS[kind]
    assert 4 * pooled.NUMBERS["cpu"] == 2**28


def test_a_photo_that_changed_is_named(tmp_path: Path) -> None:
    given = photos(tmp_path, 2, (20, 30))
    write_photo(tmp_path / "1.jpg", 1, (20, 31))
    with pytest.raises(ValueError, match=r"1\.jpg is \(20, 31\).*--force index"):
        list(photo_batches(given, given.photos, device=CPU, workers=1))
