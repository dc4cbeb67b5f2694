"""Head `aspp`: DeepLabV3 (Chen et al. 2017, arXiv 1706.05587), the reference of its field.

Atrous spatial pyramid pooling with full 3x3 convolutions over the backbone's last map, a 3x3
convolution and the classifier; logits at the backbone's last stride. Layer by layer the size of
torchvision's DeepLabHead, whose rates are twice as large at output stride 8.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.batch_norm import BatchNorm
from stages.nets.heads.head import Head
from stages.nets.settings import HeadConfig

RATES_STRIDE = 16
"""The output stride that `aspp.rates` are meant for, in pixels."""


class Aspp(nn.Module):
    """Five views of one map, concatenated and projected: b inputs h w -> b width h w.

    1x1 convolution, three 3x3 convolutions at rates that span the same pixels at every stride, and
    the mean of the photo.
    """

    def __init__(self, inputs: int, stride: int, config: HeadConfig) -> None:
        super().__init__()
        width = config.width
        self.rates = [max(1, round(r * RATES_STRIDE / stride)) for r in config.aspp.rates]
        self.views = nn.ModuleList([conv_layer(inputs, width, 1)])
        self.views.extend(conv_layer(inputs, width, 3, dilation=rate) for rate in self.rates)
        self.pool = conv_layer(inputs, width, 1)
        self.project = conv_layer(5 * width, width, 1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b width h w"]:
        views = [view(x) for view in self.views]
        scene = self.pool(x.mean(dim=(2, 3), keepdim=True)).expand_as(views[0])
        return self.dropout(self.project(torch.cat([*views, scene], dim=1)))


def conv_layer(inputs: int, outputs: int, kernel: int, *, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, BatchNorm(outputs), nn.ReLU(inplace=True))


class AsppHead(Head):
    """The pyramid pooling, one 3x3 convolution, the 1x1 classifier."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, config: HeadConfig
    ) -> None:
        super().__init__()
        self.levels = (len(strides) - 1,)
        self.stride = strides[-1]
        self.aspp = Aspp(channels[-1], strides[-1], config)
        self.refine = conv_layer(config.width, config.width, 3)
        self.classify = nn.Conv2d(config.width, classes, 1)

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        return self.classify(self.refine(self.aspp(features[-1]))), {}


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The head; it asks nothing of the graph."""
    del graph
    return AsppHead(channels, strides, classes, config)
