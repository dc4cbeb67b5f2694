"""Features routed by class: a node a class and photo, and messages between the nodes."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Of the LeakyReLU between the two graph layers."""

NodeGraph = Literal["static", "dynamic", "seeded", "uniform"]


class Nodes(NamedTuple):
    """What the nodes of some photos are made of; n places."""

    attention: Float[Tensor, "b c n"]
    """Share of each place in each class's node: >= 0, 1 in all over the places of the photo."""
    adjacency: Float[Tensor, "b c c"]
    """Row i holds what node i receives; rows sum to 1."""
    gates: Float[Tensor, "b c e"]
    """Slope of the LeakyReLU at every node and channel: 1 or SLOPE."""
    scores: Float[Tensor, "b c"]


class NodeBranch(nn.Module):
    """Semantic decoupling: each class gathers its own features, over which the graph convolves.

    For the places x_p of a photo (b n d):

        a_c(p) = softmax_p(u_c . x_p)                      where class c looks
        Z_c    = P sum_p a_c(p) x_p                        its node, `width` channels
        Z'     = A LeakyReLU_0.2(A Z W1) W2 + Z            two graph layers
        s_c    = r_c . Z'_c + t_c                          its score before the sigmoid

    after SSGRL (Chen et al. 2019, equations 2-5: attention of its own for each class, messages
    between class nodes of one photo) and ADD-GCN (Ye et al. 2020, equations 3-6: static and dynamic
    graph). All classes share P, W1 and W2, so that an identity graph passes no message at all.

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
        self.attend = nn.Linear(inward, count, bias=False)
        nn.init.zeros_(self.attend.weight)  # every class begins by looking everywhere alike
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
        self, places: Float[Tensor, "b n d"], seen: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b c"]:
        """Scores, float32; places that are not `seen` (the rest of a shorter row) count nothing."""
        return self.nodes(places, seen).scores

    def nodes(
        self, places: Float[Tensor, "b n d"], seen: Bool[Tensor, "b n"] | None = None
    ) -> Nodes:
        """The nodes of every photo and their scores, in float32 whatever surrounds the call."""
        with torch.autocast(places.device.type, enabled=False):
            places = places.float()
            where = self.attend(places).transpose(1, 2)
            if seen is not None:
                where = where.masked_fill(~seen[:, None], -torch.inf)
            attention = where.softmax(dim=2)
            gathered = functional.dropout(attention @ places, self.dropout, self.training)
            nodes = self.project(gathered)
            adjacency = self.messages(nodes)
            inner = self.first(adjacency @ nodes)
            gates = torch.where(inner > 0, 1.0, SLOPE)
            last = self.second(adjacency @ (inner * gates)) + nodes
            return Nodes(attention, adjacency, gates, (last * self.weights).sum(2) + self.bias)

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
        self, places: Float[Tensor, "b n d"], kind: Literal["nodes", "readout"]
    ) -> Float[Tensor, "b c n"]:
        """How much of class c lies at each place; computed in closed form, without a gradient.

        `nodes`: what the attention looks by, u_c . x_p. `readout`: the contribution of place p to
        s_c. With A and the gates of the photo as they are, s_c is linear in the nodes,
        s_c - t_c = sum_j g_cj . P sum_p a_j(p) x_p, so that place p contributes
        sum_j a_j(p) g_cj . P x_p; times n here, which makes its mean s_c - t_c and its size
        independent of that of the photo.
        """
        with torch.autocast(places.device.type, enabled=False):
            places = places.float()
            if kind == "nodes":
                return self.attend(places).transpose(1, 2)
            found = self.nodes(places)
            routes = self.routes(found)
            here = self.project(places)
            total = torch.zeros_like(found.attention)
            for sender in range(routes.shape[2]):  # one at a time: all would be c times the memory
                part = routes[:, :, sender] @ here.transpose(1, 2)
                total += part * found.attention[:, sender, None]
            return total * places.shape[1]

    def routes(self, found: Nodes) -> Float[Tensor, "b c c e"]:
        """g_cj: how the score of class c grows with the node of class j."""
        back = self.weights @ self.second.weight
        a = found.adjacency
        hidden = torch.einsum("bci,bij,bie,ce->bcje", a, a, found.gates, back)
        own = torch.diag_embed(self.weights.T).permute(1, 2, 0)
        return hidden @ self.first.weight + own
