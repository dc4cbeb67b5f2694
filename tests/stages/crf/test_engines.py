"""All engines give the same labels, on any photo; numba's absence is said and survived."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.crf.parameters import CrfParameters
from stages.crf.refine import Item, refine, refine_many
from tests.stages.crf.cases import Case

ROOT = Path(__file__).resolve().parents[3]
OTHERS = ("reference", "torch")
KINDS = ("photo", "constant", "noise")


def photo_of(kind: str, size: tuple[int, int]) -> np.ndarray:
    if kind == "photo":
        return Case("A", 3, size).photo()
    if kind == "constant":
        return np.full((*size, 3), 77, np.uint8)
    return np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    labels=st.integers(2, 4),
    widths=st.sampled_from([(3, 80, 13), (3, 50, 5), (1, 1, 2), (1, 67, 3)]),
    normalization=st.sampled_from(["symmetric", "before", "after"]),
)
def test_engines_agree(kind, size, labels, widths, normalization):
    photo, scores = photo_of(kind, size), Case("A", labels, size).probabilities()
    names = ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb")
    parameters = CrfParameters(normalization=normalization, **dict(zip(names, widths, strict=True)))
    q = refine(photo, scores, parameters)
    for backend in OTHERS:
        other = refine(photo, scores, parameters.model_copy(update={"backend": backend}))
        np.testing.assert_allclose(q, other, atol=2e-4)
        assert close_calls(q) >= (q.argmax(axis=0) != other.argmax(axis=0)).sum()


def close_calls(q: np.ndarray) -> int:
    """Pixels whose two first labels are as good as equal."""
    ordered = np.sort(q, axis=0)
    return int((ordered[-1] - ordered[-2] < 1e-4).sum())


@pytest.mark.parametrize("labels", [2, 3, 5, 9, 17, 81])
def test_any_number_of_labels(labels):
    case = Case("B", labels, (23, 30))
    q = refine(case.photo(), case.probabilities(), case.parameters)
    reference = case.parameters.model_copy(update={"backend": "reference"})
    other = refine(case.photo(), case.probabilities(), reference)
    np.testing.assert_allclose(q, other, atol=2e-4)


def test_noise_outgrows_the_first_hash_table():
    photo = photo_of("noise", (150, 200))
    scores = Case("B", 3, (150, 200)).probabilities()
    q = refine(photo, scores, CrfParameters())
    other = refine(photo, scores, CrfParameters(backend="reference"))
    np.testing.assert_allclose(q, other, atol=2e-4)


def test_a_batch_of_torch_equals_photo_by_photo():
    """Of different sizes, numbers of labels, scales and groups."""
    cases = [Case("B", 3, (20, 31)), Case("B", 5, (1, 17)), Case("B", 2, (31, 20))]
    items = [
        Item(case.photo(), case.probabilities(), scale, str(place))
        for place, (case, scale) in enumerate(zip(cases, (1.0, 0.5, 2.0), strict=True))
    ]
    groups = np.stack([items[0].probabilities, items[0].probabilities ** 2])
    items.append(items[0]._replace(probabilities=groups))
    found = list(refine_many(iter(items), CrfParameters(backend="torch"), device="cpu"))
    assert [item.name for item, _ in found] == [item.name for item in items]
    for item, q in found:
        alone = refine(item.image, item.probabilities, CrfParameters(), scale=item.scale)
        np.testing.assert_allclose(q, alone, atol=2e-4)
        assert (q.argmax(axis=-3) == alone.argmax(axis=-3)).all()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_stream_names_the_photo_that_fails(backend):
    case = Case("B", 2, (9, 9))
    items = [Item(case.photo(), case.probabilities(), 1.0, "good")]
    items.append(items[0]._replace(probabilities=-items[0].probabilities, name="bad one"))
    with pytest.raises(ValueError, match=r"bad one: .*negative"):
        list(refine_many(items, CrfParameters(backend=backend), workers=2, device="cpu"))


PLAIN = """
from safetensors.numpy import load_file
from stages.crf.refine import refine
from tests.stages.crf.cases import GOLDEN, Case
stored = load_file(GOLDEN)
for case in (Case("A", 3, (12, 15)), Case("B", 5, (9, 12))):
    q = refine(case.photo(), case.probabilities(), case.parameters)
    answer = stored[case.name]
    print((q.argmax(axis=0) == answer.argmax(axis=0)).all(), abs(q - answer).max() < 1e-3)
"""


def test_a_processor_without_wide_vectors_gives_the_same():
    """No AVX-512, no AVX, no fused multiplication: LLVM splits the vectors."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CPU_NAME": "generic"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 4


WITHOUT = """
import sys, warnings
sys.modules["numba"] = None
import numpy as np
from stages.crf.parameters import CrfParameters
from stages.crf.refine import refine
from tests.stages.crf.cases import Case
case = Case("B", 3, (20, 30))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("default")
    q = refine(case.photo(), case.probabilities(), case.parameters)
    q = refine(case.photo(), case.probabilities(), case.parameters)
(line,) = said
print(line.message, float(q.sum()))
"""


def test_without_numba_numpy_takes_over_and_says_so():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "numba cannot be imported" in done.stdout
    assert done.stdout.count("\n") == 1
    assert float(done.stdout.split()[-1]) == pytest.approx(600, abs=0.01)
