"""Context heads by name; each module has one `build(channels, strides, classes, config, graph)`."""

from collections.abc import Callable, Sequence

from knowledge.graph import ClassGraph
from stages.nets.heads import grm, none, sgr
from stages.nets.heads.head import Head
from stages.nets.settings import HeadConfig

Builder = Callable[[Sequence[int], Sequence[int], int, HeadConfig, ClassGraph | None], Head]

HEADS: dict[str, Builder] = {
    "none": none.build,
    "grm": grm.build,
    "sgr": sgr.build,
}

__all__ = ["HEADS", "Builder", "Head"]
