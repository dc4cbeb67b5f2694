"""The facade against the library whose interface it has."""

from inspect import unwrap

import numpy as np
import pytest

from stages.crf import dense_crf_2d
from stages.crf.dense_crf_2d import DenseCRF2D
from tests.stages.crf.cases import Case

CASE = Case("A", 3, (24, 32))
ENERGIES = -np.log(CASE.probabilities()).reshape(3, -1)


def built(module, add) -> np.ndarray:
    crf = module.DenseCRF2D(32, 24, 3)
    crf.setUnaryEnergy(np.ascontiguousarray(ENERGIES))
    add(crf, module)
    return np.array(crf.inference(5))


def usual(crf, module):
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=CASE.photo(), compat=10)


def two_widths(crf, module):
    crf.addPairwiseGaussian((3, 5), 3, module.DIAG_KERNEL, module.NORMALIZE_AFTER)
    crf.addPairwiseBilateral((60, 40), (13, 9, 5), CASE.photo(), 10, module.FULL_KERNEL)


def smoothness_alone(crf, module):
    crf.addPairwiseGaussian(sxy=2, compat=4, normalization=module.NORMALIZE_BEFORE)


def many(crf, module):
    usual(crf, module)
    usual(crf, module)


def nothing(crf, module):
    pass


@pytest.mark.parametrize("add", [usual, two_widths, smoothness_alone, many, nothing])
def test_equals_the_library(add):
    library = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    ours, theirs = built(dense_crf_2d, add), built(library, add)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert (ours.argmax(axis=0) == theirs.argmax(axis=0)).all()


def test_constants_are_the_librarys():
    library = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    for name in ("NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC"):
        assert getattr(dense_crf_2d, name) == getattr(library, name)
    for name in ("CONST_KERNEL", "DIAG_KERNEL", "FULL_KERNEL"):
        assert getattr(dense_crf_2d, name) == getattr(library, name)


def test_what_it_cannot_do_is_refused():
    crf = DenseCRF2D(32, 24, 3)
    with pytest.raises(ValueError, match="setUnaryEnergy"):
        crf.inference(1)
    with pytest.raises(ValueError, match=r"need \(3, 768\)"):
        crf.setUnaryEnergy(ENERGIES[:2])
    with pytest.raises(ValueError, match="the CRF is"):
        crf.addPairwiseBilateral(80, 13, CASE.photo()[1:], 10)
    unchecked = getattr(crf.addPairwiseGaussian, "__wrapped__", None)
    table = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="Potts"):
        dense_crf_2d._potts(table)
    assert unchecked is None or callable(unchecked)


@pytest.mark.parametrize(
    "photo",
    [
        CASE.photo() / 255.0,
        CASE.photo().astype(np.int16) - 128,
        CASE.photo()[:, :, 0],
        np.repeat(CASE.photo()[:, :, :1], 4, axis=2),
    ],
    ids=["float", "mean subtracted", "grey", "four channels"],
)
def test_what_is_no_decoded_photo_is_refused(photo):
    plain = unwrap(DenseCRF2D.addPairwiseBilateral)  # a user's program has no type checks
    with pytest.raises(ValueError, match="takes a uint8 RGB image"):
        plain(DenseCRF2D(32, 24, 3), (60, 40), 13, photo, 10)


@pytest.mark.parametrize("sxy", [(60, 40), 80], ids=["numpy", "fast"])
def test_the_photo_may_change_after_it_was_added(sxy):
    def found(spoil: bool) -> np.ndarray:
        photo = CASE.photo().copy()
        crf = DenseCRF2D(32, 24, 3)
        crf.setUnaryEnergy(ENERGIES)
        crf.addPairwiseGaussian(3, 3)
        crf.addPairwiseBilateral(sxy, 13, photo, 10)
        if spoil:
            photo[:] = 0
        return crf.inference(2)

    assert (found(True) == found(False)).all()
