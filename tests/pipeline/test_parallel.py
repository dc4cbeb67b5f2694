"""Maps over items: streamed, bounded, and honest about which item failed."""

import os
import time
from collections.abc import Iterator

import pytest

from pipeline.parallel import map_unordered


def square(n: int) -> int:
    return n * n


def process_of(n: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def slow(n: int) -> int:
    time.sleep(0.02)
    return n


def picky(n: int) -> int:
    if n == 3:
        raise ValueError("it is no photo")
    if n == 4:
        raise OSError("cannot be read")
    if n == 5:
        raise KeyError("bug")
    return n


def label(n: int) -> str:
    return f"photo 2007_{n}"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_comes_once(workers: int) -> None:
    results = map_unordered(square, range(20), workers=workers)
    assert sorted(results) == [n * n for n in range(20)]


def test_one_worker_works_here_and_in_order() -> None:
    assert set(map_unordered(process_of, range(3))) == {os.getpid()}
    assert list(map_unordered(square, range(5))) == [0, 1, 4, 9, 16]


def test_several_workers_work_elsewhere() -> None:
    assert os.getpid() not in set(map_unordered(process_of, range(8), workers=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_results_are_used(workers: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    results = map_unordered(slow, items(), workers=workers)
    next(results)
    assert len(taken) <= 20
    assert len(list(results)) == 49


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [(3, ValueError, "photo 2007_3: it is no photo"), (4, OSError, "photo 2007_4: cannot be read")],
)
def test_a_failing_item_is_named(workers: int, item: int, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        list(map_unordered(picky, [item], workers=workers, name=label))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_keeps_its_kind_and_is_told_its_item(workers: int) -> None:
    with pytest.raises(KeyError) as caught:
        list(map_unordered(picky, [5], workers=workers, name=label))
    assert caught.value.__notes__ == ["while working on photo 2007_5"]
