"""From photos with tags to pixel masks and a segmentation network, every stage cached.

python run_pipeline.py                                             the built-in demo, on any CPU
python run_pipeline.py --recipe voc --dataset.root VOCdevkit/VOC2012
python run_pipeline.py --recipe folder --dataset.root photos --dataset.tags tags.csv
python run_pipeline.py --from labels --labels.crf.iterations 5      a stage and what follows, anew
python run_pipeline.py --until labels | --only inspect | --force cams | --dry-run
python run_pipeline.py status | why labels | verify | gc
python run_pipeline.py labels --help                               what a stage's settings mean
"""

import sys
from functools import partial
from importlib import import_module

from pipeline import cli
from pipeline.graph import Pipeline, Stage
from stages.headline import headline
from stages.masks import beside
from stages.recipes import RECIPES, Recipe


def build(recipe: Recipe) -> Pipeline:
    """The stages of a recipe. Only scoring and the declared upper bound have an edge to masks.

    Where no folder of masks is known there is no upper bound to train: the run goes on without.
    """

    def stage(name: str, section: str, *inputs: str, **changes: object) -> Stage:
        config = getattr(recipe, section).model_copy(update=changes)
        return Stage(name, f"stages.{name.removesuffix('-masks')}", section, config, inputs)

    found = beside(recipe.masks, recipe.dataset.root)
    trained_on = "masks" if recipe.segment.labels == "masks" else "labels"
    stages = [
        stage("index", "dataset"),
        Stage("masks", "stages.masks", "masks", found, ("index",)),
        stage("graph", "graph", "index"),
        stage("classify", "classify", "index", "graph"),
        stage("cams", "cams", "index", "graph", "classify"),
        stage("labels", "labels", "index", "cams"),
        stage("inspect", "inspect", "index", "masks", "cams", "labels"),
        stage("segment", "segment", "index", "graph", "classify", trained_on),
        stage("evaluate", "evaluate", "index", "masks", "graph", "segment"),
    ]
    if recipe.upper_bound and (found.root is not None or recipe.dataset.reader == "demo"):
        above = ("index", "graph", "classify", "masks")
        stages += [
            stage("segment-masks", "segment", *above, labels="masks"),
            Stage(
                "evaluate-masks",
                "stages.evaluate",
                "evaluate",
                recipe.evaluate,
                {"index": "index", "masks": "masks", "graph": "graph", "segment": "segment-masks"},
            ),
        ]
    stages.append(stage("report", "report", *(one.name for one in stages)))
    return Pipeline(stages)


COMMANDS: tuple[str, ...] = ("score", "export", "predict")
"""Commands beside the pipeline's own; each is `main(argv)` of a module in stages/commands."""


def command(name: str, argv: list[str]) -> int:
    """Run the command `name`; its module may be heavy and is imported only now."""
    status: int = import_module(f"stages.commands.{name}").main(argv)
    return status


def main() -> int:
    """Run the command line; returns the exit status."""
    return cli.main(
        sys.argv[1:],
        program="run_pipeline.py",
        recipes=RECIPES,
        build=build,
        commands={name: partial(command, name) for name in COMMANDS},
        closing=headline,
        description=str(__doc__),
    )


if __name__ == "__main__":
    sys.exit(main())
