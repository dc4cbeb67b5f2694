"""Multi-label classifier of a photo's tags: backbone, linear weights and graph weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.files import replacing
from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.graph_branch import GraphBranch, Mode

WEIGHTS = "model.safetensors"
CARD = "model.json"

Branch = Literal["linear", "graph", "fused"]


class Logits(NamedTuple):
    """Scores of every class before the sigmoid, by level; graph is None without that branch."""

    linear: Float[Tensor, "b l c"]
    graph: Float[Tensor, "b l c"] | None

    def of(self, branch: Branch) -> Float[Tensor, "b c"]:
        """The scores of one branch, the mean over its levels; fused is the mean of both branches.

        Without a graph all three are linear.
        """
        if self.graph is None or branch == "linear":
            return self.linear.mean(dim=1)
        if branch == "graph":
            return self.graph.mean(dim=1)
        return (self.linear + self.graph).mean(dim=1) / 2


class Classifier(nn.Module):
    """z_c = w_c . f and z'_c = G_c . f with f the mean of a feature map over the photo.

    w: linear weights without bias (a 1x1 convolution before the pooling is the same). G: weights
    from the class graph (`GraphBranch`), absent without a graph.

    levels: how many of the backbone's last maps are classified, all of one stride. Each level has
    its own w and G and, in training, its own loss; scores and activation maps are means over the
    levels. f and the weights hold the levels one after the other.
    """

    def __init__(
        self,
        backbone: Backbone,
        names: tuple[str, ...],
        graph: ClassGraph | None,
        *,
        levels: int = 1,
        hidden: int = 1024,
        mode: Mode = "as_intended",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(set(backbone.strides[-levels:])) != 1 or levels > len(backbone.strides):
            raise ValueError(
                f"levels={levels}: the last {levels} maps of {backbone.description['name']} are no "
                f"maps of one stride; strides are {backbone.strides}"
            )
        self.backbone, self.names = backbone, names
        self.widths = backbone.channels[-levels:]
        self.linear = nn.Linear(sum(self.widths), len(names), bias=False)
        with torch.no_grad():  # each level as a layer of its own would start
            for weights, width in zip(self._levels(self.linear.weight), self.widths, strict=True):
                nn.init.uniform_(weights, -(width**-0.5), width**-0.5)
        self.graph: GraphBranch | None = None
        if graph is not None:
            graph.check(names)
            self.graph = GraphBranch(
                graph.embeddings,
                graph.adjacency,
                hidden=hidden,
                out=sum(self.widths),
                mode=mode,
            )
        self.dropout = dropout
        self.description: dict[str, Any] = {
            "classes": list(names),
            "graph_branch": self.graph is not None,
            "levels": levels,
            "hidden": hidden,
            "mode": mode,
            "dropout": dropout,
            "backbone": backbone.description,
        }

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Logits:
        """Scores for `images`: uint8 or float RGB in [0, 255], any size."""
        return self.score(self.pooled(images))

    def features(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h4 w4"]:
        """X: the maps of all levels, one after the other, on the grid of the last stride."""
        maps: list[Tensor] = self.backbone(images)[-len(self.widths) :]
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)

    def pooled(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """f: the mean of X over the photo, float32."""
        return self.features(images).float().mean(dim=(2, 3))

    def score(self, pooled: Float[Tensor, "b d"]) -> Logits:
        """Scores from pooled features, float32; dropout on the features in training."""
        with torch.autocast(pooled.device.type, enabled=False):
            pooled = functional.dropout(pooled.float(), self.dropout, self.training)
            linear = self._scored(pooled, self.linear.weight)
            return Logits(
                linear, None if self.graph is None else self._scored(pooled, self.graph())
            )

    def _scored(
        self, pooled: Float[Tensor, "b d"], weights: Float[Tensor, "c d"]
    ) -> Float[Tensor, "b l c"]:
        pairs = zip(self._levels(pooled), self._levels(weights), strict=True)
        return torch.stack([f @ w.T for f, w in pairs], dim=1)

    def _levels(self, tensor: Float[Tensor, "n d"]) -> tuple[Tensor, ...]:
        return tensor.split(self.widths, dim=1)

    def class_weights(self, branch: Branch) -> Float[Tensor, "c d"]:
        """The weights behind `Logits.of(branch)`: what a class activation map is made with."""
        linear: Tensor = self.linear.weight / len(self.widths)
        if branch == "linear":
            return linear
        if self.graph is None:
            raise ValueError(
                f"this classifier has no graph branch: set cams.classifier to linear, not {branch}"
            )
        graph: Tensor = self.graph() / len(self.widths)
        return graph if branch == "graph" else (linear + graph) / 2

    def groups(
        self, *, lr: float, graph_lr: float, backbone_lr: float | None = None
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser: every trained parameter is in exactly one.

        Without `backbone_lr` (or with 0) the backbone is in none of them.
        """
        rates: list[tuple[nn.Module, float]] = [(self.linear, lr)]
        rates += [(self.graph, graph_lr)] if self.graph is not None else []
        rates += [(self.backbone, backbone_lr)] if backbone_lr else []
        groups = [
            {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
            for part, rate in rates
        ]
        return [group for group in groups if group["params"]]


def save_classifier(classifier: Classifier, out: Path, *, extra: dict[str, Any]) -> None:
    """Write model.safetensors and model.json (how to build it again, and `extra`) into `out`."""
    state = {key: value.contiguous().cpu() for key, value in classifier.state_dict().items()}
    with replacing(out / WEIGHTS) as temporary:
        save_file(state, temporary)
    with replacing(out / CARD) as temporary:
        text = json.dumps({**classifier.description, **extra}, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def load_classifier(artifact: Path, graph: ClassGraph | None) -> Classifier:
    """The classifier that `save_classifier` wrote, in eval mode on the CPU.

    `graph` must be the one that it was trained with. Raises ValueError where classes, their order
    or the adjacency differ, or the files do not fit each other.
    """
    card = json.loads((artifact / CARD).read_text(encoding="utf-8"))
    if card["graph_branch"] and graph is None:
        raise ValueError(f"{artifact}: this classifier needs the class graph it was trained with")
    classifier = Classifier(
        Backbone(**card["backbone"]),
        tuple(card["classes"]),
        graph if card["graph_branch"] else None,
        levels=card["levels"],
        hidden=card["hidden"],
        mode=card["mode"],
        dropout=card["dropout"],
    )
    state = load_file(artifact / WEIGHTS)
    wanted = classifier.state_dict()
    if set(state) != set(wanted):
        differing = ", ".join(sorted(set(state) ^ set(wanted))[:6])
        raise ValueError(f"{artifact / WEIGHTS} does not fit {CARD}: {differing}; train it again")
    for name in ("graph.adjacency", "graph.embeddings"):
        if name in state and not torch.equal(state[name], wanted[name]):
            raise ValueError(f"{artifact}: trained with another {name}: classify again")
    classifier.load_state_dict(state)
    return classifier.eval()


def load_backbone(artifact: Path) -> Backbone:
    """The backbone of the classifier in `artifact`, frozen, in eval mode on the CPU.

    Without the map that `conv_head` adds: it was made for tags and is too wide for places. Raises
    ValueError where the files do not fit each other.
    """
    card = json.loads((artifact / CARD).read_text(encoding="utf-8"))
    backbone = Backbone(**{**card["backbone"], "conv_head": False})
    state = load_file(artifact / WEIGHTS)
    missing = [key for key in backbone.state_dict() if f"backbone.{key}" not in state]
    if missing:
        lacking = ", ".join(missing[:6])
        raise ValueError(f"{artifact / WEIGHTS} does not fit {CARD}: {lacking}; train it again")
    backbone.load_state_dict({key: state[f"backbone.{key}"] for key in backbone.state_dict()})
    return backbone.eval().requires_grad_(False)


def tag_loss(
    logits: Logits, tags: Float[Tensor, "b c"], *, graph_weight: float, mode: Mode = "as_intended"
) -> Float[Tensor, ""]:
    """MultiLabelSoftMargin(z) + graph_weight * loss(z'), each the mean over the levels.

    The second loss is the same one; "as_released" takes the focal loss of the released code (mean
    of (1 - p_t)^2 BCE with p_t detached; JIA-ZHANG666/GRM_layer, step/train_cam.py).
    """
    tags = tags[:, None].expand_as(logits.linear).flatten(0, 1)
    loss = functional.multilabel_soft_margin_loss(logits.linear.flatten(0, 1), tags)
    if logits.graph is None:
        return loss
    losses: dict[Mode, Callable[[Tensor, Tensor], Tensor]] = {
        "as_intended": functional.multilabel_soft_margin_loss,
        "as_released": focal_loss,
    }
    return loss + graph_weight * losses[mode](logits.graph.flatten(0, 1), tags)


def focal_loss(logits: Float[Tensor, "b c"], tags: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Mean of (1 - p_t)^2 BCE, p_t the probability of the truth, without gradient through it."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, tags, reduction="none")
    return ((1.0 - torch.exp(-cross_entropy.detach())) ** 2 * cross_entropy).mean()
