"""Large photos are seen smaller, all others as they are."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.records import Photo
from stages.nets.resize import SEEN, as_seen, resized, said_of_large, seen_at


@given(st.integers(1, 6000), st.integers(1, 6000), st.floats(0.25, 3.0))
def test_no_view_has_more_pixels_than_that_of_the_largest_photo(
    height: int, width: int, scale: float
) -> None:
    found = seen_at((height, width), scale)
    if height * width <= SEEN:
        assert found == scale
    else:
        assert found < scale
        assert math.isclose(height * width * found**2, SEEN * scale**2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_photo_of_a_megapixel_is_seen_as_it_was(scale: float) -> None:
    images = torch.randint(0, 256, (1, 3, 1024, 16), dtype=torch.uint8)
    assert torch.equal(as_seen(images, scale), resized(images, scale))


def test_a_large_photo_is_seen_as_though_it_had_been_shrunk() -> None:
    images = torch.full((1, 3, 3000, 4000), 7, dtype=torch.uint8)
    seen = as_seen(images, 1.0)
    assert seen.shape[-2:] == (887, 1182)
    assert torch.allclose(seen, torch.tensor(7.0), atol=1e-3)


def test_large_photos_are_told_of_once() -> None:
    small = Photo(id="a", photo="a.jpg", size=(1024, 1024), tags=(), split="train", sha256="")
    large = replace(small, size=(3000, 4000))
    assert said_of_large([small]) is None
    assert said_of_large([small, large, large]) == (
        "photos seen as though shrunk to 1.0 megapixels, since they are larger: 2"
    )
