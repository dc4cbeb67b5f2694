"""The grid of dense features: what a cell says lies where the cell looks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.nets.backbone import Backbone
from stages.nets.cam import resampling
from stages.nets.dense_features import Grid, dense_features, fitting_scale, standardised


def backbone(name: str = "test_resnet", **options: object) -> Backbone:
    torch.manual_seed(0)
    return Backbone(name, **options).eval().requires_grad_(False)  # type: ignore[arg-type]


def grid(
    size: tuple[int, int], *, stride: int = 16, shift: float = 0.0, scale: float = 1.0
) -> Grid:
    """The grid of a photo of `size`, as `dense_features` makes it."""
    axes, centres = [], []
    for side in size:
        length = max(1, round(side * scale))
        cells = math.ceil(length / stride)
        target = math.ceil(side / 4)
        axes.append(resampling(cells, stride=stride, length=length, target=target, shift=shift))
        centres.append(((torch.arange(cells) + 0.5) * stride + shift) * (side / length))
    return Grid(axes[0].float(), axes[1].float(), (centres[0].float(), centres[1].float()))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit"])
@pytest.mark.parametrize(("scale", "levels"), [(1.0, 1), (2.0, 4)])
@pytest.mark.parametrize("place", [(30, 30), (60, 90), (100, 40)])
def test_what_changes_in_a_photo_changes_where_the_grid_says(
    name: str, scale: float, levels: int, place: tuple[int, int]
) -> None:
    images = torch.full((2, 3, 128, 136), 120, dtype=torch.uint8)
    row, column = place
    images[1, :, row - 4 : row + 4, column - 4 : column + 4] = 255
    maps, found = dense_features(backbone(name), images, scale=scale, levels=levels)
    assert len(maps) == levels
    change = (maps[-1][1] - maps[-1][0]).square().sum(dim=0)
    change = change / change.sum()
    assert change.sum(dim=1) @ found.centres[0] == pytest.approx(row, abs=8)
    assert change.sum(dim=0) @ found.centres[1] == pytest.approx(column, abs=8)
    drawn = found.to_maps(change[None])[0]
    where = 4 * torch.arange(drawn.shape[0]) + 2.0
    assert drawn.sum(dim=1) @ where / drawn.sum() == pytest.approx(row, abs=8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {}),
        ("test_resnet", {"output_stride": 32}),
        ("test_vit", {}),
        ("mobilenetv2_100", {"pad_type": "same"}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 47)])
def test_all_levels_share_one_grid_whatever_their_strides(
    name: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    net = backbone(name, **options)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    maps, found = dense_features(net, images, scale=1.0, levels=len(net.strides))
    cells = tuple(math.ceil(side / net.strides[-1]) for side in size)
    assert [tuple(one.shape) for one in maps] == [(2, c, *cells) for c in net.channels]
    assert found.to_maps(maps[0][0]).shape[1:] == tuple(math.ceil(side / 4) for side in size)
    assert all(one.isfinite().all() for one in maps)


def test_finer_maps_are_averaged_over_the_coarse_cells() -> None:
    net = backbone(output_stride=32)
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    raw = net(images)
    maps, _ = dense_features(net, images, scale=1.0, levels=3)
    factor = net.strides[-1] // net.strides[-3]
    cell = raw[-3][0, :, :factor, factor : 2 * factor].mean(dim=(1, 2))
    torch.testing.assert_close(maps[0][0, :, 0, 1], cell)


def test_more_levels_than_maps_are_refused_by_name() -> None:
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"levels=5: test_resnet has 4 maps.*--walk\.affinity"):
        dense_features(backbone(), images, scale=1.0, levels=5)


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    stride=st.sampled_from([8, 14, 16, 32]),
    shift=st.sampled_from([-7.5, 0.0, 7.5]),
    scale=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
)
@settings(max_examples=60)
def test_constant_maps_stay_constant_there_and_back(
    height: int, width: int, stride: int, shift: float, scale: float
) -> None:
    found = grid((height, width), stride=stride, shift=shift, scale=scale)
    maps = torch.full((1, math.ceil(height / 4), math.ceil(width / 4)), 3.0)
    cells = found.to_cells(maps)
    torch.testing.assert_close(cells, torch.full_like(cells, 3.0))
    torch.testing.assert_close(found.to_maps(cells), maps)


def test_a_bump_stays_where_it_is() -> None:
    found = grid((160, 240), shift=-7.5, scale=2.0)
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    bump = torch.exp(-((rows - 14) ** 2 + (columns - 41) ** 2) / 30)[None]
    back = found.to_maps(found.to_cells(bump))[0]
    assert divmod(int(back.argmax()), 60) == (14, 41)
    assert (back.sum(dim=1) @ torch.arange(40.0)) / back.sum() == pytest.approx(14, abs=0.3)
    assert (back.sum(dim=0) @ torch.arange(60.0)) / back.sum() == pytest.approx(41, abs=0.3)


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
    stride=st.sampled_from([8, 14, 16, 32]),
    cells=st.sampled_from([16, 500, 4096]),
)
@settings(max_examples=100)
def test_a_scaled_photo_has_at_most_so_many_cells(
    height: int, width: int, scale: float, stride: int, cells: int
) -> None:
    def count(factor: float) -> int:
        sides = (max(1, round(side * factor)) for side in (height, width))
        return math.prod(math.ceil(side / stride) for side in sides)

    found = fitting_scale((height, width), scale=scale, stride=stride, cells=cells)
    assert 0 < found <= scale
    assert count(found) <= cells
    if count(scale) <= cells:
        assert found == scale


@pytest.mark.parametrize("photo", [(1080, 1920), (1, 100_000), (3000, 4000)])
def test_a_large_photo_keeps_most_of_the_cells_it_may_have(photo: tuple[int, int]) -> None:
    scale = fitting_scale(photo, scale=2.0, stride=16, cells=4096)
    cells = math.prod(math.ceil(max(1, round(side * scale)) / 16) for side in photo)
    assert 3900 < cells <= 4096


def test_every_level_counts_alike_and_every_cell_is_one_long() -> None:
    generator = torch.Generator().manual_seed(0)
    fine, coarse = (torch.randn(c, 4, 5, generator=generator) for c in (6, 9))
    rows = standardised([fine * 1000 + 7, coarse])
    torch.testing.assert_close(rows, standardised([fine, coarse]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20))
