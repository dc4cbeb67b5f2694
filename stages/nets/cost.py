"""What a network costs: parameters, multiply-adds by one counter for all heads, peak memory."""

import resource
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Cost of one forward pass of one photo."""

    params: int
    """Numbers that training changes or could change, frozen ones included; buffers are not."""
    multiply_adds: int
    """Multiplications of convolutions and matrix products, attention included."""
    size: tuple[int, int]
    """(height, width) of the photo that was counted, in pixels."""


def cost(network: nn.Module, size: tuple[int, int]) -> Cost:
    """Count `network` on one photo of `size` (height, width); the pass runs without gradients.

    PyTorch's own counter sees every operation below modules, hence attention and products over the
    class graph too; it gives two operations a multiply-add. Element-wise work and norms count 0.
    """
    first = next(network.parameters())
    images = torch.zeros(1, 3, *size, device=first.device, dtype=torch.uint8)
    training = network.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network.eval()(images)
    finally:
        network.train(training)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(params, counter.get_total_flops() // 2, size)


def peak_memory(device: torch.device) -> int:
    """Largest memory so far, in bytes: of the GPU where that is the device, else of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    # Linux hands ru_maxrss on to a started program: a small one would have its parent's peak.
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
