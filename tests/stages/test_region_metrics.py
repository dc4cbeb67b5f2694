"""Metrics of regions: the golden case to four digits, their bounds, and what is left out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.region_metrics import (
    RegionMetrics,
    entropy,
    hardened,
    instance_groups,
    overlap,
    semantics,
)

LABEL = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]], np.uint8)
EVERY = (0, 1)
"""In the golden case components of class 0 count as instances too."""


def ideal() -> np.ndarray:
    p = np.zeros((4, 4, 4), np.float32)
    p[0, :2, 0] = p[1, :2, 1] = p[2, :, 3] = 1
    p[3] = LABEL == 0
    return p


def uniform() -> np.ndarray:
    return np.full((4, 4, 4), 0.25, np.float32)


GOLDEN = {
    "ideal": (ideal, {"S_C": 0.0, "S_I": 0.0, "D_C": 0.5623, "D_I": 1.0397}, 0.0),
    "uniform": (uniform, {"S_C": 0.6931, "S_I": 1.0397, "D_C": 0.6931, "D_I": 1.0397}, 1.0),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(case: str) -> None:
    made, expected, shared = GOLDEN[case]
    found = RegionMetrics(EVERY).add(made(), LABEL)
    for name, value in expected.items():
        assert found[f"soft/{name}"] == pytest.approx(value, abs=5e-5), name
    assert found["overlap"] == pytest.approx(shared, abs=1e-6)
    assert found["soft/skipped_C"] == found["soft/skipped_I"] == 0


def test_normalised_forms_and_hard_regions() -> None:
    found = RegionMetrics(EVERY).add(ideal(), LABEL)
    assert found["soft/S_C_normalised"] == found["soft/S_I_normalised"] == 1
    assert found["soft/D_C_normalised"] == pytest.approx(0.5623 / math.log(2), abs=1e-4)
    assert found["soft/D_I_normalised"] == pytest.approx(1.0397 / math.log(3), abs=1e-4)
    for name in ("S_C", "S_I", "D_C", "D_I", "skipped_C"):
        assert found[f"hard/{name}"] == found[f"soft/{name}"], name
    found = RegionMetrics(EVERY).add(uniform(), LABEL)  # hard: all cells to the first token
    assert found["hard/S_C"] == pytest.approx(math.log(2))
    assert found["hard/skipped_C"] == 0.75
    assert found["soft/S_C_normalised"] == pytest.approx(0, abs=1e-9)


def test_with_equal_masses_the_difference_is_the_mutual_information() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (8, 8))
    p = rng.random((4, 64)).astype(np.float64)
    p = (p / p.sum(axis=1, keepdims=True) * 16).reshape(4, 8, 8)
    found = semantics(p, label)
    joint = np.stack([p[:, label == c].sum(axis=1) for c in range(3)], axis=1) / 64
    outer = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    assert found["D"] - found["S"] == pytest.approx(float((joint * np.log(joint / outer)).sum()))


@given(
    label=arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 255])),
    scores=arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=32)),
)
def test_bounds(label: np.ndarray, scores: np.ndarray) -> None:
    found = RegionMetrics((1, 2)).add(scores, label)
    assert -1e-9 <= found["overlap"] <= 1 + 1e-9
    for kind in ("soft", "hard"):
        for letter in "CI":
            s, d = found[f"{kind}/S_{letter}"], found[f"{kind}/D_{letter}"]
            if not math.isnan(s):
                assert 0 <= s <= d + 1e-9, "the entropy of a mean is no less than the mean entropy"
                assert 0 <= found[f"{kind}/skipped_{letter}"] < 1
                shares = [found[f"{kind}/{x}_{letter}_normalised"] for x in "SD"]
                assert all(math.isnan(x) or -1e-9 <= x <= 1 + 1e-9 for x in shares)


def test_ignored_cells_and_light_tokens_do_not_count() -> None:
    label = LABEL.copy()
    label[0] = 255
    p = ideal()
    changed = p.copy()
    changed[:, 0] = 0.25
    first, second = (RegionMetrics(EVERY).add(given, label) for given in (p, changed))
    assert first == second
    p[0] *= 0.4  # 1 valid cell of t0 is left: a mass of 0.4
    found = RegionMetrics(EVERY).add(p, label)
    assert found["soft/skipped_C"] == 0.25


def test_only_countable_classes_have_instances() -> None:
    groups = instance_groups(LABEL, (1,))
    assert (groups[LABEL == 0] == -1).all()
    assert np.unique(groups).tolist() == [-1, 0, 1]
    found = RegionMetrics((1,)).add(ideal(), LABEL)
    assert found["soft/skipped_I"] == 0.25, "t3 holds the background alone"
    assert found["soft/D_I"] == pytest.approx(entropy(np.array([[2 / 3, 1 / 3]]))[0])
    label = np.zeros((4, 4), np.uint8)
    found = RegionMetrics((1,)).add(ideal(), label)
    assert math.isnan(found["soft/S_I"])
    assert found["soft/S_C"] == 0
    assert math.isnan(found["soft/S_C_normalised"]), "one class alone has no entropy to share"


def test_means_are_over_the_photos_where_a_figure_is_defined() -> None:
    metrics = RegionMetrics((1,))
    metrics.add(ideal(), np.zeros((4, 4), np.uint8))
    single = metrics.add(uniform(), LABEL)
    figures = metrics.figures()
    assert figures["photos"] == 2
    assert figures["overlap"] == pytest.approx(0.5)
    soft = figures["soft"]
    assert isinstance(soft, dict)
    assert soft["S_I"] == single["soft/S_I"]
    assert soft["S_C"] == pytest.approx(single["soft/S_C"] / 2)
    empty = RegionMetrics((1,)).figures()
    assert (empty["photos"], empty["overlap"]) == (0, None)


def test_one_token_and_all_ignored() -> None:
    found = RegionMetrics((1,)).add(uniform()[:1], LABEL)
    assert found["overlap"] == 0
    metrics = RegionMetrics((1,))
    found = metrics.add(uniform(), np.full((4, 4), 255, np.uint8))
    assert all(math.isnan(value) for name, value in found.items() if name != "overlap")
    soft = metrics.figures()["soft"]
    assert isinstance(soft, dict)
    assert set(soft.values()) == {None}


def test_overlap_and_hard_regions() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((3, 4, 4))
    assert overlap(hardened(p), np.ones((4, 4), bool)) == 0
    assert (hardened(p).sum(axis=0) == 1).all()
    assert overlap(np.stack([p[0], 2 * p[0]]), np.ones((4, 4), bool)) == pytest.approx(1)
