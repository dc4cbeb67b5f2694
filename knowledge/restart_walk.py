"""Random walk with restart on a sparse graph: how often a walker from one place sees another.

After Fang et al., "Object Detection Meets Knowledge Graphs" (IJCAI 2017), section 3.2; the
parameters are those of GRM_layer:knowledge_graph_prep.py.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array, diags_array

RESTART, TOLERANCE, ITERATIONS = 0.15, 1e-9, 1000
AT_ONCE = 8
"""Walks that run together: n x 8 numbers are in memory, however many walks there are."""


def transitions(weights: csr_array) -> csr_array:
    """P (n, n): the share of each edge in the weight that leaves its start.

    A row without edges stays empty: what arrives there ends there, as the formula says.
    """
    totals = np.asarray(weights.sum(axis=1)).ravel()
    shares = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    return csr_array(diags_array(shares) @ weights)


def restart_walk(
    backwards: csr_array,
    starts: Float64[np.ndarray, "n k"],
    *,
    restart: float = RESTART,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
) -> Float64[np.ndarray, "n k"]:
    """r = (1 - c) P^T r + c e for every column e of `starts`; `backwards` is P^T, c = `restart`.

    Ends where no column's summed change reaches `tolerance`, or after `iterations` rounds.
    """
    found = starts
    for _ in range(iterations):
        fresh = (1.0 - restart) * (backwards @ found) + restart * starts
        change = np.abs(fresh - found).sum(axis=0).max(initial=0.0)
        found = fresh
        if change < tolerance:
            break
    return found


def walk_similarity(
    weights: csr_array,
    groups: Sequence[Int64[np.ndarray, " _"]],
    *,
    restart: float = RESTART,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
) -> Float64[np.ndarray, "k k"]:
    """S_ij = sqrt(R_ij R_ji), R_ij the share of group j in the walk that starts from group i.

    A group is the rows of the concepts that mean one class; its walk starts from all of them alike.
    An empty group is similar to nothing, itself neither.
    """
    backwards = csr_array(transitions(weights).T)
    reached = np.zeros((len(groups), len(groups)))
    for first in range(0, len(groups), AT_ONCE):
        some = groups[first : first + AT_ONCE]
        starts = np.zeros((weights.shape[0], len(some)))
        for column, group in enumerate(some):
            starts[group, column] = 1.0 / max(1, len(group))
        walked = restart_walk(
            backwards, starts, restart=restart, tolerance=tolerance, iterations=iterations
        )
        for place, group in enumerate(groups):
            reached[first : first + len(some), place] = walked[group].sum(axis=0)
    return np.sqrt(reached * reached.T)
