"""Working memory that is kept from photo to photo.

A photo takes about 30 MB for some milliseconds. Asking the system for it each time costs a page
fault for each 4 KiB of it, as long as a tenth of the whole inference.
"""

import math

import numpy as np
from numpy.typing import DTypeLike

ALIGNED = 64
"""Bytes of a cache line."""
KEPT = 1 << 29
"""Bytes that are not kept: a huge photo's memory goes back to the system."""


class Arena:
    """Arrays cut from one block of memory, all given back at once. One thread uses it at a time."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = [np.empty(0, np.uint8)]
        self._used = 0

    def empty(self, shape: tuple[int, ...] | int, kind: DTypeLike) -> np.ndarray:
        """An array of whatever was in the memory before, until `reset`."""
        sizes = (shape,) if isinstance(shape, int) else shape
        length = math.prod(sizes) * np.dtype(kind).itemsize
        start = self._aligned(self._used)
        if start + length > len(self._blocks[-1]):
            self._blocks.append(np.empty(max(length, 1 << 20) + ALIGNED, np.uint8))
            start = self._aligned(0)
        self._used = start + length
        return self._blocks[-1][start : start + length].view(kind).reshape(sizes)

    def reset(self) -> None:
        """Take all arrays back; they must not be used after it. What was needed is kept whole."""
        if len(self._blocks) > 1:
            length = sum(len(block) + ALIGNED for block in self._blocks)
            self._blocks = [np.empty(length if length < KEPT else 0, np.uint8)]
        self._used = 0

    def _aligned(self, place: int) -> int:
        """The first place from `place` on in the last block that begins a cache line."""
        return place + -(self._blocks[-1].ctypes.data + place) % ALIGNED
