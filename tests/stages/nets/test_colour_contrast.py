"""Changes of colour as boundaries."""

import pytest
import torch

from stages.nets.colour_contrast import colour_boundary


def test_a_step_in_colour_is_a_boundary_where_it_is() -> None:
    image = torch.zeros(3, 24, 40, dtype=torch.uint8)
    image[0, :, 20:] = 100
    found = colour_boundary(image, contrast=50.0)
    assert found.shape == (6, 10)
    expected = 1 - torch.exp(torch.tensor(-2.0))
    assert found[:, 4:6].mean() == pytest.approx(float(expected), abs=0.05)
    assert found[:, :3].max() < 0.01
    assert found[:, 7:].max() < 0.01
    turned = colour_boundary(image.transpose(1, 2).contiguous(), contrast=50.0)
    torch.testing.assert_close(turned.T, found)


@pytest.mark.parametrize("size", [(1, 1), (3, 50)])
def test_one_colour_has_no_boundary(size: tuple[int, int]) -> None:
    found = colour_boundary(torch.full((3, *size), 90, dtype=torch.uint8), contrast=10.0)
    assert found.abs().max() < 1e-4
