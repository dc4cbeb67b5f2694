"""Intrinsic and diverse features: sizes, the gate, and the bounds of the diversity loss."""

import pytest
import torch

from stages.nets.feature_reconstruction import FeatureReconstruction, lack_of_diversity


@pytest.mark.parametrize("channels", [1, 3, 24, 33])
def test_any_number_of_channels_becomes_the_width(channels: int) -> None:
    lateral, diverse = FeatureReconstruction(channels, 12)(torch.randn(2, channels, 5, 7))
    assert lateral.shape == (2, 12, 5, 7)
    assert diverse.shape == (2, max(1, channels // 2), 5, 7)


def test_parameters_are_the_closed_form() -> None:
    module, c, width = FeatureReconstruction(24, 12), 24, 12
    whole = 1.75 * c * c + 8.5 * c + width * c  # with two norms of the half, one of the whole
    assert sum(p.numel() for p in module.parameters()) == whole


def test_the_gate_is_a_factor_without_bounds() -> None:
    """Twice the diverse map gives four times the gated one: the gate is linear where it is open."""
    module = FeatureReconstruction(8, 4).eval()
    torch.nn.init.ones_(module.gate[1].weight)
    torch.nn.init.constant_(module.gate[3].weight, -3.0)
    found = []
    for factor in (1.0, 2.0):
        module.diverse[1].weight.data.fill_(factor)
        module.diverse[1].bias.data.fill_(5 * factor)
        found.append(module(torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0)))[1])
    torch.testing.assert_close(found[1], 4 * found[0])
    assert found[0].mean() < -1


def test_channels_that_look_alike_lack_diversity() -> None:
    one = torch.randn(2, 1, 4, 5).expand(2, 6, 4, 5)
    assert float(lack_of_diversity(one)) == pytest.approx(1 - 1 / 6, abs=1e-6)


def test_channels_with_a_pixel_each_lack_nothing() -> None:
    peaks = 200 * torch.eye(6, 20).reshape(1, 6, 4, 5).expand(2, 6, 4, 5)
    assert float(lack_of_diversity(peaks)) == pytest.approx(0, abs=1e-6)


def test_diversity_lies_between_and_falls_when_it_is_followed() -> None:
    diverse = torch.randn(2, 6, 4, 5, requires_grad=True)
    before = lack_of_diversity(diverse)
    assert 0 <= before < 1 - 1 / 6
    (gradient,) = torch.autograd.grad(before, diverse)
    assert lack_of_diversity(diverse - 20 * gradient) < before


def test_diversity_reaches_the_convolutions_and_the_gate_alone() -> None:
    module = FeatureReconstruction(8, 4)
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    lack_of_diversity(module(x)[1]).backward()
    reached = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert {name.split(".")[0] for name in reached} == {"intrinsic", "diverse", "gate"}
    assert x.grad is not None
    assert x.grad.any()
