"""Head `deeplabv3plus`: DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611).

The pyramid pooling of `aspp`, brought to the backbone's finest map (stride 4), joined with a few
channels of that map, two 3x3 convolutions and the classifier.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.decoder import resized
from stages.nets.heads.aspp import Aspp, conv_layer
from stages.nets.heads.head import Head
from stages.nets.settings import HeadConfig


class DeepLabV3PlusHead(Head):
    """Logits at the stride of the finest map.

    On a plain vision transformer that map is the shallowest depth, at the stride of all others.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, config: HeadConfig
    ) -> None:
        super().__init__()
        width, low = config.width, config.aspp.low_width
        last = len(strides) - 1
        self.levels = (0, last) if last else (0,)
        self.stride, self.factor = strides[0], strides[-1] // strides[0]
        self.aspp = Aspp(channels[-1], strides[-1], config)
        self.reduce = conv_layer(channels[0], low, 1)
        self.refine = nn.Sequential(conv_layer(width + low, width, 3), conv_layer(width, width, 3))
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        fine = self.reduce(features[0])
        context = resized(self.aspp(features[-1]), self.factor, (fine.shape[2], fine.shape[3]))
        x = self.refine(torch.cat([context, fine], dim=1))
        return self.classify(self.dropout(x)), {}


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The head; it asks nothing of the graph."""
    del graph
    return DeepLabV3PlusHead(channels, strides, classes, config)
