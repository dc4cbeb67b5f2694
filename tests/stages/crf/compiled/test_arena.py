"""Memory that is kept, but never lent twice at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.crf.compiled.arena import Arena

SHAPES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 9)), max_size=8)


@given(rounds=st.lists(SHAPES, max_size=4))
def test_arrays_of_a_round_do_not_overlap(rounds):
    arena = Arena()
    for shapes in rounds:
        arena.reset()
        arrays = [arena.empty(shape, np.int32) for shape in shapes]
        for place, array in enumerate(arrays):
            array[:] = place
        for place, array in enumerate(arrays):
            assert (array == place).all()
            assert array.ctypes.data % 64 == 0 or array.size == 0


def test_the_second_round_asks_for_no_memory():
    arena = Arena()
    for _ in range(3):
        arena.reset()
        first = arena.empty((1000, 1000), np.float32)
        second = arena.empty(3_000_000, np.uint8)
    places = first.ctypes.data, second.ctypes.data
    arena.reset()
    assert arena.empty((1000, 1000), np.float32).ctypes.data == places[0]
    assert arena.empty(3_000_000, np.uint8).ctypes.data == places[1]
