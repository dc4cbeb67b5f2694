"""The walk: shared among places that look alike, kept from those that do not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from stages.nets.affinity import Affinity, transition, walked
from stages.nets.backbone import Backbone
from stages.nets.settings import AffinityConfig
from tests.stages.nets.test_cam import photos
from tests.stages.nets.test_dense_features import backbone, grid


def maps_of(size: tuple[int, int], count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    return torch.rand(count, *(math.ceil(side / 4) for side in size), generator=generator)


def walk(
    net: Backbone, images: torch.Tensor, maps: torch.Tensor, steps: int = 3, **changes: object
) -> torch.Tensor:
    affinity = Affinity(net, images, AffinityConfig(**changes))  # type: ignore[arg-type]
    return walked(maps, affinity.of(0), affinity.grid, steps=steps)


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    power=st.sampled_from([0.5, 4.0, 50.0]),
    flat=st.booleans(),
)
@settings(max_examples=40)
def test_rows_of_a_transition_sum_to_one(height: int, width: int, power: float, flat: bool) -> None:
    generator = torch.Generator().manual_seed(height * 10 + width)
    levels = [torch.randn(c, height, width, generator=generator) * (not flat) for c in (3, 8)]
    found = transition(levels, power=power)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=1), torch.ones(height * width))


def test_a_photo_of_one_colour_keeps_its_maps() -> None:
    found = transition([torch.ones(5, 3, 4)], power=4.0)
    torch.testing.assert_close(found, torch.eye(12))


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 33), (66, 81)])
@pytest.mark.parametrize("pad_type", [None, "same"])
def test_constant_maps_stay_constant(size: tuple[int, int], pad_type: str | None) -> None:
    net = backbone("mobilenetv2_100", pad_type=pad_type)
    maps = torch.ones_like(maps_of(size)) * torch.tensor([1.0, 0.25])[:, None, None]
    found = walk(net, photos(*size), maps, steps=5)
    torch.testing.assert_close(found, maps, atol=1e-5, rtol=1e-5)


def test_no_step_is_the_resampling_alone() -> None:
    maps, images = maps_of((50, 70)), photos(50, 70)
    affinity = Affinity(backbone(), images, AffinityConfig())
    found = walked(maps, affinity.of(0), affinity.grid, steps=0)
    torch.testing.assert_close(found, affinity.grid.to_maps(affinity.grid.to_cells(maps)))
    assert (found - maps).abs().mean() < 0.3


def test_a_walk_stays_between_the_least_and_the_most() -> None:
    maps = maps_of((50, 70))
    found = walk(backbone(), photos(50, 70), maps, steps=10)
    assert found.min() >= maps.min()
    assert found.max() <= maps.max()


def test_what_looks_alike_shares_and_what_does_not_keeps_apart() -> None:
    features = torch.zeros(2, 4, 8)
    features[0, :, :2] = features[0, :, 6:] = 1  # two ends alike
    features[1, :, 2:6] = 1  # the middle is another thing
    found = transition([features], power=4.0)
    maps = torch.zeros(1, 16, 32)
    maps[:, :, :6] = 1  # seen at the left end only
    shared = walked(maps, found, grid((64, 128)), steps=20)[0]
    assert shared[:, 26:].min() > 0.3
    assert shared[:, 12:20].max() < 0.01


def test_a_walk_over_a_photo_of_two_halves_stays_in_its_half() -> None:
    images = torch.full((1, 3, 96, 192), 30, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    grain = torch.randint(0, 200, (1, 3, 96, 96), generator=generator)
    images[..., 96:] = grain.to(torch.uint8)
    maps = torch.zeros(1, 24, 48)
    maps[:, 8:16, 4:8] = 1
    shared = walk(backbone(), images, maps, steps=20)[0]
    assert shared[:, :20].mean() > 10 * shared[:, 28:].mean()
    assert shared[:, :20].min() > 0


@pytest.mark.parametrize("size", [(96, 128), (90, 121)])
def test_the_walk_of_a_mirrored_photo_is_nearly_the_mirrored_walk(size: tuple[int, int]) -> None:
    net, generator = backbone("test_efficientnet"), torch.Generator().manual_seed(0)
    small = torch.rand(1, 4, 4, 5, generator=generator)
    colours = functional.interpolate(small[:, :3], size=size, mode="bicubic", antialias=True)
    images = (colours * 255).clamp(0, 255).to(torch.uint8)
    cells = tuple(math.ceil(side / 4) for side in size)
    smooth = functional.interpolate(small[:, 3:], size=cells, mode="bilinear")[0]
    straight = walk(net, images, smooth, steps=1)
    mirrored = walk(net, images.flip(-1), smooth.flip(-1), steps=1).flip(-1)
    # Padding at one end and cells off the middle of their block: alike, not equal.
    difference = (straight - mirrored).abs().mean()
    assert difference < 0.25 * (straight - straight.flip(-1)).abs().mean()


def test_a_large_photo_has_a_bounded_matrix() -> None:
    net = backbone()
    affinity = Affinity(net, photos(1080, 1920), AffinityConfig(cells=256))
    found = affinity.of(0)
    assert 200 < len(found) <= 256
    assert walked(maps_of((1080, 1920)), found, affinity.grid, steps=2).shape == (2, 270, 480)


def test_photos_of_a_batch_do_not_mix() -> None:
    images = torch.cat([photos(40, 56), photos(40, 56).flip(-2)])
    together = Affinity(backbone(), images, AffinityConfig())
    for at in range(2):
        alone = Affinity(backbone(), images[at : at + 1], AffinityConfig())
        torch.testing.assert_close(together.of(at), alone.of(0), atol=1e-5, rtol=1e-3)
