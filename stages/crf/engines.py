"""The engines that can run the dense CRF, and which of them this machine has.

An engine is built from a photo, which makes its lattices, and infers label probabilities from
energies as often as it is asked.
"""

import importlib.util
from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from stages.crf.parameters import Backend, Normalization, Numbers


class Engine(Protocol):
    """The lattices of one photo."""

    def infer(
        self, energies: Float32[np.ndarray, "g k n"], numbers: Numbers, *, margin: float | None
    ) -> Float32[np.ndarray, "g k n"]:
        """Label probabilities of g labellings; of `numbers`, weights and iterations count.

        margin: None: exact.
        """
        ...


Make = Callable[[UInt8[np.ndarray, "h w 3"], Numbers, Normalization], Engine]
"""From photo, widths and normalisation."""


def available(backend: Backend) -> tuple[Backend, str | None]:
    """The backend to use for the one asked for, and what to say where it is another.

    Raises ValueError for pydensecrf where it is not installed: it would be chosen for itself.
    """
    if backend == "pydensecrf" and importlib.util.find_spec("pydensecrf") is None:
        raise ValueError(
            "the CRF backend pydensecrf is not installed: pip install -e '.[pydensecrf]' "
            "(needs a C++ compiler), or --labels.crf.backend numba, which gives its results"
        )
    if backend != "numba" or _has_numba():
        return backend, None
    other: Backend = "torch" if _has_cuda() else "reference"
    said = f"numba cannot be imported: the dense CRF runs on {other}, slower (pip install numba)"
    return other, said


def maker(backend: Backend) -> Make:
    """How engines of a backend are made."""
    return MAKERS[backend]()


def _has_numba() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:  # absent, or too old for this NumPy
        return False
    return True


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _numba() -> Make:
    from stages.crf.compiled.engine import make

    return make


def _torch() -> Make:
    from stages.crf.batch import make

    return make


def _reference() -> Make:
    from stages.crf.reference.engine import make

    return make


def _pydensecrf() -> Make:
    from stages.crf.oracle import make

    return make


MAKERS: dict[Backend, Callable[[], Make]] = {
    "numba": _numba,
    "torch": _torch,
    "reference": _reference,
    "pydensecrf": _pydensecrf,
}
