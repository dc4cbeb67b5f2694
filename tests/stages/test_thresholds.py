"""The background score that needs no mask."""

import numpy as np
import pytest

from data.cams import Cam, write_cam
from stages.thresholds import (
    BINS,
    METHODS,
    li,
    otsu,
    read_histogram,
    score_histogram,
    shares,
    strongest,
)


def cam(*maps: np.ndarray) -> Cam:
    stacked = np.stack(maps).astype(np.float32)
    height, width = stacked.shape[1:]
    return Cam(np.arange(len(maps)), stacked, (4 * height, 4 * width))


def two_bumps(low: float, high: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(low, 0.03, 6000), rng.normal(high, 0.05, 2000)])
    return np.histogram(scores, bins=BINS, range=(0, 1))[0]


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.5), (0.2, 0.8), (0.5, 0.9)])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_cuts_between_two_groups(method, low, high):
    assert low + 0.09 < method(two_bumps(low, high)) < high - 0.09


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_takes_the_middle_of_a_gap(method):
    counts = np.zeros(BINS, np.int64)
    counts[10], counts[201] = 700, 300
    assert method(counts) == pytest.approx((11 + 201) / 2 / BINS)


def test_otsu_agrees_with_the_definition():
    counts = two_bumps(0.2, 0.45)
    centres = (np.arange(BINS) + 0.5) / BINS
    within = []
    for edge in range(1, BINS):
        groups = [(counts[:edge], centres[:edge]), (counts[edge:], centres[edge:])]
        within.append(
            sum((c * (x - np.average(x, weights=c + 1e-9)) ** 2).sum() for c, x in groups)
        )
    assert otsu(counts) == pytest.approx((np.argmin(within) + 1) / BINS)


def test_li_solves_its_fixed_point():
    """At the optimum t = (high - low) / (log high - log low) (Li and Tam, 1998)."""
    scores = np.random.default_rng(0).beta(1, 3, 100_000)
    cut = li(np.histogram(scores, bins=BINS, range=(0, 1))[0])
    low, high = scores[scores < cut].mean(), scores[scores >= cut].mean()
    assert cut == pytest.approx((high - low) / np.log(high / low), abs=2 / BINS)
    assert cut < otsu(np.histogram(scores, bins=BINS, range=(0, 1))[0])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("place", [0, 7, BINS - 1])
def test_nothing_to_part_is_refused(method, place):
    counts = np.zeros(BINS, np.int64)
    counts[place] = 5
    with pytest.raises(ValueError, match=r"labels\.background fixed"):
        method(counts)


def test_score_is_that_of_the_strongest_class():
    one = np.array([[0, 4], [0, 0]])
    other = np.array([[0, 0], [1, 0.5]])
    scores = strongest(cam(one, other))
    np.testing.assert_allclose(scores, [[0, 1], [1, 0.5]], atol=1e-4)


def test_only_activations_count():
    assert score_histogram(cam(np.array([[0, 0, 1], [0, 0, 4]]))).sum() == 2


def test_photos_without_activation_or_class_count_nothing():
    empty = Cam(np.zeros(0, np.int64), np.zeros((0, 2, 3), np.float32), (8, 12))
    assert strongest(empty).shape == (2, 3)
    assert score_histogram(empty).sum() == 0
    assert score_histogram(cam(np.zeros((2, 3)))).sum() == 0


def test_histogram_of_files_is_the_sum(tmp_path):
    rng = np.random.default_rng(3)
    cams = [cam(rng.uniform(0.1, 2, (5, 7))) for _ in range(3)]
    for place, one in enumerate(cams):
        write_cam(tmp_path / f"{place}.npz", one)
    counts = read_histogram(sorted(tmp_path.glob("*.npz")))
    assert counts.sum() == 3 * 35
    assert otsu(counts) == pytest.approx(otsu(sum(score_histogram(one) for one in cams)), abs=0.03)


def test_shares_sum_to_one():
    assert sum(shares(two_bumps(0.2, 0.6))) == pytest.approx(1, abs=1e-4)
    assert shares(np.zeros(BINS, np.int64)) == [0] * 16
