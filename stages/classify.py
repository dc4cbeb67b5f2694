"""Which tags does this photo have? The multi-label classifier, with a branch over the class graph.

    python run_pipeline.py --only classify --classify.graph-weight 0.1 --classify.seed 1

Reads the artifacts of `index` (photos and tags, never a mask) and `graph`, and of `features` where
the head is trained on them; writes

- model.safetensors, model.json: the classifier, and how to build it again;
- metrics.jsonl: loss and learning rate by phase and epoch;
- scores.json: average precision by class and its mean on val, and on train beside it.

Four phases, each of which may be left out: the head alone on features of the backbone as it came
(`epochs_head`), after it the nodes alone on whole maps (`nodes.graph`, `nodes.epochs`), the whole
network end to end (`epochs`), the second weights of ReCAM (`recam.epochs`). A killed training
continues from its checkpoint.

How an arm is switched on:

- graph branch (class weights from the graph): `--graph.relation identity|text|...`, its loss times
  `--classify.graph-weight` (0.0001 with `--classify.mode as_released`); without it:
  `--classify.no-graph-branch`; its maps: `--cams.classifier graph`;
- nodes (features routed by class): `--classify.nodes.graph static|dynamic|seeded|uniform`, static
  and seeded along `--graph.relation` (identity: no message passes); tags scored by them:
  `--classify.scored nodes`; their maps: `--cams.classifier readout`, or `nodes`;
- maximum instead of mean over the places: `--classify.pooling gmp`;
- ReCAM: `--classify.recam.epochs 4 --cams.classifier recam`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context
from pipeline.key import Place
from stages.nets.classify_settings import NodesConfig, RecamConfig

if TYPE_CHECKING:
    from stages.nets.classifier import Classifier

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the classifier and its training. Sizes are in pixels."""

    backbone: str = Field("resnet50", description="image network, any timm name")
    weights: Literal["imagenet", "scratch", "file"] = Field(
        "imagenet", description="initial weights: timm's own, random, or `weights_file`"
    )
    weights_file: Annotated[Path | None, Place()] = Field(
        None, description="safetensors file with timm's keys, for --classify.weights file"
    )
    weights_supervision: str | None = Field(
        None, description="what the weight file was trained from, where it does not say so"
    )
    output_stride: Literal[8, 16, 32] = Field(16, description="stride of the backbone's last map")
    frozen_norm: bool = Field(True, description="keep the backbone's batch-norm statistics")
    conv_head: bool = Field(
        False,
        description="take the map after the 1x1 convolution that EfficientNet and MobileNet have "
        "before their classifier as the last one, not the last stage's",
    )
    levels: int = Field(
        1, ge=1, description="last maps of one stride that are classified; scores are averaged"
    )
    graph_branch: bool = Field(True, description="also make class weights from the class graph")
    mode: Literal["as_intended", "as_released"] = Field(
        "as_intended", description="form of the graph branch and its loss; released: for study"
    )
    hidden: int = Field(1024, ge=1, description="width between the two graph convolutions")
    graph_weight: float = Field(
        0.1, ge=0, description="weight of the graph branch's loss (released code: 0.0001)"
    )
    scored: Literal["linear", "graph", "nodes", "fused"] = Field(
        "fused", description="branch whose mAP is the headline; all of them are in scores.json"
    )
    pooling: Literal["gap", "gmp"] = Field(
        "gap", description="mean or maximum of each channel, below linear weights and graph branch"
    )
    nodes: NodesConfig = Field(NodesConfig(), description="features routed by class, over a graph")
    recam: RecamConfig = Field(RecamConfig(), description="weights for re-activated maps")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of pooled features dropped")
    epochs_head: int = Field(
        0, ge=0, description="passes of the head alone over features computed once"
    )
    scales_head: tuple[PositiveFloat, ...] = Field(
        (1.0,), min_length=1, description="factors of the photo's size in that phase; mirrored too"
    )
    lr_head: float = Field(
        0.002,
        gt=0,
        description="linear learning rate of that phase; the graph's keeps its ratio to it",
    )
    decay_head: float = Field(0.02, ge=0, description="weight decay of that phase")
    epochs: int = Field(5, ge=0, description="passes of the whole network; 0: backbone as it came")
    optimiser: Literal["adamw", "sgd"] = Field("sgd", description="sgd has momentum 0.9")
    lr: float = Field(0.1, gt=0, description="learning rate of the linear classifier")
    backbone_lr: float = Field(0.01, ge=0, description="learning rate of the backbone; 0 freezes")
    graph_lr: float = Field(0.001, gt=0, description="learning rate of the graph convolutions")
    weight_decay: float = Field(1e-4, ge=0, description="decay of all weights")
    schedule: Literal["poly", "cosine", "constant"] = Field("poly", description="rate over time")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the training with a rising rate")
    clip: float | None = Field(10.0, gt=0, description="largest norm of all gradients together")
    batch_size: int = Field(16, ge=1, description="photos a step")
    crop: int = Field(512, ge=1, description="side of the square crops")
    side: int | None = Field(
        453, ge=1, description="longer side that photos are brought to before `scale`; None: own"
    )
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.7071, 1.4142), description="range of random scaling"
    )
    jitter: float = Field(0.0, ge=0, lt=1, description="largest change of light and colour")
    seed: int = Field(0, ge=0, description="of initial weights, order, augmentation and dropout")


def sources(config: Config) -> dict[str, Path]:
    """The weight file: its content and its name, which the model's card keeps, are in the key."""
    path = config.weights_file if config.weights == "file" else None
    return {} if path is None else {f"weights_file {path.name}": path}


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Train the classifier, continuing from `out/checkpoint.pt` where there is one.

    Raises:
        FileNotFoundError: a photo or the weight file is missing.
        ValueError: settings, classes, photos or weights that cannot be used; the message says why.
        OSError: weights that cannot be downloaded.
    """
    from data.files import replacing
    from data.manifest import Manifest
    from knowledge.graph import ClassGraph
    from stages.classify_training import ClassifyTraining
    from stages.nets.classifier import save_classifier
    from stages.nets.device import pick_device
    from stages.nets.tag_scores import tag_scores

    manifest = Manifest.of(inputs, context.places)
    graph = ClassGraph.load(inputs["graph"])
    graph.check(manifest.classes.names)
    classifier = _classifier(config, graph).to(pick_device(context.device))
    training = ClassifyTraining(config, classifier, manifest, context, out)
    if config.epochs_head:
        training.head(inputs["features"])
        training.nodes(inputs["features"])
    training.whole()
    training.recam()
    same = config.epochs == 0 or config.backbone_lr == 0
    scores = tag_scores(
        classifier,
        manifest,
        branch=config.scored,
        context=context,
        features=inputs.get("features") if same else None,
    )
    save_classifier(classifier, out, extra={"graph": graph.card, "seed": config.seed})
    with replacing(out / "scores.json") as path:
        path.write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (out / "checkpoint.pt").unlink(missing_ok=True)


def _classifier(config: Config, graph: Any) -> "Classifier":
    import torch

    from stages.features import Config as Features
    from stages.features import initial_backbone
    from stages.nets.classifier import Classifier
    from stages.nets.weights import check_supervision

    torch.manual_seed(config.seed)
    backbone = initial_backbone(Features.of(config))
    check_supervision(backbone.card, graph.names)
    return Classifier(
        backbone,
        graph.names,
        graph,
        levels=config.levels,
        hidden=config.hidden,
        mode=config.mode,
        dropout=config.dropout,
        graph_branch=config.graph_branch,
        pooling=config.pooling,
        nodes=config.nodes,
        recam=config.recam.epochs > 0,
    )
