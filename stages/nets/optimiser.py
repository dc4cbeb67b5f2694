"""Optimisers by name, and the groups that their parameters fall into."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

OPTIMISERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def parameter_groups(
    parts: list[tuple[nn.Module, float]], weight_decay: float
) -> list[dict[str, Any]]:
    """Groups of all trainable parameters of `parts` (module, learning rate), each in exactly one.

    Weight decay goes to matrices and kernels only: on norms, biases and gates it would pull towards
    a scale that nobody chose.
    """
    groups = []
    for module, rate in parts:
        trained = [p for p in module.parameters() if p.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups
