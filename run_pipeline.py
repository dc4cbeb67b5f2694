"""From photos with tags to pixel masks and a segmentation network, every stage cached.

python run_pipeline.py                                             the built-in demo, on any CPU
python run_pipeline.py --recipe voc --dataset.root VOCdevkit/VOC2012
python run_pipeline.py --recipe folder --dataset.root photos --dataset.tags tags.csv
python run_pipeline.py --from labels --labels.crf.iterations 5      a stage and what follows, anew
python run_pipeline.py --until labels | --only inspect | --force cams | --dry-run
python run_pipeline.py status | why labels | verify | gc
python run_pipeline.py graph --show [--graph.relation text]        how the classes relate
python run_pipeline.py compare --heads none,aspp,grm --seeds 3      heads on the same pseudo-labels
python run_pipeline.py compare runs/a runs/b                        finished runs, if that is fair
python run_pipeline.py doctor --dataset.root VOCdevkit/VOC2012     check data and machine, forecast
python run_pipeline.py build --help                                downloads, masks, VOC's server
python run_pipeline.py labels --help                               what a stage's settings mean
"""

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path

from pipeline import cli
from pipeline.commands import Request
from pipeline.context import Context
from pipeline.graph import Pipeline, Stage
from pipeline.key import places
from pipeline.memory import peak_bytes
from pipeline.survey import Survey
from stages.classify import Config as Classify
from stages.features import Config as Features
from stages.headline import headline
from stages.masks import beside, known
from stages.recipes import RECIPES, Recipe


def shared(recipe: Recipe) -> list[Stage]:
    """The stages before any network is trained on labels. Only scoring has an edge to masks."""

    def stage(name: str, section: str, *inputs: str) -> Stage:
        return Stage(name, f"stages.{name}", section, getattr(recipe, section), inputs)

    found = beside(recipe.masks, recipe.dataset.root)
    frozen = features(recipe.classify)
    return [
        stage("index", "dataset"),
        Stage("masks", "stages.masks", "masks", found, ("index",)),
        stage("graph", "graph", "index"),
        *frozen,
        stage("classify", "classify", "index", "graph", *(one.name for one in frozen)),
        stage("cams", "cams", "index", "graph", "classify"),
        *labelling(recipe),
    ]


def features(classify: Classify) -> list[Stage]:
    """Features of the backbone as it came, where the classifier's head is trained on them."""
    if not classify.epochs_head:
        return []
    return [Stage("features", "stages.features", "classify", Features.of(classify), ("index",))]


def labelling(recipe: Recipe) -> list[Stage]:
    """From activation maps to labels: walk, further looks and boundaries where wanted."""
    stages, maps, seen = [], "cams", {"index": "index", "masks": "masks", "cams": "cams"}
    if recipe.walk.steps:
        maps = seen["walk"] = "walk"
        stages.append(
            Stage("walk", "stages.walk", "walk", recipe.walk, ("index", "classify", "cams"))
        )
    reads, scores, learnt = {"index": "index", "cams": maps}, maps, {"index": "index"}
    rounds = recipe.rescore.rounds
    for place in range(max(rounds, recipe.edges.kind == "learned")):
        number = ("first", "second")[place]
        before = seen[number] = f"labels-{number}"
        stages.append(Stage(before, "stages.labels", "labels", recipe.labels, reads))
        learnt = {"index": "index", "classify": "classify", "labels": before}
        if rounds:
            scores = "rescore" if place + 1 == rounds else f"rescore-{number}"
            looked = learnt | {"cams": maps} | ({"first": "labels-first"} if place else {})
            stages.append(Stage(scores, "stages.rescore", "rescore", recipe.rescore, looked))
            seen[scores] = scores
            reads = {"index": "index", "cams": scores, "before": before}
    if recipe.edges.kind != "none":
        walked = {"index": "index", "edges": "edges", "cams": scores}
        seen["spread"] = "spread"
        told = learnt if recipe.edges.kind == "learned" else {"index": "index"}
        stages.append(Stage("edges", "stages.edges", "edges", recipe.edges, told))
        stages.append(Stage("spread", "stages.spread", "spread", recipe.spread, walked))
        reads = reads | {"cams": "spread"}
    seen["labels"] = "labels"
    return [
        *stages,
        Stage("labels", "stages.labels", "labels", recipe.labels, reads),
        Stage("inspect", "stages.inspect", "inspect", recipe.inspect, seen),
    ]


def network(recipe: Recipe, segment: str, evaluate: str, **changes: object) -> list[Stage]:
    """Training and evaluation of one network under these names, with `changes` of its settings.

    With a round of self-training a first network comes before it, whose labels it learns.
    """
    config = recipe.segment.model_copy(update=changes).settled()
    reads = {name: name for name in ("index", "graph", "classify")}
    first: list[Stage] = []
    if config.labels == "masks":
        reads["masks"] = "masks"
    elif recipe.relabel.rounds:
        teacher, taught = f"{segment}-first", segment.replace("segment", "relabel", 1)
        sees = {"index": "index", "graph": "graph", "segment": teacher}
        first = [
            Stage(teacher, "stages.segment", "segment", config, reads | {"labels": "labels"}),
            Stage(taught, "stages.relabel", "relabel", recipe.relabel, sees),
        ]
        reads["labels"] = taught
    else:
        reads["labels"] = "labels"
    scored = {"index": "index", "masks": "masks", "graph": "graph", "segment": segment}
    return [
        *first,
        Stage(segment, "stages.segment", "segment", config, reads),
        Stage(evaluate, "stages.evaluate", "evaluate", recipe.evaluate, scored),
    ]


def bounded(recipe: Recipe) -> bool:
    """Whether an upper bound is wanted and may be trained: some folder of masks is known."""
    found = beside(recipe.masks, recipe.dataset.root)
    return recipe.upper_bound and (known(found) or recipe.dataset.reader == "demo")


def build(recipe: Recipe) -> Pipeline:
    """The stages of a recipe. Only scoring and the declared upper bound have an edge to masks.

    Where no folder of masks is known there is no upper bound to train: the run goes on without.
    """
    stages = [*shared(recipe), *network(recipe, "segment", "evaluate")]
    if bounded(recipe):
        stages += network(recipe, "segment-masks", "evaluate-masks", labels="masks")
    reads = [stage.name for stage in stages]
    return Pipeline([*stages, Stage("report", "stages.report", "report", recipe.report, reads)])


def build_comparison(recipe: Recipe) -> Pipeline:
    """The stages of a recipe with a network for each head and seed, on the same pseudo-labels."""
    compared = recipe.compare.settled(recipe.segment.seed)
    stages = shared(recipe)
    for arm in compared.arms(bounds=bounded(recipe) and recipe.segment.labels != "masks"):
        changes: dict[str, object] = {"head": arm.head, "seed": arm.seed}
        changes |= {"labels": "masks"} if arm.masks else {}
        stages += network(recipe, arm.segment, arm.evaluate, **changes)
    reads = [stage.name for stage in stages]
    return Pipeline([*stages, Stage("compare", "stages.compare", "compare", compared, reads)])


COMMANDS: tuple[str, ...] = ("score", "export", "predict", "compare", "build")
"""Commands beside the pipeline's own; each is `main(argv)` of a module in stages/commands."""


def command(name: str, argv: list[str]) -> int:
    """Run the command `name`; its module may be heavy and is imported only now."""
    status: int = import_module(f"stages.commands.{name}").main(argv)
    return status


def doctor(recipe: Recipe, request: Request) -> int:
    """Check the data set and this machine for a run of `recipe`, and forecast it."""
    from stages.commands.doctor import Case, look

    flags, named = request.options, request.selection().names
    selected = {one for name in named for one in (name, *request.pipeline.above(name))}
    stages = [request.pipeline.stage(name) for name in request.pipeline.order if name in selected]
    found: dict[str, Path] = {}
    for stage in request.pipeline.stages.values():
        found |= places(stage.section, stage.config)
    context = Context(flags.device, flags.precision, max(1, flags.workers), places=found)
    name = request.facts["recipe"]
    case = Case(recipe, name, stages, flags.runs, context, peak_bytes, not flags.dry_run)
    return look(case, as_json=flags.json)


def show_graph(folder: Path, as_json: bool) -> None:
    """Print the class graph in `folder`: `graph --show`."""
    import_module("stages.reports.graph_text").show(folder, as_json)


def advice() -> str:
    """The text of `doctor --help`."""
    return str(import_module("stages.commands.doctor").__doc__)


def meant(tokens: Sequence[str]) -> str | None:
    """The recipe that `doctor` looks at where none is named: by the layout of the data set."""
    pairs = [*pairwise(tokens), *(token.split("=", 1) for token in tokens)]
    given = dict(pair for pair in pairs if len(pair) == 2)
    if "--dataset.reader" in given or "--dataset.root" not in given:
        return None
    root = Path(given["--dataset.root"])
    if not root.is_dir():
        return "folder"
    kind: str = import_module("data.doctor").layout(root)
    return {"voc": "voc-cpu", "coco": "coco-cpu", "folder": "folder"}[kind]


def main() -> int:
    """Run the command line; returns the exit status."""
    return cli.main(
        sys.argv[1:],
        program="run_pipeline.py",
        recipes=RECIPES,
        build=build,
        pipelines={"compare": build_comparison},
        commands={name: partial(command, name) for name in COMMANDS},
        surveys={"doctor": Survey(doctor, advice, meant)},
        shows={"graph": show_graph},
        closing=headline,
        description=str(__doc__),
    )


if __name__ == "__main__":
    sys.exit(main())
