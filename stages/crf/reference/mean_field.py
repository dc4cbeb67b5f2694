"""Mean-field inference in the fully connected CRF with a Potts model.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NeurIPS 2011, algorithm 1; all labels of all pixels are updated at once.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from stages.crf.parameters import Normalization
from stages.crf.reference.kernels import Kernel


def mean_field(
    unary: Float32[np.ndarray, "g k n"],
    kernels: Sequence[tuple[float, Kernel, Normalization]],
    *,
    iterations: int,
) -> Float32[np.ndarray, "g k n"]:
    """Label probabilities Q of n pixels for g unaries that share the kernels; they sum to 1 over k.

    unary: energies, -log of a probability up to a constant of the pixel, finite.
    kernels: Potts weight, kernel and where its row sums divide. No iteration: softmax of -unary.
    """
    q = softmax(-unary)
    for _ in range(iterations):
        logits = -unary
        for weight, kernel, normalization in kernels:
            # Potts: a label is charged for the others' mass, that is, credited for its own.
            message = kernel.message(q.reshape(-1, q.shape[2]), normalization)
            message *= np.float32(weight)
            logits += message.reshape(q.shape)
        q = softmax(logits)
    return q


def softmax(logits: Float32[np.ndarray, "g k n"]) -> Float32[np.ndarray, "g k n"]:
    """Softmax over k."""
    odds = logits - logits.max(axis=1, keepdims=True)
    np.exp(odds, out=odds)
    odds /= odds.sum(axis=1, keepdims=True)
    return odds
