"""Settings of the segmentation heads: light, a stage's Config holds them without torch."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt


class GrmConfig(BaseModel, frozen=True, extra="forbid"):
    """The graph reasoning module between the decoder and the classifier."""

    mode: Literal["as_intended", "as_released"] = Field(
        "as_intended",
        description="as_released: the public code with its defects, for study",
    )
    width: int = Field(256, ge=1, description="channels of a class node")
    background_node: bool = Field(
        True, description="give the background a node (zero embedding, no edges) beside the classes"
    )
    rho: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of the per-image adjacency against the knowledge graph at the start",
    )
    learn_rho: bool = Field(True, description="learn rho (through a sigmoid) or keep it")


class HeadConfig(BaseModel, frozen=True, extra="forbid"):
    """Sizes of the decoder that all heads share, and each head's own settings."""

    width: int = Field(192, ge=1, description="channels of the decoder")
    dilations: tuple[PositiveInt, ...] = Field(
        (3, 6), description="dilations of the depthwise 3x3 branches, in cells"
    )
    step_width: int = Field(
        48, ge=0, description="channels taken from the next finer map; 0 leaves that step out"
    )
    dropout: float = Field(
        0.2, ge=0.0, lt=1.0, description="share of input channels dropped in training"
    )
    grm: GrmConfig = GrmConfig()
