"""Settings of the segmentation heads: light, a stage's Config holds them without torch."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt

HeadName = Literal["none", "aspp", "deeplabv3plus", "grm", "sgr", "rsp", "ece"]
"""The context heads; `stages.nets.heads.HEADS` holds what builds them."""


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


class SgrConfig(BaseModel, frozen=True, extra="forbid"):
    """Semantic global reasoning: tokens read from learned regions, mixed, and put back."""

    tokens: int = Field(64, ge=1, description="number of tokens, hence of regions")


class EceConfig(BaseModel, frozen=True, extra="forbid"):
    """Explicit class embeddings made from class masks (ECENet)."""

    channels: int = Field(128, ge=1, description="channels of all maps inside the head")


class RspConfig(BaseModel, frozen=True, extra="forbid"):
    """Relational semantics propagated from the coarse to the fine maps of a pyramid."""

    kernel: int = Field(5, ge=1, description="side of the region in coarse cells; odd")


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
    sgr: SgrConfig = SgrConfig()
    ece: EceConfig = EceConfig()
    rsp: RspConfig = RspConfig()
