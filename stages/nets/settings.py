"""Settings of the segmentation heads: light, a stage's Config holds them without torch."""

from typing import Literal

from pydantic import BaseModel, Field, PositiveInt, field_validator, model_validator


class AffinityConfig(BaseModel, frozen=True, extra="forbid"):
    """Which places of a photo look alike, by the features of the classifier's backbone."""

    scale: float = Field(2.0, gt=0, description="factor of the photo's size for the features")
    levels: int = Field(3, ge=1, description="maps of the backbone that count, from the last on")
    power: float = Field(4.0, gt=0, description="exponent of the cosine; higher: more alike")
    cells: int = Field(
        4096,
        ge=16,
        description="most places of a photo; a larger photo gets a smaller scale. Memory: its "
        "square, times 4 bytes",
    )


class PixelConfig(BaseModel, frozen=True, extra="forbid"):
    """The linear classifier of places and its training."""

    epochs: int = Field(4, ge=1, description="passes over the places that were drawn")
    places: int = Field(96, ge=1, description="random places of each photo at each scale")
    samples: int = Field(200_000, ge=1, description="most places of all photos together")
    batch_size: int = Field(1024, ge=1, description="places a step")
    lr: float = Field(1e-3, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="pulls the weights towards 0")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of the features dropped")
    class_power: float = Field(0.3, ge=0, description="class weights (mean / frequency)^power")


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

    tokens: int = Field(
        64, ge=1, description="number of tokens, hence of regions; fewer for maps of few cells"
    )
    width: int = Field(256, ge=1, description="channels of a token")
    layers: int = Field(2, ge=0, description="transformer layers over the tokens; 0: no reasoning")
    heads: int = Field(8, ge=1, description="attention heads; they divide `width`")
    expansion: int = Field(4, ge=1, description="width of the feed-forward part over `width`")
    position: bool = Field(True, description="tell each token where its region lies (sine code)")
    place: Literal["after_decoder", "before_decoder"] = Field(
        "after_decoder", description="the map that is read: the decoder's, or the backbone's last"
    )
    region_act: Literal["softmax_k", "sigmoid"] = Field(
        "softmax_k", description="softmax_k: tokens compete for each cell; sigmoid: they do not"
    )
    reproject: Literal["same", "learned"] = Field(
        "same", description="put tokens back by the regions they were read by, or by second ones"
    )
    union: Literal["prod", "max"] = Field(
        "prod", description="soft union of a component's regions: 1 - prod(1 - p), or the largest"
    )
    lambda_d: float = Field(0.5, ge=0, description="weight of dice, unions against components")
    lambda_b: float = Field(0.5, ge=0, description="weight of the cell-wise loss of the unions")
    lambda_c: float = Field(0.1, ge=0, description="weight of the mean cosine between regions")
    lambda_tok: float = Field(0.0, ge=0, description="weight of the mean cosine between tokens")
    focal: bool = Field(
        False, description="cell-wise loss: focal (alpha 0.25, gamma 2) in place of cross-entropy"
    )
    ensure_cover: bool = Field(
        True, description="give a component that no token chose the best one that can be spared"
    )
    min_area: int = Field(
        4, ge=1, description="cells of the smallest component; smaller ones count in no region loss"
    )
    most_components: int = Field(
        64,
        ge=1,
        description="components of one photo that regions are held against, largest first",
    )
    connectivity: Literal[4, 8] = Field(
        8, description="neighbours of a cell that belong to its component"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "SgrConfig":
        if self.width % self.heads:
            raise ValueError(
                f"sgr: {self.heads} attention heads do not divide a token width of {self.width}: "
                "choose --segment.sgr.heads and --segment.sgr.width that fit"
            )
        return self


class EceConfig(BaseModel, frozen=True, extra="forbid"):
    """Explicit class embeddings made from class masks (ECENet), and their losses."""

    channels: int = Field(
        128,
        ge=1,
        description="channels of all maps inside the head, a multiple of heads; 256 in the release",
    )
    heads: int = Field(4, ge=1, description="heads of the attention, groups of the first mask")
    mlp_ratio: int = Field(4, ge=1, description="hidden channels of the perceptron per channel")
    ratio: float = Field(
        1.0, gt=0, description="side of the largest pooling grid per square root of the classes"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of channels dropped at the end")
    finest_stride: int = Field(
        4,
        ge=1,
        description="maps finer than this, in pixels, are left out; 8 takes a quarter of the time",
    )
    attn_sign: Literal[-1, 1] = Field(
        -1, description="-1: pixels read from the classes least alike, as released; 1: most alike"
    )
    q_activation: Literal["none", "relu"] = Field(
        "none", description="after the query's convolutions; the released port has relu"
    )
    mask_loss: Literal["focal", "bce"] = Field("focal", description="loss of a mask's pixels")
    focal_alpha: float = Field(0.25, ge=0, le=1, description="weight of pixels inside the mask")
    focal_gamma: float = Field(2.0, ge=0, description="exponent that quiets easy pixels")
    mask_weight: float = Field(5.0, ge=0, description="weight of mask_loss")
    dice_weight: float = Field(2.0, ge=0, description="weight of the masks' dice loss")
    diversity_weight: float = Field(
        0.2, ge=0, description="weight of the loss that keeps the diverse channels apart"
    )
    loss_stride: int = Field(
        4, ge=1, description="mask losses see one pixel in this many, at most the head's stride"
    )


class AsppConfig(BaseModel, frozen=True, extra="forbid"):
    """Atrous spatial pyramid pooling, full convolutions (DeepLabV3, DeepLabV3+)."""

    rates: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (6, 12, 18),
        description="dilations of the three 3x3 branches at output stride 16, in cells; doubled at "
        "8, halved at 32, so that they span the same pixels",
    )
    low_width: int = Field(
        48, ge=1, description="channels that DeepLabV3+ takes from the finest map"
    )


class RspConfig(BaseModel, frozen=True, extra="forbid"):
    """Relational semantics propagated from the coarse to the fine maps of a pyramid."""

    kernel: int = Field(5, ge=1, description="side of the region in coarse cells; odd")
    groups: int = Field(4, ge=1, description="groups of channels with weights of their own")
    position: Literal["none", "add_to_key", "bias"] = Field(
        "add_to_key",
        description="learned embedding of a cell's place in the region: a vector added to its key, "
        "or one number a group added to its score",
    )
    separable: bool = Field(
        True, description="3x3 convolutions as depthwise and pointwise ones, a ninth of the cost"
    )
    zero_init: bool = Field(
        True, description="start with closed gates: the head then equals its pyramid"
    )
    output: Literal["finest", "sum"] = Field(
        "finest", description="classify the finest map, or the sum of all levels (Panoptic FPN)"
    )
    finest_stride: Literal[4, 8] = Field(4, description="stride of the pyramid's finest level")
    aux_weight: float = Field(
        0.4, ge=0, description="weight of the cross-entropy of the level at stride 16; 0: none"
    )

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("a region needs a middle: take an odd kernel")
        return kernel


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
    aspp: AsppConfig = AsppConfig()
    rsp: RspConfig = RspConfig()
