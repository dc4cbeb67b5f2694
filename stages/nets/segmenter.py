"""The segmentation network: backbone, context head, and the way to and from a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer, Shaped
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from data.files import replacing
from data.labels import label_type
from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.decoder import resized
from stages.nets.heads import HEADS, Head
from stages.nets.settings import HeadConfig

TENSORS = "model.safetensors"
CARD = "model.json"
AT_ONCE = 256
"""Classes whose scores are brought to the size of the photos at once."""


class Prediction(NamedTuple):
    """What the network says of a batch."""

    logits: Float[Tensor, "b c h w"]
    """Background first; one cell per `head.stride` pixels, from the top left of the photo on."""
    aux: dict[str, Tensor]
    """What the head's own losses need."""


class Segmenter(nn.Module):
    """Photos of any size in RGB, 0..255, to logits of C + 1 classes.

    The backbone pads at the bottom and on the right; `full_size` cuts that off again, so that a
    pixel keeps its place whatever the size of the photo.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Prediction:
        return Prediction(*self.head(self.backbone(images)))

    def full_size(
        self, logits: Float[Tensor, "b c h w"], size: tuple[int, int]
    ) -> Float[Tensor, "b c H W"]:
        """Logits at every pixel of photos of `size` (height, width), bilinear."""
        return resized(logits, self.head.stride, size)

    def winner(
        self, logits: Float[Tensor, "b c h w"], size: tuple[int, int]
    ) -> Integer[Tensor, "b H W"]:
        """The class with the highest of `full_size`: uint8, beyond 254 classes int16.

        Of many classes some at a time are brought to full size: 1,001 of them would take 4 GB for
        a photo of a megapixel.
        """
        if logits.shape[1] <= AT_ONCE:
            return winner(self.full_size(logits, size))
        best = labels = torch.empty(0)
        for first in range(0, logits.shape[1], AT_ONCE):
            found = self.full_size(logits[:, first : first + AT_ONCE], size).max(dim=1)
            if first == 0:
                best, labels = found.values, found.indices
                continue
            labels = torch.where(found.values > best, found.indices + first, labels)
            best = torch.maximum(best, found.values)
        return labels.to(torch_type(logits.shape[1]))

    @torch.inference_mode()
    def predict(
        self,
        images: Shaped[Tensor, "b 3 h w"],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> Integer[Tensor, "b h w"]:
        """The most likely class of every pixel: 0 background, 1..C classes, none ignored.

        With several `scales` (factors on the photo's size) or with mirror images the class
        probabilities of all views are averaged.
        """
        if len(scales) == 1 and scales[0] == 1 and not flip:
            size = (images.shape[-2], images.shape[-1])
            return self.winner(self(images).logits.float(), size)
        return winner(self.probabilities(images, scales=scales, flip=flip))

    @torch.inference_mode()
    def probabilities(
        self,
        images: Shaped[Tensor, "b 3 h w"],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> Float[Tensor, "b c h w"]:
        """Class probabilities of every pixel, the mean over all views; see `predict`."""
        size = (images.shape[-2], images.shape[-1])
        total = torch.zeros((), device=images.device)
        for scale in scales:
            view = images.float()
            if scale != 1:
                smaller = [max(1, round(side * scale)) for side in size]
                view = interpolate(
                    view, size=smaller, mode="bilinear", antialias=True, align_corners=False
                )
            total = total + self._probabilities(view, size)
            if flip:
                total = total + self._probabilities(view.flip(3), size).flip(3)
        return total / (len(scales) * (1 + flip))

    def _probabilities(
        self, view: Shaped[Tensor, "b 3 h w"], size: tuple[int, int]
    ) -> Float[Tensor, "b c H W"]:
        logits = self.full_size(self(view).logits.float(), (view.shape[2], view.shape[3]))
        return interpolate(logits.softmax(1), size=size, mode="bilinear", align_corners=False)


def winner(scores: Float[Tensor, "b c h w"]) -> Integer[Tensor, "b h w"]:
    """The class with the highest score at each pixel: uint8, beyond 254 classes int16."""
    best = scores.max(dim=1).indices  # four times as fast as argmax on a CPU
    return best.to(torch_type(scores.shape[1]))


def torch_type(classes: int) -> torch.dtype:
    """The type of labels of `classes` classes, background included."""
    return {1: torch.uint8, 2: torch.int16}[label_type(classes - 1).itemsize]


def build_segmenter(
    backbone: Backbone, head: str, config: HeadConfig, *, classes: int, graph: ClassGraph | None
) -> Segmenter:
    """Put head `head` on `backbone` for `classes` classes, background included."""
    if head not in HEADS:
        raise ValueError(f"head={head!r} is unknown; use {', '.join(HEADS)}")
    built = HEADS[head](backbone.channels, backbone.strides, classes, config, graph)
    return Segmenter(backbone, built)


def save_segmenter(
    artifact: Path,
    segmenter: Segmenter,
    *,
    head: str,
    config: HeadConfig,
    graph: ClassGraph,
    card: dict[str, Any],
) -> None:
    """Write model.safetensors and model.json, enough to build the network again on its own.

    The graph that a head reasons over is among the tensors. `card` says what it was trained on.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in segmenter.state_dict().items()
    }
    with replacing(artifact / TENSORS) as temporary:
        save_file(tensors, temporary)
    described = {
        "head": head,
        "config": config.model_dump(mode="json"),
        "names": list(graph.names),
        "vector": int(graph.embeddings.shape[1]),
        "weights": segmenter.backbone.card,
        "backbone": segmenter.backbone.description,
        "card": card,
    }
    with replacing(artifact / CARD) as temporary:
        temporary.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_segmenter(artifact: Path, graph: ClassGraph | None = None) -> Segmenter:
    """The network in `artifact`, in eval mode, on the CPU.

    `graph`, where given, must be of the classes that the network was trained on: ValueError
    otherwise, and where the files are damaged or not of one network.
    """
    try:
        described = json.loads((artifact / CARD).read_text("utf-8"))
        tensors = load_file(artifact / TENSORS)
        names = tuple(described["names"])
        if graph is not None:
            graph.check(names)
        segmenter = build_segmenter(
            Backbone(**_tuples(described["backbone"])),
            described["head"],
            HeadConfig.model_validate(described["config"]),
            classes=len(names) + 1,
            graph=_blank(names, described["vector"]),
        )
        segmenter.load_state_dict(tensors)
    except FileNotFoundError:
        raise
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as problem:
        raise ValueError(
            f"{artifact} holds no usable segmentation network ({problem}); run `verify`, or make "
            "it again with --force segment"
        ) from problem
    return segmenter.eval()


def _blank(names: tuple[str, ...], vector: int) -> ClassGraph:
    """A graph of the right shapes, whose numbers the file's tensors replace."""
    embeddings = np.zeros((len(names), vector), np.float32)
    return ClassGraph(names, embeddings, np.eye(len(names), dtype=np.float32), {})


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """`options` with the tuples that JSON turned into lists."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
