"""The compiled lattice beside the one to read: the same points, and simplices that hold pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.crf.compiled.arena import Arena
from stages.crf.compiled.engine import lattice_points
from stages.crf.geometry import Geometry
from stages.crf.reference.kernels import bilateral_kernel
from tests.stages.crf.cases import Case


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    widths=st.sampled_from([(80.0, 13.0), (50.0, 5.0), (1.0, 2.0)]),
    noise=st.booleans(),
)
def test_as_many_points_and_the_same_row_sums(size, widths, noise):
    photo = Case("A", 2, size).photo()
    if noise:
        photo = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    sxy, srgb = widths
    geometry = Geometry.of(size, (sxy, sxy, srgb, srgb, srgb))
    n = size[0] * size[1]
    made = lattice_points(photo.reshape(-1), n, geometry, "before", Arena())
    kernel = bilateral_kernel(photo, sxy, srgb)
    assert made.neighbours.shape[1] == kernel.lattice.slicing.shape[1]
    assert sorted(made.pixels) == list(range(n))
    sliced = made.slicing[: 6 * n].reshape(n, 6).sum(axis=1)
    np.testing.assert_allclose(sliced, 1, atol=1e-4)
    factors = made.splatting[: 6 * n].reshape(n, 6).sum(axis=1)
    np.testing.assert_allclose(factors, 1 / kernel.row_sums[made.pixels], rtol=2e-3)


def test_photos_of_the_largest_size_fit_a_key():
    Geometry.of((4000, 6000), (50.0, 50.0, 5.0, 5.0, 5.0))
    Geometry.of((375, 500), (1.0, 1.0, 2.0, 2.0, 2.0))


def test_too_narrow_a_kernel_is_refused():
    with pytest.raises(ValueError, match="too narrow"):
        Geometry.of((4000, 6000), (0.1, 0.1, 0.1, 0.1, 0.1))
