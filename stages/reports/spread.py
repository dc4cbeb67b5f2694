"""A figure over several seeds: its mean, how far it spreads, and whether a difference is one."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

LEAST_SEEDS = 3
"""Seeds below which no difference is called one."""

BEATS, BELOW, WITHIN, FEW = (
    "beats it",
    "does not beat it",
    "within the spread",
    "too few seeds",
)
RULE = (
    f"{BEATS}: better with every seed, and by more on average than the standard deviation of the "
    f"paired differences; {BELOW}: worse in that sense; {WITHIN}: neither; with fewer than "
    f"{LEAST_SEEDS} seeds nothing is said"
)


def spread(values: Mapping[int, float | None]) -> dict[str, Any] | None:
    """{"mean", "spread", "n", "values"} of seed -> value, or None where no seed has a value.

    "spread" is the standard deviation over seeds (n - 1 in the denominator), None for one seed.
    """
    known = {seed: value for seed, value in values.items() if value is not None}
    if not known:
        return None
    return {
        "mean": statistics.fmean(known.values()),
        "spread": statistics.stdev(known.values()) if len(known) > 1 else None,
        "n": len(known),
        "values": {str(seed): value for seed, value in known.items()},
    }


def paired(
    values: Mapping[int, float | None], reference: Mapping[int, float | None]
) -> dict[str, Any] | None:
    """The `spread` of value minus reference over the seeds that both have, with its "verdict"."""
    both = {seed: _minus(value, reference.get(seed)) for seed, value in values.items()}
    found = spread(both)
    return found and {**found, "verdict": verdict(found)}


def ratio(
    values: Mapping[int, float | None], reference: Mapping[int, float | None]
) -> dict[str, Any] | None:
    """The `spread` of value over reference, seed by seed; seeds without both are left out."""
    return spread({seed: _over(value, reference.get(seed)) for seed, value in values.items()})


def verdict(difference: Mapping[str, Any]) -> str:
    """What a paired difference says, by `RULE`."""
    if difference["n"] < LEAST_SEEDS:
        return FEW
    signs = {math.copysign(1, value) if value else 0 for value in difference["values"].values()}
    if len(signs) > 1 or signs == {0} or abs(difference["mean"]) <= difference["spread"]:
        return WITHIN
    return BEATS if signs == {1} else BELOW


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _over(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other
