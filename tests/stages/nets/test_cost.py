"""The cost counter: closed forms, products over the class graph included."""

import numpy as np
import torch
from torch import nn

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.cost import cost, peak_memory
from stages.nets.segmenter import Segmenter, build_segmenter
from stages.nets.settings import GrmConfig, HeadConfig


class Toy(nn.Module):
    """A depthwise and a plain convolution, then attention between the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
        self.plain = nn.Conv2d(3, 8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.plain(self.depthwise(images.float())).flatten(2)  # b 8 p
        return x @ (x.transpose(1, 2) @ x).softmax(dim=2)


def test_multiply_adds_of_convolutions_and_attention_by_hand() -> None:
    height, width = 6, 5
    pixels = height * width
    price = cost(Toy(), (height, width))
    convolutions = pixels * (3 * 9 + 3 * 8)
    attention = pixels * pixels * 8 * 2
    assert price.multiply_adds == convolutions + attention
    assert price.params == 27 + 24 + 8
    assert price.size == (height, width)


def graph_of(classes: int, width: int) -> ClassGraph:
    names = tuple(f"class {i}" for i in range(classes))
    embeddings = np.zeros((classes, width), np.float32)
    return ClassGraph(names, embeddings, np.eye(classes, dtype=np.float32), {})


def tiny(head: str, graph: ClassGraph) -> Segmenter:
    config = HeadConfig(width=16, step_width=8, dilations=(1,), grm=GrmConfig(width=12))
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    classes = len(graph.names) + 1
    return build_segmenter(backbone, head, config, classes=classes, graph=graph)


def test_head_grm_costs_its_closed_form_more_than_none() -> None:
    graph = graph_of(5, 7)
    none, grm = (cost(tiny(head, graph), (64, 96)) for head in ("none", "grm"))
    n, d, x, e, pixels = 6, 12, 24, 7, (64 // 8) * (96 // 8)
    per_pixel = x * n + x * d + n * d + x * d + n * d + n * x  # vote, value, pool, query, M, M out
    per_node = e * d + 2 * d * d + 2 * d * d + 2 * d * d + d * d + d * x
    between_nodes = n * n * d * 3  # attention scores, two rounds of messages
    assert grm.multiply_adds - none.multiply_adds == (
        pixels * per_pixel + n * per_node + between_nodes
    )
    own = x * n + n + 2 * x * d + e * d + 2 * d * d + d + 5 * d * d + d * x + 2
    assert grm.params - none.params == own


def test_counting_leaves_the_network_as_it_was() -> None:
    network = Toy().train()
    cost(network, (4, 4))
    assert network.training
    assert all(p.grad is None for p in network.parameters())


def test_peak_memory_is_in_bytes() -> None:
    assert 20 << 20 < peak_memory(torch.device("cpu")) < 1 << 40
