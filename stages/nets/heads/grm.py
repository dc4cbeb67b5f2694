"""Head `grm`: the graph reasoning module of arXiv 2309.14057 between decoder and classifier.

The paper's public code cannot be what was meant (see `grm_released`); this is the module as
intended, put together from the abstract, SGR (Liang et al. 2018, "Symbolic Graph Reasoning Meets
Convolutions") and ADD-GCN (Ye et al. 2020, a static and then a dynamic adjacency). At the start its
output gate is 0, so that the head equals `none` bit for bit.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.heads.grm_released import ReleasedGrm
from stages.nets.heads.head import Head
from stages.nets.heads.none import PlainHead
from stages.nets.settings import GrmConfig, HeadConfig


class Grm(nn.Module):
    """x + gamma * what the classes of this photo say of each pixel, once the graph mixed them."""

    adjacency: Tensor
    embeddings: Tensor

    def __init__(self, width: int, graph: ClassGraph, config: GrmConfig) -> None:
        """`width` channels in and out; nodes: the graph's classes, and background if wished."""
        super().__init__()
        adjacency, embeddings = nodes_of(graph, config.background_node)
        self.register_buffer("adjacency", adjacency)  # n n, rows sum to 1
        self.register_buffer("embeddings", embeddings)  # n e
        d = config.width
        self.vote = nn.Conv2d(width, len(adjacency), 1)
        self.value = nn.Conv2d(width, d, 1, bias=False)
        self.embed = nn.Linear(embeddings.shape[1], d, bias=False)
        self.fuse = nn.Linear(2 * d, d)
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.reason = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(2))
        self.pixel_query = nn.Conv2d(width, d, 1, bias=False)
        self.node_key = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(d, width, bias=False)
        self.act = nn.LeakyReLU(0.2)
        # sigmoid(rho_logit) = rho; the clamp keeps a fixed rho of 0 or 1 finite.
        rho = torch.tensor(config.rho).clamp(1e-6, 1 - 1e-6).logit()
        self.rho_logit = nn.Parameter(rho, requires_grad=config.learn_rho)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "b width h w"]) -> Float[Tensor, "b width h w"]:
        """Read the photo into nodes, mix them along the graph, hand them back to the pixels."""
        nodes = self.read(x)  # b n d
        graph = self.mixed_adjacency(nodes)  # b n n
        first, second = self.reason
        reasoned = self.act(second(graph @ self.act(first(graph @ nodes)))) + nodes
        shares = self.shares(x, reasoned)  # b hw n
        said = torch.relu(shares @ self.out(reasoned))  # b hw width
        return x + self.gamma * said.transpose(1, 2).reshape(x.shape)

    def read(self, x: Float[Tensor, "b width h w"]) -> Float[Tensor, "b n d"]:
        """Steps 1 and 2: pixels vote; a node is its voters' mean value and its embedding."""
        votes = self.vote(x).flatten(2).softmax(dim=1)  # b n hw, sums to 1 over nodes
        values = self.value(x).flatten(2).transpose(1, 2)  # b hw d
        evidence = votes @ values / votes.sum(dim=2, keepdim=True).clamp_min(1e-6)
        meaning = self.embed(self.embeddings).expand(x.shape[0], -1, -1)
        return self.fuse(torch.cat([evidence, meaning.to(evidence.dtype)], dim=2))

    def mixed_adjacency(self, nodes: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n"]:
        """Step 3: the knowledge graph and this photo's attention between nodes, rows sum to 1."""
        scores = self.query(nodes) @ self.key(nodes).transpose(1, 2) / nodes.shape[-1] ** 0.5
        rho = self.rho_logit.sigmoid()
        return (1 - rho) * self.adjacency + rho * scores.float().softmax(dim=2)

    def shares(
        self, x: Float[Tensor, "b width h w"], nodes: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b p n"]:
        """Step 5: what each pixel takes from each node, sums to 1 over nodes.

        A dot product, so that a node's own part cannot cancel in the softmax.
        """
        pixels = self.pixel_query(x).flatten(2).transpose(1, 2)  # b p d
        scores = pixels @ self.node_key(nodes).transpose(1, 2) / pixels.shape[-1] ** 0.5
        return scores.softmax(dim=2)


def nodes_of(
    graph: ClassGraph, background: bool
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n e"]]:
    """Adjacency and embeddings; a background node in front has no vector and no neighbour."""
    adjacency = torch.from_numpy(graph.adjacency.copy())
    embeddings = torch.from_numpy(graph.embeddings.copy())
    if not background:
        return adjacency, embeddings
    adjacency = torch.block_diag(torch.ones(1, 1), adjacency)
    return adjacency, torch.cat([embeddings.new_zeros(1, embeddings.shape[1]), embeddings])


class GrmHead(Head):
    """The plain head with a graph reasoning module before its 1x1 classifier."""

    def __init__(self, plain: PlainHead, grm: nn.Module) -> None:
        super().__init__()
        self.plain = plain
        self.grm = grm
        self.stride = plain.stride
        self.levels = plain.levels

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        return self.plain.classify(self.grm(self.plain.decoder(features))), {}


MODES: dict[str, Callable[[int, ClassGraph, GrmConfig], nn.Module]] = {
    "as_intended": Grm,
    "as_released": ReleasedGrm,
}


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The plain head's layers first, so that one seed gives both heads the same ones."""
    if graph is None:
        raise ValueError("head grm reasons over a class graph: build it from the stage `graph`")
    if len(graph.names) + 1 != classes:
        raise ValueError(
            f"a graph of {len(graph.names)} classes cannot serve {classes - 1} classes"
        )
    plain = PlainHead(channels, strides, classes, config)
    return GrmHead(plain, MODES[config.grm.mode](plain.decoder.width, graph, config.grm))
