"""The lattice as a Gaussian filter."""

import numpy as np
import pytest

from stages.crf.reference.kernels import bilateral_kernel, gaussian_kernel, positions
from stages.crf.reference.lattice import Lattice, barycentric, elevate, embed
from tests.stages.crf.cases import Case


def features(dimension: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(dimension).uniform(-4, 4, (dimension, count)).astype(np.float32)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_points_lie_in_their_simplex(dimension):
    points = features(dimension)
    nearest, rank, weights = embed(points)
    assert (np.sort(rank, axis=0) == np.arange(dimension + 1)[:, None]).all()
    assert (nearest.sum(axis=0) == 0).all()
    assert weights.min() > -1e-5
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    # The corners, weighed, give the point back.
    corner = np.arange(dimension + 1)[:, None, None]
    corners = nearest * (dimension + 1) + corner - (dimension + 1) * (rank > dimension - corner)
    found = np.einsum("kcn,nk->cn", corners, weights)
    np.testing.assert_allclose(found, elevate(points), atol=1e-3)


def test_weights_of_equal_offsets():
    weights = barycentric(np.zeros((3, 1), np.float32), np.array([[0], [1], [2]], np.int8))
    np.testing.assert_array_equal(weights, [[1, 0, 0]])


@pytest.mark.parametrize("dimension", [2, 5])
def test_near_a_gaussian_sum(dimension):
    """The lattice is an approximation: about as Adams et al. find, up to a constant factor."""
    points = features(dimension) / 2
    values = np.random.default_rng(1).uniform(0, 1, (2, points.shape[1])).astype(np.float32)
    squares = ((points[:, :, None] - points[:, None]) ** 2).sum(axis=0)
    exact = values @ np.exp(-squares / 2)
    found = Lattice.of(points).filter(values)
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.97


def test_symmetric_up_to_the_order_of_the_blur():
    case = Case("A", 2, (20, 30))
    lattice = bilateral_kernel(case.photo(), 80.0, 13.0).lattice
    a, b = np.random.default_rng(0).uniform(0, 1, (2, 1, 600)).astype(np.float32)
    assert (lattice.filter(a) * b).sum() == pytest.approx((lattice.filter(b) * a).sum(), rel=0.01)


def test_channels_do_not_mix():
    lattice = Lattice.of(features(3))
    values = np.random.default_rng(2).uniform(0, 1, (4, 400)).astype(np.float32)
    alone = np.concatenate([lattice.filter(values[c : c + 1]) for c in range(4)])
    np.testing.assert_allclose(lattice.filter(values), alone, rtol=1e-6)


def test_one_point():
    lattice = Lattice.of(np.zeros((5, 1), np.float32))
    assert lattice.filter(np.ones((1, 1), np.float32))[0, 0] > 0


def test_too_wide_a_spread_is_refused():
    with pytest.raises(ValueError, match="too narrow"):
        Lattice.of(np.array([[0, 1e7]] * 5, np.float32))


def test_noise_makes_more_lattice_points_than_pixels():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    kernel = bilateral_kernel(photo, 50.0, 5.0)
    pixels, points = kernel.lattice.slicing.shape
    assert points > 3 * pixels
    assert np.isfinite(kernel.row_sums).all()


def test_smoothness_kernel_is_made_once_a_size():
    assert gaussian_kernel(12, 13, 3.0) is gaussian_kernel(12, 13, 3.0)
    assert gaussian_kernel(12, 13, 3.0) is not gaussian_kernel(13, 12, 3.0)


def test_positions_are_x_then_y():
    np.testing.assert_array_equal(positions(2, 3, 2.0), [[0, 0.5, 1] * 2, [0] * 3 + [0.5] * 3])
