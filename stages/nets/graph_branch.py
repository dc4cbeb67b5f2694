"""Class weights computed from class vectors over the class graph (ML-GCN, Chen et al. 2019)."""

import math
import warnings
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

with warnings.catch_warnings():  # torch-geometric compiles helpers in a way that torch calls old
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import GCNConv

SLOPE = 0.2

Mode = Literal["as_intended", "as_released"]


class GraphBranch(nn.Module):
    """Two graph convolutions that turn C class vectors into C classifier weights.

    G = A LeakyReLU_0.2(A E W1) W2. "as_released" also puts the LeakyReLU after the second layer, as
    the released code of arXiv 2309.14057 does (JIA-ZHANG666/GRM_layer, net/resnet50_cam.py); the
    form of ML-GCN (arXiv 1904.03582, equation 5) has none there.

    adjacency: row i holds what class i receives; used as it is: neither normalised again nor given
        self-loops a second time. A buffer, as the vectors are: training leaves both alone.
    embeddings: one vector a class; brought to unit variance over its entries (length sqrt(d)), so
        that text models of any scale start alike.
    """

    adjacency: Tensor
    embeddings: Tensor
    edge_index: Tensor
    edge_weight: Tensor

    def __init__(
        self,
        embeddings: Float32[np.ndarray, "c d"],
        adjacency: Float32[np.ndarray, "c c"],
        *,
        hidden: int,
        out: int,
        mode: Mode = "as_intended",
    ) -> None:
        super().__init__()
        vectors = torch.from_numpy(np.array(embeddings, dtype=np.float32))
        lengths = vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.register_buffer("embeddings", vectors / lengths * math.sqrt(vectors.shape[1]))
        self.register_buffer("adjacency", torch.from_numpy(np.array(adjacency, dtype=np.float32)))
        receivers, senders = self.adjacency.nonzero(as_tuple=True)
        edges = torch.stack([senders, receivers])  # torch-geometric sends from row 0 to row 1
        self.register_buffer("edge_index", edges, persistent=False)
        weights = self.adjacency[receivers, senders]
        self.register_buffer("edge_weight", weights, persistent=False)
        self.first = _convolution(vectors.shape[1], hidden)
        self.second = _convolution(hidden, out)
        self.mode = mode

    def forward(self) -> Float[Tensor, "c out"]:
        """The classifier weights of every class, in float32 whatever the surrounding precision."""
        with torch.autocast(self.adjacency.device.type, enabled=False):
            nodes = self.first(self.embeddings, self.edge_index, self.edge_weight)
            nodes = functional.leaky_relu(nodes, SLOPE)
            nodes = self.second(nodes, self.edge_index, self.edge_weight)
            return functional.leaky_relu(nodes, SLOPE) if self.mode == "as_released" else nodes


def _convolution(inward: int, outward: int) -> GCNConv:
    """x'_i = sum_j A_ij W x_j without bias, W ~ U(-1/sqrt(out), 1/sqrt(out)) (ML-GCN)."""
    layer = GCNConv(inward, outward, bias=False, normalize=False, add_self_loops=False)
    bound = 1.0 / math.sqrt(outward)
    nn.init.uniform_(layer.lin.weight, -bound, bound)
    return layer
