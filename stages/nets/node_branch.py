"""Features routed by class: a node for each class and photo, and messages between the nodes."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Of the LeakyReLU between the two graph layers."""

NodeGraph = Literal["static", "dynamic", "seeded", "uniform"]


class Nodes(NamedTuple):
    """What the nodes of some photos are made of."""

    adjacency: Float[Tensor, "b c c"]
    """Row i holds what node i receives; rows sum to 1."""
    gates: Float[Tensor, "b c e"]
    """Slope of the LeakyReLU at every node and channel: 1 or SLOPE."""
    scores: Float[Tensor, "b c"]


class NodeBranch(nn.Module):
    """Semantic decoupling: each class gathers its own features, over which the graph convolves.

    For the n places x_p of a photo and the linear weights w_c of the classifier:

        a_c(p) = sigmoid(w_c . x_p) / n                    where class c looks
        Z_c    = P sum_p a_c(p) x_p                        its node, `width` channels
        Z'     = A LeakyReLU_0.2(A Z W1) W2 + Z            two graph layers
        s_c    = r_c . Z'_c + t_c                          its score before the sigmoid

    after ADD-GCN (Ye et al. 2020, equations 2-7: the class activation maps as attention, static and
    dynamic graph) and SSGRL (Chen et al. 2019). Attention weights of their own, as in SSGRL, fit
    435 photos by heart. All classes share P, W1 and W2, so that an identity graph passes no message
    at all.

    graph, the A of `static`: the adjacency given, used as it is (a buffer; identity, random and
    permuted ones are relations of the stage `graph`); `dynamic`: attention between the nodes of one
    photo, softmax over j of (Z_i Q) . (Z_j K) / sqrt(e); `seeded`: (1 - rho) times the adjacency
    given plus rho times the dynamic one; `uniform`: 1 / C, the control that passes messages
    without knowing anything.
    rho: its value in `seeded`; learned from there on with `learn_rho` (and inside 0 .. 1 then).
    """

    adjacency: Tensor
    rho: Tensor

    def __init__(
        self,
        adjacency: Float32[np.ndarray, "c c"],
        *,
        inward: int,
        width: int = 256,
        graph: NodeGraph = "dynamic",
        rho: float = 0.5,
        learn_rho: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if learn_rho and (graph != "seeded" or not 0 < rho < 1):
            raise ValueError("a learned rho needs the graph seeded and a start between 0 and 1")
        given = torch.from_numpy(np.array(adjacency, dtype=np.float32))
        count = len(given)
        used = torch.full_like(given, 1.0 / count) if graph == "uniform" else given
        self.register_buffer("adjacency", used)
        self.graph, self.dropout, self.learn_rho = graph, dropout, learn_rho
        self.project = nn.Linear(inward, width, bias=False)
        self.first = nn.Linear(width, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.weights = nn.Parameter(torch.empty(count, width))
        self.bias = nn.Parameter(torch.zeros(count))
        for weights in (self.first.weight, self.second.weight, self.weights):
            nn.init.uniform_(weights, -(width**-0.5), width**-0.5)
        if graph in ("dynamic", "seeded"):
            self.asked = nn.Linear(width, width // 4 or 1, bias=False)
            self.said = nn.Linear(width, width // 4 or 1, bias=False)
        if learn_rho:
            self.mixed = nn.Parameter(torch.tensor(math.log(rho / (1.0 - rho))))
        else:
            self.register_buffer("rho", torch.tensor(rho), persistent=False)

    def forward(
        self, places: Float[Tensor, "b n d"], looks: Float[Tensor, "c d"]
    ) -> Float[Tensor, "b c"]:
        """Scores, float32, of whole photos; looks: the linear weights w."""
        with torch.autocast(places.device.type, enabled=False):
            return self.nodes(gathered(places.float(), looks.float())).scores

    def nodes(self, features: Float[Tensor, "b c d"]) -> Nodes:
        """The nodes of every photo and their scores, from what `gathered` found."""
        nodes = self.project(functional.dropout(features, self.dropout, self.training))
        adjacency = self.messages(nodes)
        inner = self.first(adjacency @ nodes)
        gates = torch.where(inner > 0, 1.0, SLOPE)
        last = self.second(adjacency @ (inner * gates)) + nodes
        return Nodes(adjacency, gates, (last * self.weights).sum(dim=2) + self.bias)

    def messages(self, nodes: Float[Tensor, "b c e"]) -> Float[Tensor, "b c c"]:
        """A of every photo."""
        given = self.adjacency.expand(len(nodes), -1, -1)
        if self.graph in ("static", "uniform"):
            return given
        asked = self.asked(nodes) / math.sqrt(self.asked.out_features)
        dynamic = torch.softmax(asked @ self.said(nodes).transpose(1, 2), dim=2)
        if self.graph == "dynamic":
            return dynamic
        rho = torch.sigmoid(self.mixed) if self.learn_rho else self.rho
        return (1.0 - rho) * given + rho * dynamic

    def evidence(
        self, places: Float[Tensor, "b n d"], looks: Float[Tensor, "c d"]
    ) -> Float[Tensor, "b c n"]:
        """The read-out: what each place adds to the score of each class; no gradient is taken.

        With A and the gates of the photo as they are, s_c is linear in the nodes,
        s_c - t_c = sum_j g_cj . P sum_p a_j(p) x_p, so that place p contributes
        sum_j a_j(p) g_cj . P x_p. Times n here, which makes its mean s_c - t_c and its size
        independent of that of the photo.
        """
        with torch.autocast(places.device.type, enabled=False):
            places, looks = places.float(), looks.float()
            routes = self.routes(self.nodes(gathered(places, looks)))
            here, shares = self.project(places).transpose(1, 2), attention(places, looks)
            total = torch.zeros_like(shares)
            for sender in range(routes.shape[2]):  # one at a time: all would be c times the memory
                total += (routes[:, :, sender] @ here) * shares[:, sender, None]
            return total

    def routes(self, found: Nodes) -> Float[Tensor, "b c c e"]:
        """g_cj: how the score of class c grows with the node of class j."""
        back = self.weights @ self.second.weight
        a = found.adjacency
        hidden = torch.einsum("bci,bij,bie,ce->bcje", a, a, found.gates, back)
        own = torch.diag_embed(self.weights.T).permute(1, 2, 0)
        return hidden @ self.first.weight + own


def attention(
    places: Float[Tensor, "b n d"], looks: Float[Tensor, "c d"]
) -> Float[Tensor, "b c n"]:
    """How much each class looks at each place: sigmoid(w_c . x_p), 0 to 1."""
    return torch.sigmoid(looks @ places.transpose(1, 2))


def gathered(places: Float[Tensor, "b n d"], looks: Float[Tensor, "c d"]) -> Float[Tensor, "b c d"]:
    """What each class sees: the mean over the places of the features times the attention."""
    return attention(places, looks) @ places / places.shape[1]
