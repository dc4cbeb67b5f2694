from pathlib import Path

import numpy as np
import pytest
import torch

from data.records import Photo
from stages.nets.kept_maps import KeptMaps
from stages.nets.pooled import write_pooled

SIZES = ((2, 3), (3, 3), (2, 2), (1, 4))


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    found = []
    for at, (height, width) in enumerate(SIZES):
        photo = Photo(f"p{at}", f"p{at}.jpg", (height * 16, width * 16), (), "train", "")
        maps = torch.randn(2, 5, height, width).to(torch.float16)
        write_pooled(tmp_path, photo, {"plain": torch.zeros(5), "maps": maps})
        found.append(photo)
    return found


def test_places_lie_row_by_row_and_shorter_photos_are_filled_up(
    tmp_path: Path, photos: list[Photo]
) -> None:
    maps = KeptMaps(tmp_path, photos)
    batch = maps.batch([1, 2], [0, 1], torch.eye(2))
    assert batch.places.shape == (2, 9, 5)
    assert batch.seen.sum(dim=1).tolist() == [9, 4]
    assert (batch.places[1, 4:] == 0).all()
    torch.testing.assert_close(batch.places[0, 4], maps.of(1, 0)[4])
    assert not torch.equal(maps.of(1, 0), maps.of(1, 1))


def test_memory_or_disk_gives_the_same_batches_again_and_from_any_place(
    tmp_path: Path, photos: list[Photo]
) -> None:
    tags = np.eye(4, dtype=bool)
    kept = KeptMaps(tmp_path, photos).loader(tags, batch_size=3, seed=1)
    read = KeptMaps(tmp_path, photos, limit=0)
    assert read.maps is None
    whole = list(kept(2, 0))
    assert [len(batch.tags) for batch in whole] == [3, 1]
    assert torch.cat([batch.tags for batch in whole]).sum(dim=0).tolist() == [1, 1, 1, 1]
    again = read.loader(tags, batch_size=3, seed=1)
    for ours, theirs in zip([*again(2, 0), *again(2, 1)], [*whole, whole[1]], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_file_without_maps_is_named(tmp_path: Path, photos: list[Photo]) -> None:
    write_pooled(tmp_path, photos[0], {"plain": torch.zeros(5)})
    with pytest.raises(ValueError, match=r"p0\.safetensors holds no maps"):
        KeptMaps(tmp_path, photos)
