import time

import pytest
import torch
from torch import Tensor, nn

from stages.nets.throughput import throughput


class Sleeper(nn.Module):
    """A network whose speed is known: a pass takes `seconds`, the first one ten times as long."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        self.seconds = seconds
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        time.sleep(self.seconds * (1 if self.seen else 10))
        self.seen.append(tuple(images.shape))
        return self.layer(images.float())


def test_speed_is_that_of_a_pass_after_the_first() -> None:
    network = Sleeper(0.02).train()
    found = throughput(network, (8, 6), batch=2, repeats=3)
    assert 2 / 0.08 < found.images_per_second <= 2 / 0.02
    assert network.seen == [(2, 3, 8, 6)] * 4
    assert network.training
    assert (found.batch, found.size) == (2, (8, 6))
    assert found.peak_memory_bytes > 20 << 20


def test_a_network_that_fails_is_left_in_its_mode() -> None:
    class Broken(Sleeper):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    network = Broken(0.0).train()
    with pytest.raises(RuntimeError, match="broken"):
        throughput(network, (8, 6))
    assert network.training
    assert torch.is_grad_enabled()
