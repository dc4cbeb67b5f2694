"""Head `none`: decoder and 1x1 classifier, what every context head is compared with."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.decoder import Decoder
from stages.nets.heads.head import Head
from stages.nets.settings import HeadConfig


class PlainHead(Head):
    """Decoder, then a 1x1 convolution with bias. Other heads put their module in between."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: int, config: HeadConfig
    ) -> None:
        super().__init__()
        self.decoder = Decoder(channels, strides, config)
        self.classify = nn.Conv2d(self.decoder.width, classes, 1)
        self.stride = self.decoder.stride
        self.levels = self.decoder.levels

    def forward(self, features: list[Tensor]) -> tuple[Float[Tensor, "b c h w"], dict[str, Tensor]]:
        return self.classify(self.decoder(features)), {}


def build(
    channels: Sequence[int],
    strides: Sequence[int],
    classes: int,
    config: HeadConfig,
    graph: ClassGraph | None,
) -> Head:
    """The plain head; it asks nothing of the graph."""
    del graph
    return PlainHead(channels, strides, classes, config)
