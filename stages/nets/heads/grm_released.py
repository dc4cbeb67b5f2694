"""The graph reasoning module as its public code has it, defects and all: for study only.

Written from a description of JIA-ZHANG666/GRM_layer, libs/models/grm_layer.py and deeplabv2.py in
deeplab-pytorch-master (no licence: nothing copied). Its defects, kept on purpose:

- a score that adds a pixel's part and a node's part, under a softmax over pixels: the node's part
  cancels, every node gets one and the same map, and no class is routed anywhere;
- that softmax shares 1 among all pixels of the photo, so that the residual is close to nothing;
- graph weights that are in no optimiser group: they keep their random start;
- dropout that stays on at test time: predictions are random;
- a normaliser that adds the identity in place on every call, so that the graph decays to it.

The sixth, a tensor of pixels x nodes x 512, costs memory and changes no number; it is left out.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from knowledge.graph import ClassGraph
from stages.nets.settings import GrmConfig


class ReleasedGrm(nn.Module):
    """Y = x + ReLU(M H), H = ReLU(S ReLU(S E W1) W2) without its bugs repaired."""

    adjacency: Tensor
    embeddings: Tensor

    def __init__(self, width: int, graph: ClassGraph, config: GrmConfig) -> None:
        """`width` channels in and out; nodes are the graph's classes, without the background."""
        super().__init__()
        self.register_buffer("adjacency", torch.from_numpy(graph.adjacency.copy()))  # n n
        self.register_buffer("embeddings", torch.from_numpy(graph.embeddings.copy()))  # n e
        e = self.embeddings.shape[1]
        # Bare parameters that the optimiser's group of convolutions never picked up.
        self.w1 = nn.Parameter(_uniform(e, config.width), requires_grad=False)
        self.w2 = nn.Parameter(_uniform(config.width, width), requires_grad=False)
        self.score_pixel = nn.Conv2d(width, 1, 1)
        self.score_node = nn.Linear(width, 1, bias=False)

    def forward(self, x: Float[Tensor, "b width h w"]) -> Float[Tensor, "b width h w"]:
        """A constant of the data set, spread thinly over the pixels with the highest v . x."""
        nodes = self.nodes()
        shares = self.shares(x, nodes)  # b hw n
        said = torch.relu(shares @ nodes.to(shares.dtype))  # b hw width
        return x + said.transpose(1, 2).reshape(x.shape)

    def nodes(self) -> Float[Tensor, "n width"]:
        """Node features, the same for every photo but for the dropout that never sleeps."""
        with torch.no_grad():  # adds I to the buffer itself, once more on every call
            self.adjacency += torch.eye(len(self.adjacency), device=self.adjacency.device)
        scale = self.adjacency.sum(dim=1).rsqrt()
        graph = self.adjacency * scale[:, None] * scale[None, :]
        first = torch.relu(graph @ self.embeddings @ self.w1)
        return torch.relu(graph @ functional.dropout(first, 0.3) @ self.w2)

    def shares(
        self, x: Float[Tensor, "b width h w"], nodes: Float[Tensor, "n width"]
    ) -> Float[Tensor, "b p n"]:
        """v . [x_p ; h_n] under a softmax over pixels p: equal for every node n."""
        pixels = self.score_pixel(x).flatten(2).transpose(1, 2)  # b p 1
        return (pixels + self.score_node(nodes)[None, :, 0]).float().softmax(dim=1)


def _uniform(rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound)
