"""timm's feature extractors as a backbone wants them: dilated, for any photo, several depths."""

from copy import deepcopy
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.layers import Format
from torch import Tensor, nn

DEPTHS = 4
"""Maps taken from a plain vision transformer: after each quarter of its blocks."""


def feature_net(name: str, output_stride: int, options: dict[str, Any]) -> nn.Module:
    """timm's feature extractor of `name`; dilated where the stride asks for it.

    A plain vision transformer, all of whose blocks have one stride, gives the maps after each
    quarter of its blocks through its last norm (as DINOv2 reads them): blocks of one transformer
    differ in scale by far, and a few channels of raw tokens drown the rest.

    Raises ValueError for nets that cannot be had at this stride.
    """
    options = {**options, **_any_size(name, options)}
    with torch.device("meta"):
        plain = timm.create_model(name, features_only=True, **options)
    reductions = plain.feature_info.reduction()
    if reductions[-1] <= output_stride:
        blocks = len(plain.feature_info.info)
        if len(reductions) == 1 or len(set(reductions)) > 1 or blocks < DEPTHS:
            return timm.create_model(name, features_only=True, **options)
        last = [(depth + 1) * blocks // DEPTHS - 1 for depth in range(DEPTHS)]
        return type(plain)(timm.create_model(name, **options), out_indices=last, norm=True)
    try:
        return timm.create_model(name, features_only=True, output_stride=output_stride, **options)
    except (TypeError, AssertionError, NotImplementedError, ValueError) as problem:
        raise ValueError(
            f"{name} cannot be dilated to output stride {output_stride} ({problem}); "
            f"set output_stride={reductions[-1]} or take another backbone"
        ) from problem


def _any_size(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What makes a transformer take photos of any size, where timm's has it; else nothing."""
    try:
        with torch.device("meta"):
            timm.create_model(name, features_only=True, dynamic_img_size=True, **options)
    except TypeError:
        return {}
    return {"dynamic_img_size": True}


def channels_first(
    net: nn.Module, maps: list[Float[Tensor, "b _ _ _"]]
) -> list[Float[Tensor, "b _c _h _w"]]:
    """The maps of `net` with channels on axis 1; timm says which nets have them last."""
    if getattr(net, "output_fmt", Format.NCHW) == Format.NHWC:
        return [one.permute(0, 3, 1, 2) for one in maps]
    return maps


def extractor_key(net: nn.Module, key: str) -> str:
    """The name in the extractor `net` of what timm's whole network calls `key`.

    Some extractors are flattened: `layers.0.` of the whole network is `layers_0.` there.
    """
    first, _, rest = key.partition(".")
    second, dot, inner = rest.partition(".")
    flat = f"{first}_{second}"
    return f"{flat}.{inner}" if dot and flat in dict(net.named_children()) else key


def conv_head(name: str, options: dict[str, Any]) -> nn.Sequential:
    """The 1x1 convolution and its norm that features_only leaves out."""
    whole = timm.create_model(name, **options)
    if not (hasattr(whole, "conv_head") and hasattr(whole, "bn2")):
        raise ValueError(f"{name} has no convolution before its classifier: set conv_head=False")
    return nn.Sequential(whole.conv_head, whole.bn2)


def shift(net: nn.Module, stride: int) -> float:
    """Pixels by which a cell of the last map looks right of (and below) the middle of its block.

    Halving by an odd kernel padded alike on both sides looks at pixel 2i, half a pixel left of the
    middle of the pair; TensorFlow's "same" padding looks half a pixel right of it; kernels that
    tile the image (patch stems) look at the middle. Half a pixel of every level sums up to
    (stride - 1) / 2. The first convolution with a stride tells which kind a net is of. Where pools
    that tile the image stand beside such kernels (the shortcuts of ResNet-D), it is measured.
    """
    stem = next((m for m in net.modules() if isinstance(m, nn.Conv2d) and m.stride[0] > 1), None)
    if stem is None or stem.kernel_size[0] % 2 == 0 or stem.kernel_size == stem.stride:
        return 0.0
    if any(isinstance(m, nn.AvgPool2d) and m.stride in (2, (2, 2)) for m in net.modules()):
        return _measured_shift(net, stride)
    return (stride - 1) / 2 * (1 if type(stem).__name__ == "Conv2dSame" else -1)


CELLS = 24
"""Length, in cells of the last map, of the strip on which a shift is measured."""


def _measured_shift(net: nn.Module, stride: int) -> float:
    """The centre of what a cell in the middle of a strip depends on, less its block's middle.

    Every convolution of a copy averages, every norm is the identity and every maximum a mean, so
    that the gradient counts paths instead of weighing them.
    """
    plain = deepcopy(net).to_empty(device="cpu").float().eval()  # it may be on the meta device
    for parent in list(plain.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.MaxPool2d):
                pool = (layer.kernel_size, layer.stride, layer.padding)
                setattr(parent, name, nn.AvgPool2d(*pool, count_include_pad=False))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        for layer in plain.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.fill_(1 / layer.weight[0].numel())
                if layer.bias is not None:
                    layer.bias.zero_()
            elif callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
    with torch.enable_grad(), torch.device("cpu"):
        strip = torch.full((1, 3, 2 * stride, CELLS * stride), 1e-3, requires_grad=True)
        seen = plain(strip)[-1][..., CELLS // 2].sum()
        (gradient,) = torch.autograd.grad(seen, strip)
        weights = gradient.abs().sum(dim=(0, 1, 2))
        centre = float((weights * torch.arange(len(weights))).sum() / weights.sum())
    return round(centre - (CELLS // 2 * stride + (stride - 1) / 2), 1)
