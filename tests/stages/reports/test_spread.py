"""Figures over seeds, and when a difference is called one."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reports.spread import BEATS, BELOW, FEW, WITHIN, paired, ratio, spread

scores = st.floats(0.001, 1, allow_nan=False)


def test_a_known_spread() -> None:
    found = spread({0: 0.2, 1: 0.4, 5: None})
    assert found is not None
    assert found["mean"] == pytest.approx(0.3)
    assert found["spread"] == pytest.approx(statistics.stdev([0.2, 0.4]))
    assert (found["n"], found["values"]) == (2, {"0": 0.2, "1": 0.4})


def test_one_seed_has_no_spread_and_no_seed_has_nothing() -> None:
    one = spread({3: 0.5})
    assert one is not None
    assert (one["mean"], one["spread"], one["n"]) == (0.5, None, 1)
    assert spread({3: None}) is None
    assert spread({}) is None


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.01, 0.02, 0.03), BEATS),
        ((-0.01, -0.02, -0.03), BELOW),
        ((0.05, 0.05, -0.001), WITHIN),
        ((0.001, 0.001, 0.1), WITHIN),  # each seed is better, but by less than they spread
        ((0.0, 0.01, 0.02), WITHIN),
        ((0.0, 0.0, 0.0), WITHIN),
        ((0.25, 0.25, 0.25), BEATS),
        ((0.25, 0.25), FEW),
    ],
)
def test_verdicts(gains: tuple[float, ...], verdict: str) -> None:
    base = dict.fromkeys(range(len(gains)), 0.5)
    found = paired({seed: 0.5 + gain for seed, gain in enumerate(gains)}, base)
    assert found is not None
    assert found["verdict"] == verdict


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=6))
def test_differences_are_paired_by_seed(pairs: list[tuple[float, float]]) -> None:
    own = {seed: pair[0] for seed, pair in enumerate(pairs)}
    other = {seed: pair[1] for seed, pair in reversed(list(enumerate(pairs)))}
    found = paired(own, other)
    assert found is not None
    assert found["mean"] == pytest.approx(statistics.fmean(a - b for a, b in pairs), abs=1e-12)
    swapped = paired(other, own)
    assert swapped is not None
    assert swapped["mean"] == pytest.approx(-found["mean"], abs=1e-12)
    assert {found["verdict"], swapped["verdict"]} in ({BEATS, BELOW}, {WITHIN}, {FEW})


def test_seeds_that_only_one_side_has_are_left_out() -> None:
    found = ratio({0: 0.3, 1: 0.4, 2: 0.1}, {1: 0.8, 2: 0.0, 3: 0.5})
    assert found is not None
    assert found["values"] == {"1": 0.5}
    assert paired({0: 0.3}, {1: 0.3}) is None
