"""The named recipes: one section of typed settings a stage, and what each recipe reaches.

The defaults of a section suit the field's protocol; a recipe changes what its data and its machine
ask for. Figures are those of the README, where the commands are; what was not measured says so.
"""

from pydantic import BaseModel, Field

from stages.cams import Config as Cams
from stages.classify import Config as Classify
from stages.compare import Config as Compare
from stages.edges import Config as Edges
from stages.evaluate import Config as Evaluate
from stages.graph import Config as Graph
from stages.index import Config as Dataset
from stages.inspect import Config as Inspect
from stages.labels import Config as Labels
from stages.masks import Config as Masks
from stages.nets.settings import EceConfig, RspConfig, SgrConfig
from stages.relabel import Config as Relabel
from stages.report import Config as Report
from stages.rescore import Config as Rescore
from stages.segment import Config as Segment
from stages.spread import Config as Spread
from stages.walk import Config as Walk


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """Every setting of a run. A section's name is the prefix of its flags: --cams.scales ..."""

    dataset: Dataset = Field(Dataset(), description="photos, tags, classes, splits")
    masks: Masks = Field(Masks(), description="masks to score with, nothing else")
    graph: Graph = Field(Graph(), description="how the classes relate")
    classify: Classify = Field(Classify(), description="the tag classifier")
    cams: Cams = Field(Cams(), description="class activation maps")
    walk: Walk = Field(Walk(), description="activation maps shared between places alike")
    labels: Labels = Field(Labels(), description="pseudo-labels")
    rescore: Rescore = Field(Rescore(), description="further looks at the labels so far")
    edges: Edges = Field(Edges(), description="boundaries between classes")
    spread: Spread = Field(Spread(), description="scores shared between boundaries")
    inspect: Inspect = Field(Inspect(), description="quality of the pseudo-labels")
    segment: Segment = Field(Segment(), description="the segmentation network")
    relabel: Relabel = Field(Relabel(), description="a round of self-training")
    evaluate: Evaluate = Field(Evaluate(), description="scores of the network")
    report: Report = Field(Report(), description="the page about the run")
    compare: Compare = Field(Compare(), description="which heads `compare` trains")
    upper_bound: bool = Field(
        False, description="also train the same network on masks, shown beside as the upper bound"
    )


DEMO = Recipe(
    classify=Classify(
        backbone="test_resnet",
        weights="scratch",
        frozen_norm=False,
        hidden=256,
        optimiser="adamw",
        lr=3e-3,
        backbone_lr=3e-3,
        graph_lr=3e-3,
        weight_decay=0.02,
        schedule="cosine",
        warmup=0.02,
        clip=5.0,
        epochs=20,
        batch_size=8,
        crop=112,
        side=None,
        scale=(0.8, 1.5),
        jitter=0.1,
    ),
    cams=Cams(scales=(1.0, 1.5, 2.0), competition=1.0),
    segment=Segment(
        backbone="test_resnet",
        weights="classifier",
        frozen_norm=False,
        width=96,
        dilations=(2, 4),
        step_width=32,
        lovasz=0.5,
        optimiser="adamw",
        lr=3e-3,
        backbone_lr=1e-3,
        weight_decay=0.01,
        warmup=0.02,
        epochs=20,
        batch_size=8,
        crop=112,
        scale=(0.8, 1.5),
    ),
    evaluate=Evaluate(cost_size=(128, 128)),
    upper_bound=True,
)
"""Scenes drawn by the program and networks from random weights: nothing to download, one CPU."""

SMALL_CLASSIFY = Classify(
    backbone="mobilenetv2_100",
    conv_head=True,
    levels=2,
    scored="linear",
    dropout=0.2,
    epochs_head=25,
    scales_head=(1.0, 1.5),
    epochs=0,
    optimiser="adamw",
    lr=3e-4,
    backbone_lr=3e-5,
    graph_lr=4.5e-5,
    weight_decay=0.02,
    clip=None,
    crop=256,
    side=None,
)
SMALL_SEGMENT = Segment(
    backbone="mobilenetv2_100",
    weights="classifier",
    features="cached",
    width=192,
    dilations=(3, 6),
    dropout=0.2,
    lovasz=0.5,
    optimiser="adamw",
    lr=2e-3,
    weight_decay=0.01,
    warmup=0.04,
    clip=None,
    epochs=12,
    batch_size=16,
    sgr=SgrConfig(width=128, tokens=32),
    rsp=RspConfig(kernel=3, finest_stride=8, output="sum"),
    ece=EceConfig(channels=64, finest_stride=8),
)

VOC = Recipe(
    dataset=Dataset(reader="voc", train_list="train_aug"),
    masks=Masks(train_list="train", val_list="val"),
)
"""The field's protocol: ResNet-50 at crop 512, ResNet-101, ImageNet weights. Not yet measured."""

VOC_CPU = Recipe(
    dataset=Dataset(reader="voc"),
    masks=Masks(train_list="train", val_list="val"),
    classify=SMALL_CLASSIFY,
    cams=Cams(scales=(1.0, 1.5, 2.0), competition=1.0),
    walk=Walk(steps=2),
    labels=Labels(background="otsu", power=2.0),
    rescore=Rescore(rounds=2, steps=3),
    edges=Edges(kind="learned"),
    segment=SMALL_SEGMENT,
    evaluate=Evaluate(cost_size=(320, 320)),
    upper_bound=True,
)
"""MobileNetV2, its features frozen and computed once: photos of about 320 pixels, two cores."""

COCO = Recipe(
    dataset=Dataset(reader="coco", val_fraction=0.1),
    masks=Masks(source="instances"),
    segment=Segment(epochs=12),
)
"""The field's protocol on COCO 2014: as voc, 100,000 steps of 10 photos. Not yet measured.

Masks are drawn from the instances files: later objects over earlier ones, 255 where only a crowd
is. The share for val counts only where there is no val split.
"""

COCO_CPU = VOC_CPU.model_copy(
    update={"dataset": COCO.dataset, "masks": COCO.masks, "upper_bound": False}
)
"""COCO with the settings of voc-cpu: for a part of it, on a laptop."""

FOLDER = VOC_CPU.model_copy(
    update={
        "dataset": Dataset(reader="folder", val_fraction=0.1),
        "masks": Masks(),
        "upper_bound": False,
    }
)
"""Your own photos with the settings of voc-cpu: light enough for a laptop."""

RECIPES: dict[str, Recipe] = {
    "demo": DEMO,
    "voc": VOC,
    "voc-cpu": VOC_CPU,
    "coco": COCO,
    "coco-cpu": COCO_CPU,
    "folder": FOLDER,
}
