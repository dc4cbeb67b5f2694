"""Context heads by name; each module has one `build(channels, strides, classes, config, graph)`."""

from collections.abc import Callable, Sequence

from knowledge.graph import ClassGraph
from stages.nets.heads import aspp, deeplabv3plus, ece, grm, none, rsp, sgr
from stages.nets.heads.head import Head
from stages.nets.settings import HeadConfig

Builder = Callable[[Sequence[int], Sequence[int], int, HeadConfig, ClassGraph | None], Head]

HEADS: dict[str, Builder] = {
    "none": none.build,
    "aspp": aspp.build,
    "deeplabv3plus": deeplabv3plus.build,
    "grm": grm.build,
    "sgr": sgr.build,
    "rsp": rsp.build,
    "ece": ece.build,
}

__all__ = ["HEADS", "Builder", "Head"]
