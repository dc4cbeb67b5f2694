"""Image network of any timm name, seen as its feature maps, with the provenance of its weights."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from stages.nets.feature_net import channels_first, extractor_key, feature_net, shift
from stages.nets.feature_net import conv_head as made_conv_head
from stages.nets.weights import InitialWeights, pretrained_weights, read_weights, scratch_weights

SMALLEST_STRIDE = 4


class Backbone(nn.Module):
    """Feature maps of a photo from stride 4 on to the last, for any size of photo.

    The photo comes as RGB in [0, 255]; mean and standard deviation are buffers. It is padded at the
    bottom and on the right, with the mean, to a multiple of the largest stride: a map of stride s
    has ceil(H_padded / s) x ceil(W_padded / s) cells, of which the first H / s x W / s lie on the
    photo. A plain vision transformer gives several depths, all at the stride of its patches.

    channels, strides: of each map that `forward` returns, in its order.
    shift: pixels by which the receptive field of a cell of the last map lies right of (and below)
        the middle of the stride x stride block that the cell stands for.
    card: which weights it started from and what supervised them.
    description: the arguments that build this net again, as plain JSON.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        output_stride: int = 16,
        pad_type: str | None = None,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        frozen_norm: bool = False,
        conv_head: bool = False,
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {} if pad_type is None else {"pad_type": pad_type}
        self.net = feature_net(name, output_stride, options)
        self.head = made_conv_head(name, options) if conv_head else None
        info: Any = self.net.feature_info
        reductions, channels = list(info.reduction()), list(info.channels())
        self.first = next((i for i, r in enumerate(reductions) if r >= SMALLEST_STRIDE), 0)
        self.channels, self.strides = channels[self.first :], reductions[self.first :]
        if self.head is not None:
            self.channels.append(self.head.get_parameter("0.weight").shape[0])
            self.strides.append(self.strides[-1])
        self.shift = shift(self.net, self.strides[-1])
        self.frozen_norm = frozen_norm
        self.card: dict[str, Any] = dict(card or {"weights": "scratch"})
        self.description: dict[str, Any] = {
            "name": name,
            "output_stride": output_stride,
            "pad_type": pad_type,
            "mean": list(mean),
            "std": list(std),
            "frozen_norm": frozen_norm,
            "conv_head": conv_head,
            "card": self.card,
        }
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        if frozen_norm:
            for layer in self._norms():
                layer.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def _norms(self) -> list[nn.Module]:
        return [m for m in self.modules() if isinstance(m, _BatchNorm)]

    def train(self, mode: bool = True) -> "Backbone":
        """As of every module, but frozen batch norm always works with its running statistics."""
        super().train(mode)
        if self.frozen_norm:
            for layer in self._norms():
                layer.eval()
        return self

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Maps of `images` (uint8 or float RGB in [0, 255]), fine to coarse."""
        images = (images.float() - self.mean) / self.std
        height, width = images.shape[-2:]
        step = max(self.strides)
        images = functional.pad(images, (0, -width % step, 0, -height % step))
        images = images.contiguous(memory_format=torch.channels_last)
        maps = channels_first(self.net, self.net(images))[self.first :]
        if self.head is not None:
            maps.append(self.head(maps[-1]))
        return maps


def headless(backbone: Backbone) -> Backbone:
    """`backbone` without the map that `conv_head` adds: made for tags, too wide for pixels."""
    if backbone.head is None:
        return backbone
    plain = Backbone(**{**backbone.description, "conv_head": False})
    state = backbone.state_dict()
    plain.load_state_dict({key: state[key] for key in plain.state_dict()})
    return plain


def build_backbone(
    name: str,
    *,
    output_stride: int = 16,
    weights: str | Path = "imagenet",
    frozen_norm: bool = True,
    conv_head: bool = False,
    supervision: str | None = None,
) -> Backbone:
    """A new backbone with its initial weights.

    output_stride: stride of the last map, kept by dilation; 32 leaves the net as it is.
    weights: "scratch" (random, from torch's generator), "imagenet" (timm's own, downloaded once),
        or a safetensors file with timm's keys. What a file's metadata say about padding, input
        scale and folded norms is obeyed.
    frozen_norm: batch norm keeps its running statistics and its scale; others learn them.
    conv_head: also give the map after the 1x1 convolution that stands before the classifier of the
        EfficientNet and MobileNet families, as the last of the maps.
    supervision: what the weights were trained from, where the file does not say it.

    Raises ValueError for unknown names, nets that cannot be had at this stride, files that are not
    of this net, and weights without provenance; OSError where a download is impossible.
    """
    _check_name(name)
    initial = _initial_weights(name, weights, supervision)
    if isinstance(weights, Path) and initial.state is not None:
        _check_architecture(name, initial.state, weights)
    if frozen_norm and initial.state is None:
        raise ValueError("weights=scratch needs trained norms (frozen_norm=False): nothing to keep")
    if initial.folded and not frozen_norm:
        raise ValueError(f"{weights}: its norms are folded into the convolutions: frozen_norm=True")
    backbone = Backbone(
        name,
        output_stride=output_stride,
        pad_type=initial.pad_type,
        mean=initial.mean,
        std=initial.std,
        frozen_norm=frozen_norm,
        conv_head=conv_head,
        card=initial.card,
    )
    if initial.state is not None:
        backbone.card["left_out"] = _load(backbone, initial.state, str(weights))
    _check_maps(backbone)
    return backbone.train()


def _initial_weights(name: str, weights: str | Path, supervision: str | None) -> InitialWeights:
    if isinstance(weights, Path):
        return read_weights(name, weights, supervision=supervision)
    kinds = {"scratch": scratch_weights, "imagenet": pretrained_weights}
    if weights not in kinds:
        raise ValueError(f"weights={weights!r}: use scratch, imagenet or the path of a file")
    return kinds[weights](name)


def _check_name(name: str) -> None:
    if not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('.')[0][:8]}*")[:5]
        hint = f"; perhaps {', '.join(near)}" if near else ""
        raise ValueError(f"timm has no network called {name!r}{hint}")


@torch.no_grad()
def _check_maps(backbone: Backbone) -> None:
    """Raise ValueError for nets that take photos of one size only, or lay out maps otherwise."""
    name, size = backbone.description["name"], 2 * max(backbone.strides)
    try:
        maps = backbone.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError) as problem:
        raise ValueError(
            f"{name} does not take photos of any size ({problem}): take a convolutional backbone "
            "or a plain vision transformer"
        ) from problem
    shapes = [tuple(one.shape[1:]) for one in maps]
    steps = zip(backbone.channels, backbone.strides, strict=True)
    if shapes != [(channels, size // stride, size // stride) for channels, stride in steps]:
        raise ValueError(f"{name} gives maps {shapes} that are no channels x rows x columns")


def _check_architecture(name: str, state: dict[str, Tensor], path: Path) -> None:
    """Raise ValueError unless at least half of the file's keys are keys of `name`."""
    known = _whole_keys(name)
    foreign = sorted(set(state) - known)
    if 2 * len(foreign) > len(state):
        missing = sorted(k for k in known - set(state) if not k.endswith("num_batches_tracked"))
        raise ValueError(
            f"{path} is not a file of {name}: missing {_first(missing)}, unexpected "
            f"{_first(foreign)}; set backbone to the network that the file was made for"
        )


