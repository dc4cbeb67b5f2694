"""The network: backbone and context head, trained on the pseudo-labels.

    python run_pipeline.py --from segment --segment.head none --segment.seed 1

Reads the artifacts of `index`, `graph`, `classify` (its backbone, --segment.weights classifier) and
`labels`. With --segment.labels masks it reads `masks` instead: the fully supervised upper bound,
declared as such wherever its numbers appear. Writes

- model.safetensors, model.json: the network, enough to load it on its own;
- metrics.jsonl: loss and learning rate by epoch.

A killed training continues from its checkpoint; on the CPU it ends in the same bits.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

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

if TYPE_CHECKING:
    import torch

    from data.loader import TrainingLoader
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from stages.nets.backbone import Backbone
    from stages.nets.losses import Criterion
    from stages.nets.segmenter import Segmenter
    from stages.pixel_labels import PixelLabels

VERSION = 1

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a killed training loses at most."""


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

    manifest = Manifest.of(inputs, context.places)
    graph = ClassGraph.load(inputs["graph"])
    graph.check(manifest.classes.names)
    labels = _labels(config, manifest, inputs, context)
    segmenter = _network(config, inputs, graph).to(pick_device(context.device))
    _train(config, manifest, labels, segmenter, context=context, out=out)
    save_segmenter(
        out,
        segmenter,
        head=config.head,
        config=_head_config(config),
        graph=graph,
        card={"labels": labels.said, "photos": len(labels.photos), "seed": config.seed},
    )
    (out / "checkpoint.pt").unlink(missing_ok=True)


def _labels(
    config: Config, manifest: "Manifest", inputs: Mapping[str, Path], context: Context
) -> "PixelLabels":
    from data.masks import MaskIndex
    from stages.pixel_labels import PixelLabels

    if config.labels == "masks":
        labels = PixelLabels.drawn(manifest, MaskIndex.of(inputs, context.places))
        context.note(f"upper bound: trained on {len(labels.photos)} masks, not on pseudo-labels")
        return labels
    return PixelLabels.pseudo(
        manifest, inputs["labels"], ignore_band=config.ignore_band, confidence=config.confidence
    )


def _head_config(config: Config) -> HeadConfig:
    return HeadConfig(**{name: getattr(config, name) for name in HeadConfig.model_fields})


def _network(config: Config, inputs: Mapping[str, Path], graph: "ClassGraph") -> "Segmenter":
    """The network before training: the same seed gives all heads the same backbone and decoder."""
    import torch

    from stages.nets.segmenter import build_segmenter

    torch.manual_seed(config.seed)
    head, classes = _head_config(config), len(graph.names) + 1
    backbone = _backbone(config, inputs, graph)
    segmenter = build_segmenter(backbone, config.head, head, classes=classes, graph=graph)
    if config.features != "trained":
        segmenter.backbone.requires_grad_(False)
    return segmenter.to(memory_format=torch.channels_last)


def _backbone(config: Config, inputs: Mapping[str, Path], graph: "ClassGraph") -> "Backbone":
    from stages.nets.backbone import build_backbone, headless

    if config.weights == "classifier":
        from stages.nets.classifier import load_classifier

        return headless(load_classifier(inputs["classify"], graph).backbone)
    if config.weights == "file" and config.weights_file is None:
        raise ValueError("--segment.weights file needs --segment.weights-file PATH")
    return build_backbone(
        config.backbone,
        output_stride=config.output_stride,
        weights=Path(str(config.weights_file)) if config.weights == "file" else config.weights,
        frozen_norm=config.frozen_norm,
        supervision=config.weights_supervision,
    )


def _train(
    config: Config,
    manifest: "Manifest",
    labels: "PixelLabels",
    segmenter: "Segmenter",
    *,
    context: Context,
    out: Path,
) -> None:
    import torch

    from stages.nets.fit import SCHEDULES, fit
    from stages.nets.optimiser import OPTIMISERS, parameter_groups

    along = config.features == "trained"
    segmenter.train()
    segmenter.backbone.train(along)
    rates = [(segmenter.head, config.lr), (segmenter.backbone, config.backbone_lr)]
    step, loader = _feed(config, manifest, labels, segmenter, context=context)
    # Weights are drawn: from here on, arms with other heads see the same dropout draws.
    torch.manual_seed(config.seed + 1)
    fit(
        step,
        segmenter if along else segmenter.head,
        OPTIMISERS[config.optimiser](parameter_groups(rates, config.weight_decay)),
        SCHEDULES[config.schedule](config.warmup),
        loader,
        epochs=config.epochs,
        steps_per_epoch=-(-len(labels.photos) // config.batch_size),
        clip=config.clip,
        checkpoint=out / "checkpoint.pt",
        every_seconds=CHECKPOINT_SECONDS,
        context=context,
        metrics=out / "metrics.jsonl",
    )


def _feed(
    config: Config,
    manifest: "Manifest",
    labels: "PixelLabels",
    segmenter: "Segmenter",
    *,
    context: Context,
) -> "tuple[Callable[[Any], torch.Tensor], Callable[[int, int], Iterable[Any]]]":
    """A step of the training and where its batches come from."""
    from stages.nets.training_step import step_on_features, step_on_images, with_targets

    criterion = _criterion(config, labels, segmenter)
    if config.features == "cached" and _fits(config, labels, segmenter, context):
        from stages.nets.feature_cache import FeatureCache

        cache = FeatureCache(
            segmenter,
            labels,
            path=manifest.path,
            flip=config.flip,
            context=context,
        )
        batches = partial(cache.batches, batch_size=config.batch_size, seed=config.seed)
        step = step_on_features(segmenter, criterion, context.precision)
        return step, with_targets(segmenter.head, batches)
    along = config.features == "trained"
    on_images = step_on_images(segmenter, criterion, context.precision, through_backbone=along)
    return on_images, with_targets(segmenter.head, _crops(config, manifest, labels, context))


def _fits(config: Config, labels: "PixelLabels", segmenter: "Segmenter", context: Context) -> bool:
    """Whether the maps of all photos fit into the memory that the settings allow; says so if not.

    It depends on settings and photos alone, not on the machine, so that the result does not either.
    """
    from stages.nets.feature_cache import cache_bytes

    needed = cache_bytes(segmenter, labels.photos, flip=config.flip) / 2**30
    if needed <= config.cache_gib:
        return True
    context.note(
        f"the maps of {len(labels.photos)} photos would take {needed:.1f} GiB, more than "
        f"--segment.cache-gib {config.cache_gib:g}: the frozen backbone runs in every step instead"
    )
    return False


def _crops(
    config: Config, manifest: "Manifest", labels: "PixelLabels", context: Context
) -> "TrainingLoader":
    from data.loader import PhotoSet, TrainingLoader
    from data.transforms import TrainTransform

    weight = labels.weight if labels.confidence is not None else None
    drawn = ("crop", "side", "scale", "flip", "jitter")
    return TrainingLoader(
        PhotoSet.of(manifest, labels.photos, label=labels.label, weight=weight),
        batch_size=config.batch_size,
        transform=TrainTransform(**{name: getattr(config, name) for name in drawn}),
        seed=config.seed,
        workers=context.workers,
    )


def _criterion(config: Config, labels: "PixelLabels", segmenter: "Segmenter") -> "Criterion":
    import torch

    from stages.nets.losses import Criterion, class_weights

    weights = class_weights(torch.from_numpy(labels.pixels()), config.class_power)
    return Criterion(
        segmenter.head,
        stride=config.loss_stride,
        lovasz=config.lovasz,
        class_weights=weights.to(segmenter.backbone.mean.device),
    )
