"""Equality with pydensecrf: stored answers everywhere, the library itself where it is installed."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from stages.crf.refine import refine
from tests.stages.crf.cases import GOLDEN, STORED, Case, pydensecrf_answer

LIVE = [
    *(Case(setting, labels, (60, 83)) for setting in "ABC" for labels in (2, 3, 4, 5, 21)),
    *(
        Case(setting, labels, (31, 45), normalization)
        for setting in ("A", "weak")
        for labels in (2, 3)
        for normalization in ("symmetric", "before", "after", "none")
    ),
    *(Case("B", 3, size) for size in ((1, 1), (1, 97), (97, 1), (2, 3), (33, 1), (240, 320))),
]


def differences(case: Case, answer: np.ndarray) -> tuple[int, float]:
    """Pixels of another label, and the greatest difference in Q."""
    q = refine(case.photo(), case.probabilities(), case.parameters)
    return int((q.argmax(axis=0) != answer.argmax(axis=0)).sum()), float(np.abs(q - answer).max())


@pytest.mark.parametrize("case", STORED, ids=lambda case: case.name)
def test_equals_stored_answer(case: Case) -> None:
    labels, largest = differences(case, load_file(GOLDEN)[case.name])
    assert labels == 0
    assert largest < 1e-3


@pytest.mark.parametrize("case", LIVE, ids=lambda case: case.name)
def test_equals_pydensecrf(case: Case) -> None:
    pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    labels, largest = differences(case, pydensecrf_answer(case))
    assert labels == 0
    # Where the pixels are no multiple of 4, pydensecrf adds lattice points at the origin.
    height, width = case.size
    assert largest < (3e-3 if height * width % 4 else 1e-3)