def _load(backbone: Backbone, state: dict[str, Tensor], source: str) -> list[str]:
    """Fill the backbone; every key has its place or is part of the head that was cut off.

    Returns the keys left out. Raises ValueError that lists missing and unexpected keys.
    """
    prefix = "model." if any(k.startswith("model.") for k in backbone.net.state_dict()) else ""
    renamed = {"conv_head.": "head.0.", "bn2.": "head.1."} if backbone.head is not None else {}
    given: dict[str, Tensor] = {}
    for key, value in state.items():
        head = next((k for k in renamed if key.startswith(k)), None)
        own = prefix + extractor_key(backbone.net, key)
        given[renamed[head] + key[len(head) :] if head else f"net.{own}"] = value
    wanted = backbone.state_dict()
    counters = [k for k in wanted if k.endswith("num_batches_tracked") and k not in given]
    given.update({k: wanted[k] for k in counters})
    missing = sorted(set(wanted) - set(given))
    left_out = sorted(k.removeprefix(f"net.{prefix}") for k in set(given) - set(wanted))
    unexpected = [k for k in left_out if k not in _whole_keys(backbone.description["name"])]
    if missing or unexpected:
        raise ValueError(
            f"{source} is not a file of {backbone.description['name']}: "
            f"missing {_first(missing)}, unexpected {_first(unexpected)}"
        )
    shapes = sorted(k for k in wanted if wanted[k].shape != given[k].shape)
    if shapes:
        raise ValueError(f"{source}: wrong shapes at {_first(shapes)}")
    backbone.load_state_dict({k: given[k] for k in wanted})
    return left_out


def _whole_keys(name: str) -> set[str]:
    """Keys of the whole network, classifier included; nothing is allocated."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return set(timm.create_model(name).state_dict())


def _first(keys: list[str]) -> str:
    if not keys:
        return "none"
    return f"{len(keys)} keys ({', '.join(keys[:6])}{', ...' if len(keys) > 6 else ''})"
