"""Average precision of tag scores: per class over photos, never per photo over classes."""

import numpy as np
from jaxtyping import Bool, Float, Float64


def average_precision(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> float | None:
    """Mean of the precision at the rank of every photo that has the class.

    scores: any real numbers, larger = more likely. Photos of one score share one rank, so that
    their order does not matter. None where no photo has the class. (Area under the step curve, as
    scikit-learn's average_precision_score; VOC 2010 and later use the interpolated curve.)
    """
    positives = int(truth.sum())
    if positives == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order], dtype=np.int64)
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[ends] / (ends + 1)
    gained = np.diff(hits[ends], prepend=0)
    return float((precision * gained).sum() / positives)


def per_class(
    scores: Float[np.ndarray, "n c"], truth: Bool[np.ndarray, "n c"]
) -> list[float | None]:
    """`average_precision` of each of C classes."""
    return [average_precision(scores[:, c], truth[:, c]) for c in range(scores.shape[1])]


def mean_over_classes(values: list[float | None]) -> float | None:
    """mAP: the mean over the classes that occur; None where none does."""
    known: Float64[np.ndarray, " k"] = np.array([v for v in values if v is not None], dtype=float)
    return float(known.mean()) if len(known) else None
