"""The network: backbone and context head, trained on the pseudo-labels.

    python run_pipeline.py --from segment --segment.head none --segment.seed 1

Reads the artifacts of `index`, `graph`, `classify` (its backbone, --segment.weights classifier) and
`labels`. With --segment.labels masks it reads `masks` instead: the fully supervised upper bound,
declared as such wherever its numbers appear. Writes

- model.safetensors, model.json: the network, enough to load it on its own;
- metrics.jsonl: loss and learning rate by epoch.

A killed training continues from its checkpoint; on the CPU it ends in the same bits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from pipeline.context import Context
from pipeline.key import Place
from stages.nets.settings import (
    AsppConfig,
    EceConfig,
    GrmConfig,
    HeadConfig,
    HeadName,
    RspConfig,
    SgrConfig,
)

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the segmentation network and its training. Sizes are in pixels."""

    labels: Literal["pseudo", "masks"] = Field(
        "pseudo", description="what to train on; masks: the fully supervised upper bound"
    )
    ignore_band: bool = Field(
        False,
        description="leave out the pixels that the pseudo-labels ignore; else train on all of them",
    )
    confidence: float = Field(
        0.0,
        ge=0,
        description="exponent of the labels' confidence as weight of a pixel; 0: all alike",
    )
    head: HeadName = Field("grm", description="context head")
    backbone: str = Field("resnet101", description="image network, any timm name")
    weights: Literal["imagenet", "scratch", "file", "classifier"] = Field(
        "imagenet",
        description="initial weights; classifier: the backbone of `classify`, stride and norms too",
    )
    weights_file: Annotated[Path | None, Place()] = Field(
        None, description="safetensors file with timm's keys, for --segment.weights file"
    )
    weights_supervision: str | None = Field(
        None, description="what the weight file was trained from, where it does not say so"
    )
    features: Literal["trained", "frozen", "cached"] = Field(
        "trained",
        description="backbone: trained along; frozen; or frozen and run once over whole photos, "
        "its maps kept in memory (crop, side, scale and jitter then have no effect)",
    )
    cache_scales: tuple[PositiveFloat, ...] = Field(
        (1.0,),
        min_length=1,
        description="sizes that photos are cached at; a batch has one of them, drawn at random",
    )
    cache_gib: float = Field(2.0, gt=0, description="most memory for cached maps, in GiB")
    frozen_norm: bool = Field(True, description="keep the backbone's batch-norm statistics")
    output_stride: Literal[8, 16, 32] = Field(16, description="stride of the backbone's last map")
    width: int = Field(256, ge=1, description="channels of the decoder")
    dilations: tuple[PositiveInt, ...] = Field(
        (6, 12, 18), description="dilations of the decoder's depthwise branches, in cells"
    )
    step_width: int = Field(
        48, ge=0, description="channels taken from the next finer map; 0 leaves that step out"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the decoder's inputs dropped")
    grm: GrmConfig = Field(GrmConfig(), description="the graph reasoning module of head grm")
    sgr: SgrConfig = Field(SgrConfig(), description="tokens and region losses of head sgr")
    ece: EceConfig = Field(EceConfig(), description="class embeddings of head ece")
    aspp: AsppConfig = Field(AsppConfig(), description="of heads aspp and deeplabv3plus")
    rsp: RspConfig = Field(RspConfig(), description="relations between levels of head rsp")
    lovasz: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of Lovász-softmax in the loss; the rest is cross-entropy",
    )
    class_power: float = Field(
        0.3, ge=0, description="class weights (mean / frequency)^power, counted on the labels"
    )
    loss_stride: Literal[1, 2, 4, 8] = Field(8, description="the loss sees one pixel in this many")
    optimiser: Literal["adamw", "sgd"] = Field("sgd", description="sgd has momentum 0.9")
    lr: float = Field(0.0025, gt=0, description="learning rate of the head")
    backbone_lr: float = Field(0.00025, gt=0, description="learning rate of the backbone")
    weight_decay: float = Field(5e-4, ge=0, description="of matrices and kernels")
    schedule: Literal["poly", "cosine", "constant"] = Field("poly", description="rate over time")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the training with a rising rate")
    clip: float | None = Field(10.0, gt=0, description="largest norm of all gradients together")
    epochs: int = Field(19, ge=1, description="passes over the photos")
    batch_size: int = Field(10, ge=1, description="photos a step")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the average over steps that replaces the weights in the end; 0: off",
    )
    keep: Literal["last", "tags"] = Field(
        "last",
        description="which epoch is kept: the last, or the one that names the tags of held-out "
        "train photos best (`holdout`); no mask is looked at",
    )
    holdout: float = Field(
        0.1, gt=0, lt=1, description="share of the train photos that --segment.keep tags holds out"
    )
    crop: int = Field(321, ge=1, description="side of the square crops")
    side: int | None = Field(
        None, ge=1, description="longer side that photos are brought to before `scale`; None: own"
    )
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.5, 1.5), description="range of random scaling"
    )
    jitter: float = Field(0.0, ge=0, lt=1, description="largest change of light and colour")
    flip: bool = Field(True, description="mirror every second photo")
    seed: int = Field(0, ge=0, description="of initial weights, order, augmentation and dropout")

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        """Refuse before hours of other stages what a head would refuse when it is built."""
        if self.crop <= self.loss_stride:
            raise ValueError(f"a crop of {self.crop} holds no pixel that the loss sees: enlarge it")
        if self.head == "rsp" and self.width % self.rsp.groups:
            raise ValueError(f"rsp.groups={self.rsp.groups} must divide width={self.width}")
        if self.head == "ece" and self.ece.channels % self.ece.heads:
            raise ValueError(f"ece.heads={self.ece.heads} must divide {self.ece.channels} channels")
        return self

    def settled(self) -> "Config":
        """The same training, with the settings of all other heads at their defaults.

        They change nothing, so a key must not depend on them.
        """
        fields = type(self).model_fields
        others = {head: fields[head].default for head in get_args(HeadName) if head in fields}
        kept = "aspp" if self.head == "deeplabv3plus" else self.head
        return self.model_copy(update={h: d for h, d in others.items() if h != kept})

    def head_config(self) -> HeadConfig:
        """The settings that the heads know of."""
        return HeadConfig(**{name: getattr(self, name) for name in HeadConfig.model_fields})


def sources(config: Config) -> dict[str, Path]:
    """The weight file, whose content the result depends on."""
    path = config.weights_file if config.weights == "file" else None
    return {} if path is None else {f"weights_file {path.name}": path}


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Train the network, continuing from `out/checkpoint.pt` where there is one.

    Raises:
        FileNotFoundError: a photo, a label or the weight file is missing.
        ValueError: settings, labels or weights that cannot be used; the message says which.
    """
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from stages.nets.device import pick_device
    from stages.nets.segmenter import save_segmenter
    from stages.segment_training import SegmentTraining, new_network, pixel_labels

    manifest = Manifest.of(inputs, context.places)
    graph = ClassGraph.load(inputs["graph"])
    graph.check(manifest.classes.names)
    labels = pixel_labels(config, manifest, inputs, context)
    segmenter = new_network(config, inputs, graph).to(pick_device(context.device))
    training = SegmentTraining(config, manifest, labels, segmenter, context)
    training.run(out)
    save_segmenter(
        out,
        segmenter,
        head=config.head,
        config=config.head_config(),
        graph=graph,
        card={
            "labels": labels.said,
            "photos": len(training.labels.photos),
            "seen": training.seen,
            "seed": config.seed,
        },
    )
    (out / "checkpoint.pt").unlink(missing_ok=True)
