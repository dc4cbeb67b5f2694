"""A backbone for looking only: batch norms folded into the convolutions before them."""

from copy import deepcopy

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from stages.nets.backbone import Backbone

PLAIN = (nn.Conv2d, Conv2dSame)
"""Convolutions whose weights are used as they are."""
SAME = 1e-3
"""Largest difference between the maps of both, as a share of the largest value of a map."""


@torch.no_grad()
def folded(backbone: Backbone) -> Backbone:
    """A copy of `backbone` in eval mode that gives the same maps with a pass less over each.

    A norm in eval mode is a factor and an offset a channel: those of the convolution whose output
    it takes. Which that is shows in one pass over a small photo. Where the copy's maps of that
    photo differ (a network that also reads what is before a norm) it is left as it was.
    """
    copy = deepcopy(backbone).eval().requires_grad_(False)
    device = copy.mean.device
    side = 2 * max(copy.strides)
    probe = (
        torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device) * 255
    )
    with torch.autocast(device.type, enabled=False):
        before = copy(probe)
        pairs = _pairs(copy, probe)
        if not pairs:
            return copy
        places = {module: name for name, module in copy.named_modules()}
        for convolution, norm in pairs:
            _fold(convolution, norm)
            parent, _, name = places[norm].rpartition(".")
            rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
            setattr(copy.get_submodule(parent), name, nn.Sequential(*rest))
        copy.to(memory_format=torch.channels_last)
        after = copy(probe)
    gaps = [
        float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
        for a, b in zip(before, after, strict=True)
    ]
    return copy if max(gaps) <= SAME else deepcopy(backbone).eval().requires_grad_(False)


def _pairs(network: nn.Module, probe: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Every norm that takes the output of a convolution, with that convolution."""
    made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(module: nn.Conv2d, given: object, output: torch.Tensor) -> None:
        del given
        made[id(output)] = module, output  # kept, so that no other tensor gets its number

    def before(module: nn.BatchNorm2d, given: tuple[torch.Tensor, ...]) -> None:
        if id(given[0]) in made:
            found.append((made[id(given[0])][0], module))

    hooks = [
        module.register_forward_hook(after) for module in network.modules() if type(module) in PLAIN
    ]
    hooks += [
        module.register_forward_pre_hook(before)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network(probe)
    for hook in hooks:
        hook.remove()
    return found


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None  # batch norms of timm keep statistics
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)
