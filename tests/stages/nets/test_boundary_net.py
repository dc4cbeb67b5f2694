"""The boundary network: its loss against plain loops, and what two halves of a photo teach it."""

import math
from pathlib import Path

import pytest
import torch

from stages.nets.boundary_net import (
    BoundaryNet,
    Levels,
    boundary_levels,
    load_boundary_net,
    pair_loss,
    pair_losses,
    save_boundary_net,
)
from stages.nets.boundary_paths import BoundaryWalk
from tests.stages.nets.test_boundary_paths import naive
from tests.stages.nets.test_cam import photos
from tests.stages.nets.test_dense_features import backbone


def levels_of(images: torch.Tensor, scale: float = 2.0) -> Levels:
    return boundary_levels(backbone(), images, scale=scale, levels=3, cells=4096)


def random_net(levels: Levels) -> BoundaryNet:
    torch.manual_seed(0)
    return BoundaryNet([one.shape[1] for one in levels.maps], 8)


@pytest.mark.parametrize("radius", [2, 4])
def test_the_loss_is_that_of_a_plain_loop(radius: int) -> None:
    generator = torch.Generator().manual_seed(radius)
    logits = torch.randn(6, 5, generator=generator)
    label = torch.randint(-1, 3, (6, 5), generator=generator)
    affinity, flat = naive(torch.sigmoid(logits).double(), radius), label.flatten().tolist()
    near = naive(torch.full((6, 5), 0.5), radius) > 0
    sums, counts = [0.0, 0.0, 0.0], [0, 0, 0]
    for a, first in enumerate(flat):
        for b in range(a + 1, len(flat)):
            if near[a, b] and first >= 0 and flat[b] >= 0:
                kind = 2 if first != flat[b] else 0 if first else 1
                share = float(affinity[a, b])
                sums[kind] -= math.log(1 - share if kind == 2 else share)
                counts[kind] += 1
    found, number = pair_losses(logits, label, radius)
    assert number.tolist() == counts
    torch.testing.assert_close(found, torch.tensor(sums), rtol=1e-4, atol=1e-4)
    means = [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]
    expected = ((means[0] + means[1]) / 2 + means[2]) / 2
    assert pair_loss(found, number).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("value", [-1, 0, 2])
def test_labels_without_a_pair_of_some_kind_give_a_finite_loss(value: int) -> None:
    logits = torch.full((4, 4), 60.0).requires_grad_()  # certain, where nothing may lie
    loss = pair_loss(*pair_losses(logits, torch.full((4, 4), value), 3))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).any() == (value >= 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (66, 81)])
def test_a_boundary_map_covers_a_photo_of_any_size(size: tuple[int, int]) -> None:
    levels = levels_of(photos(*size))
    found = random_net(levels)(levels)
    assert found.shape == (1, math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    assert torch.isfinite(found).all()


def test_a_large_photo_is_looked_at_smaller() -> None:
    levels = boundary_levels(backbone(), photos(540, 960), scale=2.0, levels=1, cells=256)
    assert levels.maps[0][0, 0].numel() <= 256
    assert [axis.shape[0] for axis in levels.axes[0]] == [135, 240]


def test_more_levels_than_the_backbone_has_are_named() -> None:
    with pytest.raises(ValueError, match=r"--edges\.levels"):
        boundary_levels(backbone(), photos(8, 8), scale=1.0, levels=9, cells=4096)


def test_the_boundary_between_two_halves_is_learned_and_stops_the_walk() -> None:
    """The middle is ignored in the labels: where the boundary lies is for the net to find."""
    generator = torch.Generator().manual_seed(1)
    images = torch.full((1, 3, 96, 128), 40, dtype=torch.uint8)
    grain = torch.randint(120, 255, (1, 3, 96, 64), generator=generator)
    images[..., 64:] = grain.to(torch.uint8)
    label = torch.zeros(24, 32, dtype=torch.int64)
    label[:, 16:] = 1
    label[:, 14:18] = -1
    levels = levels_of(images)
    net = random_net(levels)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(80):
        loss = pair_loss(*pair_losses(net(levels)[0], label, 6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.15
    boundary = torch.sigmoid(net(levels)[0].detach())
    assert boundary[:, 13:19].amax(dim=1).min() > 0.6
    assert boundary[:, :12].mean() < 0.1
    maps = torch.zeros(1, 24, 32)
    maps[:, :, 20:] = 1
    shared = BoundaryWalk(boundary, radius=5, beta=8.0)(maps, steps=64)[0]
    free = BoundaryWalk(torch.zeros_like(boundary), radius=5, beta=8.0)(maps, steps=64)[0]
    assert shared[:, :13].mean() < 0.25 * free[:, :13].mean()
    assert shared[:, 19:].mean() > 0.8


def test_a_net_is_read_as_it_was_written(tmp_path: Path) -> None:
    levels = levels_of(photos(40, 56))
    net, path = random_net(levels), tmp_path / "model.safetensors"
    save_boundary_net(path, net)
    torch.testing.assert_close(load_boundary_net(path)(levels), net(levels).detach())
    path.write_bytes(b"broken")
    with pytest.raises(ValueError, match="holds no boundary network"):
        load_boundary_net(path)
