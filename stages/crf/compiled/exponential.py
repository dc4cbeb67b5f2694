"""The exponential function, in a loop that LLVM vectorises."""

import numpy as np

from stages.crf.compiled.jit import inlined


@inlined
def exponentiate(values, count):  # type: ignore[no-untyped-def]
    """Replace values of at most 0 by their exponentials, to 2 units in the last place (Cephes).

    Below e^-30 it is 0: that changes no sum in float32, and denormal numbers would be slow.
    """
    for i in range(count):
        x = max(values[i], np.float32(-80))
        power = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
        r = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
        y = y * r + np.float32(8.3334519073e-3)
        y = y * r + np.float32(4.1665795894e-2)
        y = y * r + np.float32(1.6666665459e-1)
        y = y * r + np.float32(5.0000001201e-1)
        y = y * r * r + r + np.float32(1)
        exponent = np.int32((np.int32(power) + np.int32(127)) << np.int32(23))
        values[i] = np.float32(0) if x < np.float32(-30) else y * exponent.view(np.float32)
