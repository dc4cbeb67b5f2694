"""How fast a network is, and what memory it takes to be."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn

from stages.nets.cost import peak_memory


class Throughput(NamedTuple):
    """Speed of forward passes without gradients, up to the logits."""

    images_per_second: float
    """From the median pass."""
    peak_memory_bytes: int
    """Of the GPU during the passes; on a CPU of the whole process since it began: measure every
    network in a process of its own there, and subtract what an idle one takes."""
    batch: int
    """Photos a pass."""
    size: tuple[int, int]
    """(height, width) of the photos, in pixels."""


@torch.inference_mode()
def throughput(
    network: nn.Module,
    size: tuple[int, int],
    *,
    batch: int = 1,
    warmup: int = 1,
    repeats: int = 5,
) -> Throughput:
    """Time `network` on `batch` photos of `size` (height, width), on the device it lies on.

    The first `warmup` passes do not count: they set up kernels and memory.
    """
    device = next(network.parameters()).device
    images = torch.zeros(batch, 3, *size, device=device, dtype=torch.uint8)
    training = network.training
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        network.eval()
        seconds = [_pass(network, images) for _ in range(warmup + repeats)][warmup:]
    finally:
        network.train(training)
    rate = batch / statistics.median(seconds)
    return Throughput(rate, peak_memory(device), batch, size)


def _pass(network: nn.Module, images: torch.Tensor) -> float:
    """Seconds of one forward pass; a GPU works on after the call returns, so it is waited for."""
    _wait(images.device)
    begun = time.perf_counter()
    network(images)
    _wait(images.device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
