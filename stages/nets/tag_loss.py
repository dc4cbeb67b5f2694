"""What the scores of a photo's tags are trained with."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from stages.nets.graph_branch import Mode

Scored = Literal["linear", "graph", "nodes", "fused"]


class Logits(NamedTuple):
    """Scores of every class before the sigmoid; those of pooled features by level.

    `graph` and `nodes` are None without that branch.
    """

    linear: Float[Tensor, "b l c"]
    graph: Float[Tensor, "b l c"] | None
    nodes: Float[Tensor, "b c"] | None = None

    def of(self, branch: Scored) -> Float[Tensor, "b c"]:
        """The scores of one branch, the mean over its levels; fused is the mean of all branches.

        A branch that is not there scores as linear.
        """
        parts = {"linear": self.linear.mean(dim=1)}
        parts |= {} if self.graph is None else {"graph": self.graph.mean(dim=1)}
        parts |= {} if self.nodes is None else {"nodes": self.nodes}
        if branch == "fused":
            return torch.stack(list(parts.values())).mean(dim=0)
        return parts.get(branch, parts["linear"])


def tag_loss(
    logits: Logits,
    tags: Float[Tensor, "b c"],
    *,
    graph_weight: float,
    node_weight: float = 1.0,
    mode: Mode = "as_intended",
) -> Float[Tensor, ""]:
    """MultiLabelSoftMargin(z) + graph_weight * loss(z') + node_weight * MultiLabelSoftMargin(s).

    Each is the mean over its levels. The second loss is the same one; "as_released" takes the focal
    loss of the released code (mean of (1 - p_t)^2 BCE with p_t detached; JIA-ZHANG666/GRM_layer,
    step/train_cam.py), whose weight there is 0.0001.
    """
    levelled = tags[:, None].expand_as(logits.linear).flatten(0, 1)
    loss = functional.multilabel_soft_margin_loss(logits.linear.flatten(0, 1), levelled)
    if logits.graph is not None:
        losses: dict[Mode, Callable[[Tensor, Tensor], Tensor]] = {
            "as_intended": functional.multilabel_soft_margin_loss,
            "as_released": focal_loss,
        }
        loss = loss + graph_weight * losses[mode](logits.graph.flatten(0, 1), levelled)
    if logits.nodes is not None:
        loss = loss + node_weight * functional.multilabel_soft_margin_loss(logits.nodes, tags)
    return loss


def focal_loss(logits: Float[Tensor, "b c"], tags: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Mean of (1 - p_t)^2 BCE, p_t the probability of the truth, without gradient through it."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, tags, reduction="none")
    return ((1.0 - torch.exp(-cross_entropy.detach())) ** 2 * cross_entropy).mean()
