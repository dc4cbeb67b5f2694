"""One lattice for many inferences; threads and the frozen mode."""

import numpy as np
import pytest
from PIL import Image

from stages.crf.lattice import Lattice
from stages.crf.parameters import CrfParameters
from stages.crf.refine import Item, refine, refine_many
from tests.stages.crf.cases import Case

CASE = Case("B", 3, (60, 83))
PHOTO, SCORES = CASE.photo(), CASE.probabilities()
BACKENDS = ("numba", "torch", "reference")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sweep_equals_fresh_starts(backend):
    start = CrfParameters(backend=backend)
    lattice = Lattice(PHOTO, start, scale=0.7)
    for weight in (0.0, 2.5, 10.0):
        for scores in (SCORES, SCORES[:2], SCORES**2):
            changed = start.model_copy(update={"bilateral_weight": weight, "iterations": 3})
            q = lattice.refine(scores, changed)
            np.testing.assert_allclose(q, refine(PHOTO, scores, changed, scale=0.7), atol=1e-6)


@pytest.mark.parametrize("change", [{"bilateral_sxy": 3.0}, {"normalization": "after"}])
def test_other_widths_need_another_lattice(change):
    lattice = Lattice(PHOTO, CrfParameters())
    with pytest.raises(ValueError, match="needs another Lattice"):
        lattice.refine(SCORES, CrfParameters(**change))


def test_lattices_in_use_do_not_share_memory():
    lattice = Lattice(PHOTO, CrfParameters())
    expected = refine(PHOTO, SCORES, CrfParameters())
    refine(PHOTO[::-1, :50], SCORES[:2, :, :50], CrfParameters())
    assert (lattice.refine(SCORES) == expected).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_energies_must_be_finite(value):
    energies = -np.log(SCORES)
    energies[1, 3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        Lattice(PHOTO, CrfParameters()).refine_energies(energies)


def test_a_constant_per_pixel_changes_nothing():
    energies = -np.log(SCORES)
    shift = np.random.default_rng(0).normal(0, 3, PHOTO.shape[:2]).astype(np.float32)
    lattice = Lattice(PHOTO, CrfParameters())
    found = lattice.refine_energies(energies + shift)
    np.testing.assert_allclose(found, lattice.refine_energies(energies), atol=1e-4)


def many(count: int) -> list[Item]:
    cases = [Case("A", 2 + place % 4, (20 + 5 * place, 90 - 7 * place)) for place in range(count)]
    return [Item(case.photo(), case.probabilities(), name=case.name) for case in cases]


def test_threads_keep_order_and_bits():
    items = many(9)
    one = list(refine_many(items, CrfParameters(), workers=1))
    four = list(refine_many(iter(items), CrfParameters(), workers=4))
    assert [item.name for item, _ in four] == [item.name for item in items]
    for (_, a), (_, b) in zip(one, four, strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_is_read_as_it_is_used(workers):
    taken = []

    def items():
        for item in many(9):
            taken.append(item)
            yield item

    stream = refine_many(items(), CrfParameters(), workers=workers)
    next(stream)
    assert len(taken) <= 2 * workers + 1
    stream.close()


def test_frozen_equals_exact_on_photos(shared):
    """Two real photos, scores from their masks: more than 99.99 % of the labels."""
    folder = shared / "voc-fullsize-100" / "VOC2012"
    masks = sorted((folder / "SegmentationClass").glob("*.png"))[:2]
    for path in masks:
        photo = np.array(Image.open(folder / "JPEGImages" / f"{path.stem}.jpg").convert("RGB"))
        mask = np.array(Image.open(path))
        classes = np.unique(mask[(mask > 0) & (mask < 255)])
        hits = np.stack([mask == value for value in (0, *classes)]).astype(np.float32)
        scores = _blurred(hits) * 0.8 + 0.1
        exact = refine(photo, scores, CrfParameters(set="psa_seam"))
        frozen = refine(photo, scores, CrfParameters(set="psa_seam", mode="frozen"))
        assert (exact != frozen).any(), "nothing was frozen"
        assert (exact.argmax(axis=0) == frozen.argmax(axis=0)).mean() >= 0.9999


def _blurred(hits: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return np.stack([uniform_filter(hit, 40) for hit in hits])


def test_frozen_mode_is_exact_where_nothing_is_sure():
    unsure = CrfParameters(set="deeplab", bilateral_weight=0.1, gaussian_weight=0.1)
    frozen = unsure.model_copy(update={"mode": "frozen"})
    assert (refine(PHOTO, SCORES, unsure) == refine(PHOTO, SCORES, frozen)).all()


@pytest.mark.parametrize("mode", ["exact", "frozen"])
@pytest.mark.parametrize(("groups", "labels"), [(3, 2), (7, 2), (3, 4), (4, 3), (2, 9)])
def test_labellings_side_by_side_are_those_one_by_one(groups, labels, mode):
    """Up to 12 numbers a pixel go through one pass, the rest through the next."""
    case = Case("A", labels, (30, 41))
    powers = np.linspace(0.6, 3, groups, dtype=np.float32)[:, None, None, None]
    scores = case.probabilities() ** powers
    lattice = Lattice(case.photo(), CrfParameters(set="psa_seam", mode=mode))
    found = lattice.refine(scores)
    alone = np.stack([lattice.refine(each) for each in scores])
    if mode == "exact":
        assert (found == alone).all()
    else:  # a pixel is skipped where it is sure in all labellings of a pass
        assert (found.argmax(axis=1) == alone.argmax(axis=1)).mean() >= 0.9999


def test_scores_of_half_precision_may_be_zero():
    image = np.zeros((3, 4, 3), np.uint8)
    scores = np.zeros((2, 3, 4), np.float16)
    scores[1] = 1
    q = Lattice(image, CrfParameters(backend="reference", iterations=0)).refine(scores)
    assert (q[1] > 0.99).all()
