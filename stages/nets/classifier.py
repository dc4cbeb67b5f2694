"""Multi-label classifier of a photo's tags: backbone, linear weights and graph weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from data.files import replacing
from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.classify_settings import NodesConfig
from stages.nets.graph_branch import GraphBranch, Mode
from stages.nets.node_branch import NodeBranch
from stages.nets.tag_loss import Logits

WEIGHTS = "model.safetensors"
CARD = "model.json"

Branch = Literal["linear", "graph", "fused"]
"""Weights over pooled features, without and with the class graph, and their mean."""

Mapped = Literal["linear", "graph", "fused", "recam", "nodes", "readout"]
"""What activation maps can be made of: weights, or the evidence of the nodes (`NodeBranch`)."""

Pooling = Literal["gap", "gmp"]


class Classifier(nn.Module):
    """z_c = w_c . f and z'_c = G_c . f with f the mean of a feature map over the photo.

    w: linear weights without bias (a 1x1 convolution before the pooling is the same). G: weights
    from the class graph (`GraphBranch`), absent without a graph or with `graph_branch` False.

    pooling: "gap", the mean, or "gmp", the greatest value of each channel (ML-GCN's choice).
    nodes: settings of the branch that routes features by class over nodes (`NodeBranch`), whose
    scores s_c need the whole map; none where their graph is "none".
    recam: whether there is a second set of weights u for re-activated maps (`stages.nets.recam`).

    levels: how many of the backbone's last maps are classified, all of one stride. Each level has
    its own w and G and, in training, its own loss; scores and activation maps are means over the
    levels. f and the weights hold the levels one after the other.
    """

    centres: Tensor
    """f of a class: see `centre`."""

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
        graph_branch: bool = True,
        pooling: Pooling = "gap",
        nodes: NodesConfig | None = None,
        recam: bool = False,
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
        if graph is not None and graph_branch:
            self.graph = GraphBranch(
                graph.embeddings,
                graph.adjacency,
                hidden=hidden,
                out=sum(self.widths),
                mode=mode,
            )
        self.dropout, self.pooling = dropout, pooling
        self.nodes = _node_branch(nodes, graph, sum(self.widths))
        self.recam: nn.Linear | None = None
        if recam:
            with torch.random.fork_rng(devices=[]):
                self.recam = nn.Linear(sum(self.widths), len(names), bias=False)
        self.register_buffer("centres", torch.zeros(len(names), sum(self.widths)))
        self.description: dict[str, Any] = {
            "classes": list(names),
            "graph_branch": self.graph is not None,
            "levels": levels,
            "hidden": hidden,
            "mode": mode,
            "dropout": dropout,
            "pooling": pooling,
            "nodes": None if self.nodes is None or nodes is None else nodes.model_dump(),
            "recam": recam,
            "backbone": backbone.description,
        }

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Logits:
        """Scores for `images`: uint8 or float RGB in [0, 255], any size."""
        return self.judge(self.features(images))

    def judge(self, features: Float[Tensor, "b d h4 w4"]) -> Logits:
        """Scores of all branches from X."""
        logits = self.score(self.pool(features))
        if self.nodes is None:
            return logits
        places = features.flatten(2).transpose(1, 2)
        return logits._replace(nodes=self.nodes(places, self.class_weights("linear")))

    def features(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h4 w4"]:
        """X: the maps of all levels, one after the other, on the grid of the last stride."""
        maps: list[Tensor] = self.backbone(images)[-len(self.widths) :]
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)

    def pooled(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """f: the mean of X over the photo (or its maximum: `pooling`), float32."""
        return self.pool(self.features(images))

    def pool(self, features: Float[Tensor, "b d h4 w4"]) -> Float[Tensor, "b d"]:
        """f of X."""
        return POOLINGS[self.pooling](features.float())

    def score(self, pooled: Float[Tensor, "b d"]) -> Logits:
        """Scores from pooled features, float32, without those of the nodes; dropout in training."""
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

    def class_weights(self, branch: Mapped) -> Float[Tensor, "c d"]:
        """The weights behind `Logits.of(branch)`: what a class activation map is made with.

        "recam": w_c * u_c, element by element. Raises ValueError for a branch that is not there, or
        that has no weights over features.
        """
        linear: Tensor = self.linear.weight / len(self.widths)
        if branch == "linear":
            return linear
        if branch == "recam" and self.recam is not None:
            return linear * self.recam.weight
        if branch not in ("graph", "fused") or self.graph is None:
            raise ValueError(
                f"this classifier has no {NEEDED[branch]}: set cams.classifier to linear, not "
                f"{branch}"
            )
        graph: Tensor = self.graph() / len(self.widths)
        return graph if branch == "graph" else (linear + graph) / 2

    def centre(self, pooled: Float[Tensor, "n d"], tags: Bool[Tensor, "n c"]) -> None:
        """Keep the mean f of the photos that show each class; 0 for a class that none shows."""
        shown = tags.to(pooled)
        self.centres.copy_(shown.T @ pooled / shown.sum(dim=0).clamp_min(1)[:, None])

    def usual(self, weights: Float[Tensor, "c d"]) -> Float[Tensor, " c"]:
        """The mean score of each class by these weights, over the train photos that show it."""
        return (weights * self.centres).sum(dim=1)

    def groups(
        self,
        *,
        lr: float,
        graph_lr: float,
        backbone_lr: float | None = None,
        nodes: bool = True,
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser: every trained parameter is in exactly one.

        Without `backbone_lr` (or with 0) the backbone is in none of them. Weights u of ReCAM never
        are: they are trained last and alone.
        """
        rates: list[tuple[nn.Module, float]] = [(self.linear, lr)]
        parts = (self.graph, self.nodes if nodes else None)
        rates += [(part, graph_lr) for part in parts if part is not None]
        rates += [(self.backbone, backbone_lr)] if backbone_lr else []
        groups = [
            {"params": [p for p in part.parameters() if p.requires_grad], "lr": rate}
            for part, rate in rates
        ]
        return [group for group in groups if group["params"]]


NEEDED: dict[str, str] = {
    "graph": "graph branch",
    "fused": "graph branch",
    "recam": "re-activated weights (--classify.recam.epochs)",
    "nodes": "weights over features behind the maps of nodes",
    "readout": "weights over features behind the maps of nodes",
}

POOLINGS: dict[Pooling, Callable[[Tensor], Tensor]] = {
    "gap": lambda features: features.mean(dim=(2, 3)),
    "gmp": lambda features: features.amax(dim=(2, 3)),
}


def _node_branch(
    config: NodesConfig | None, graph: ClassGraph | None, inward: int
) -> NodeBranch | None:
    """The branch that `config` asks for; ValueError where it lacks the class graph."""
    if config is None or config.graph == "none":
        return None
    if graph is None:
        raise ValueError("classify.nodes needs the class graph")
    with torch.random.fork_rng(devices=[]):  # the rest is trained as it is without nodes
        return NodeBranch(
            graph.adjacency,
            inward=inward,
            width=config.width,
            graph=config.graph,
            rho=config.rho,
            learn_rho=config.learn_rho,
            dropout=config.dropout,
        )


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
    nodes = NodesConfig(**card["nodes"]) if card.get("nodes") else None
    if (card["graph_branch"] or nodes) and graph is None:
        raise ValueError(f"{artifact}: this classifier needs the class graph it was trained with")
    classifier = Classifier(
        Backbone(**card["backbone"]),
        tuple(card["classes"]),
        graph,
        graph_branch=card["graph_branch"],
        nodes=nodes,
        **{key: card[key] for key in ("levels", "hidden", "mode", "dropout")},
        **{key: card[key] for key in ("pooling", "recam") if key in card},
    )
    state = load_file(artifact / WEIGHTS)
    wanted = classifier.state_dict()
    if set(state) != set(wanted):
        differing = ", ".join(sorted(set(state) ^ set(wanted))[:6])
        raise ValueError(f"{artifact / WEIGHTS} does not fit {CARD}: {differing}; train it again")
    for name in ("graph.adjacency", "graph.embeddings", "nodes.adjacency"):
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
