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
    """Scores of every class before the sigmoid, of the two branches; graph None without one."""

    linear: Float[Tensor, "b c"]
    graph: Float[Tensor, "b c"] | None

    def of(self, branch: Branch) -> Float[Tensor, "b c"]:
        """The scores of one branch; fused is their mean. Without a graph all three are linear."""
        if self.graph is None or branch == "linear":
            return self.linear
        return self.graph if branch == "graph" else (self.linear + self.graph) / 2


class Classifier(nn.Module):
    """z_c = w_c . f and z'_c = G_c . f with f the mean of the last feature map over the photo.

    w: linear weights without bias (a 1x1 convolution before the pooling is the same). G: weights
    from the class graph (`GraphBranch`), absent where `hidden` is 0.
    """

    def __init__(
        self,
        backbone: Backbone,
        names: tuple[str, ...],
        graph: ClassGraph | None,
        *,
        hidden: int = 1024,
        mode: Mode = "as_intended",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone, self.names = backbone, names
        width = backbone.channels[-1]
        self.linear = nn.Linear(width, len(names), bias=False)
        self.graph: GraphBranch | None = None
        if graph is not None and hidden > 0:
            graph.check(names)
            self.graph = GraphBranch(
                graph.embeddings, graph.adjacency, hidden=hidden, out=width, mode=mode
            )
        self.dropout = dropout
        self.description: dict[str, Any] = {
            "classes": list(names),
            "hidden": hidden if self.graph is not None else 0,
            "mode": mode,
            "dropout": dropout,
            "backbone": backbone.description,
        }

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Logits:
        """Scores for `images`: uint8 or float RGB in [0, 255], any size."""
        return self.score(self.pooled(images))

    def pooled(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """f: the mean of the last feature map, float32."""
        features: Tensor = self.backbone(images)[-1]
        return features.float().mean(dim=(2, 3))

    def score(self, pooled: Float[Tensor, "b d"]) -> Logits:
        """Scores from pooled features, float32; dropout on the features in training."""
        with torch.autocast(pooled.device.type, enabled=False):
            pooled = functional.dropout(pooled.float(), self.dropout, self.training)
            linear = self.linear(pooled)
            return Logits(linear, None if self.graph is None else pooled @ self.graph().T)

    def class_weights(self, branch: Branch) -> Float[Tensor, "c d"]:
        """The weights behind `Logits.of(branch)`: what a class activation map is made with."""
        linear: Tensor = self.linear.weight
        if branch == "linear":
            return linear
        if self.graph is None:
            raise ValueError(
                f"this classifier has no graph branch: set cams.classifier to linear, not {branch}"
            )
        graph: Tensor = self.graph()
        return graph if branch == "graph" else (linear + graph) / 2

    def heads(self) -> list[nn.Parameter]:
        """Every parameter that is none of the backbone's."""
        ours = {id(p) for p in self.backbone.parameters()}
        return [p for p in self.parameters() if id(p) not in ours]


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
    if card["hidden"] and graph is None:
        raise ValueError(f"{artifact}: this classifier needs the class graph it was trained with")
    classifier = Classifier(
        Backbone(**card["backbone"]),
        tuple(card["classes"]),
        graph,
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


def tag_loss(
    logits: Logits, tags: Float[Tensor, "b c"], *, graph_weight: float, mode: Mode = "as_intended"
) -> Float[Tensor, ""]:
    """MultiLabelSoftMargin(z) + graph_weight * loss(z').

    The second loss is the same one; "as_released" takes the focal loss of the released code (mean
    of (1 - p_t)^2 BCE with p_t detached; JIA-ZHANG666/GRM_layer, step/train_cam.py).
    """
    loss = functional.multilabel_soft_margin_loss(logits.linear, tags)
    if logits.graph is None:
        return loss
    losses: dict[Mode, Callable[[Tensor, Tensor], Tensor]] = {
        "as_intended": functional.multilabel_soft_margin_loss,
        "as_released": focal_loss,
    }
    return loss + graph_weight * losses[mode](logits.graph, tags)


def focal_loss(logits: Float[Tensor, "b c"], tags: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Mean of (1 - p_t)^2 BCE, p_t the probability of the truth, without gradient through it."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, tags, reduction="none")
    return ((1.0 - torch.exp(-cross_entropy.detach())) ** 2 * cross_entropy).mean()
