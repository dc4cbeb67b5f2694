"""Passes side by side: the same results in the same order, and threads left as they were."""

import threading

import pytest
import torch

from stages.nets.streams import in_streams, one_thread

CPU = torch.device("cpu")


def test_results_come_in_order_and_equal_those_of_one_stream() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    items = [torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(i)) for i in range(7)]

    def work(item: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return net(item)

    one = list(in_streams(work, items, device=CPU, streams=1))
    two = list(in_streams(work, items, device=CPU, streams=2))
    assert all(torch.allclose(a, b) for a, b in zip(one, two, strict=True))


def test_streams_run_side_by_side_on_one_thread_each() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def work(item: int) -> tuple[int, int]:
        meeting.wait()  # passes only where two items are under way at once
        return item, torch.get_num_threads()

    found = list(in_streams(work, range(4), device=CPU, streams=2))
    assert found == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_the_callers_threads_are_left_alone() -> None:
    before = torch.get_num_threads()
    list(in_streams(abs, [-1, -2], device=CPU, streams=2))
    assert torch.get_num_threads() == before


def test_an_error_comes_where_its_item_would_have() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("photo 2 is broken")
        return item

    found = []
    with pytest.raises(ValueError, match="photo 2"):
        found.extend(in_streams(work, range(4), device=CPU, streams=2))


def test_one_thread_ends_with_its_block() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
