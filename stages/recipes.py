"""The named recipes: one section of typed settings a stage, and what each recipe reaches.

The defaults of a section suit the field's protocol; a recipe changes what its data and its machine
ask for. Figures are those of the README, where the commands are; what was not measured says so.
"""

from pydantic import BaseModel, Field

from stages.cams import Config as Cams
from stages.classify import Config as Classify
from stages.evaluate import Config as Evaluate
from stages.graph import Config as Graph
from stages.index import Config as Dataset
from stages.inspect import Config as Inspect
from stages.labels import Config as Labels
from stages.masks import Config as Masks
from stages.report import Config as Report
from stages.segment import Config as Segment


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """Every setting of a run. A section's name is the prefix of its flags: --cams.scales ..."""

    dataset: Dataset = Field(Dataset(), description="photos, tags, classes, splits")
    masks: Masks = Field(Masks(), description="masks to score with, nothing else")
    graph: Graph = Field(Graph(), description="how the classes relate")
    classify: Classify = Field(Classify(), description="the tag classifier")
    cams: Cams = Field(Cams(), description="class activation maps")
    labels: Labels = Field(Labels(), description="pseudo-labels")
    inspect: Inspect = Field(Inspect(), description="quality of the pseudo-labels")
    segment: Segment = Field(Segment(), description="the segmentation network")
    evaluate: Evaluate = Field(Evaluate(), description="scores of the network")
    report: Report = Field(Report(), description="the page about the run")
    upper_bound: bool = Field(
        False, description="also train the same network on masks, shown beside as the upper bound"
    )


RECIPES: dict[str, Recipe] = {
    "demo": Recipe(
        classify=Classify(
            backbone="resnet18",
            weights="scratch",
            frozen_norm=False,
            optimiser="adamw",
            lr=2e-3,
            backbone_lr=2e-3,
            graph_lr=2e-3,
            epochs=16,
            crop=112,
            side=None,
            hidden=256,
        ),
        segment=Segment(
            backbone="resnet18",
            weights="classifier",
            frozen_norm=False,
            optimiser="adamw",
            lr=2e-3,
            backbone_lr=2e-4,
            width=128,
            dilations=(2, 4),
            lovasz=0.5,
            epochs=10,
            batch_size=16,
            crop=112,
        ),
        upper_bound=True,
    ),
}
