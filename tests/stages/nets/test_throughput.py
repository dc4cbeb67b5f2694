"""Speed is that of the median pass after the first, by whatever clock the machine has."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from stages.nets import throughput as measuring
from stages.nets.throughput import throughput


class Counted(nn.Module):
    """A network that counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        self.seen.append(tuple(images.shape))
        return self.layer(images.float())


def test_speed_is_that_of_the_median_pass_after_the_first(monkeypatch) -> None:
    """On a clock of the test's own: a busy machine has no say."""
    seconds = [9.0, 0.5, 0.25, 3.0]  # the first sets up, the last one was held up
    ticks = itertools.accumulate(part for one in seconds for part in (one, 1.0))
    clock = iter([0.0, *ticks])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    network = Counted().train()
    found = throughput(network, (8, 6), batch=2, repeats=3)
    assert found.images_per_second == 2 / 0.5
    assert network.seen == [(2, 3, 8, 6)] * 4
    assert network.training
    assert (found.batch, found.size) == (2, (8, 6))
    assert found.peak_memory_bytes > 20 << 20


def test_a_network_that_fails_is_left_in_its_mode() -> None:
    class Broken(Counted):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    network = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        throughput(network, (8, 6))
    assert network.training
    assert torch.is_grad_enabled()
