"""Several forward passes side by side on a CPU: one thread each, instead of many threads in one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from data.loader import ahead

MOST = 4
"""Passes at a time: each holds its own maps, and more cores than this share a pass well."""

Given = TypeVar("Given")
Made = TypeVar("Made")


@contextmanager
def one_thread() -> Iterator[None]:
    """Work too small to share: a matrix product of microseconds is not worth waking a core for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_streams(
    work: Callable[[Given], Made], items: Iterable[Given], *, device: torch.device, streams: int
) -> Iterator[Made]:
    """`work(item)` for every item, in order; on a CPU `streams` of them at a time.

    A network of small layers spends much of its time waiting at the end of each layer for the other
    threads, and all of it where another program holds one of the cores; passes that share nothing
    never wait. A GPU takes one pass after another from one thread.
    """
    if device.type != "cpu" or streams < 2:
        yield from map(work, items)
        return

    def alone(item: Given) -> Made:
        torch.set_num_threads(max(1, before // streams))  # of this thread; others keep theirs
        return work(item)

    before, streams = torch.get_num_threads(), min(streams, MOST)
    try:
        yield from ahead(alone, items, threads=streams, depth=streams)
    finally:
        torch.set_num_threads(before)
