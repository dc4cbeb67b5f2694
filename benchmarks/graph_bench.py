"""Does a graph over the classes earn its place? Every arm of stage one, over several seeds.

    python -m benchmarks.graph_bench --recipe voc-cpu --dataset.root VOCdevkit/VOC2012
    python -m benchmarks.graph_bench --arms 'no-graph,nodes-*' --seeds 5 --out nodes ...
    python -m benchmarks.graph_bench --list

It takes every flag of a run (--recipe, --runs, --workers, --classify.epochs-head ...); what an arm
changes comes on top. Photos, features and classifiers are stages: what a store has is not made
again, a classifier on frozen features trains in seconds, and the raw maps of all arms and seeds are
scored in one pass over the train photos that have a mask, without a file (`--photos N`: so many of
them). Without masks there is the mAP of the tags alone.

The table (JSON and Markdown) has mean and spread over the seeds, the paired difference to each
control, every class, and a paragraph that is computed from it; masks choose nothing but the column
that says so. It lies in runs/RECIPE-graph-bench/graph-table and, with --out, in OUT.json and
OUT.md. `--dry-run` prints the plan.
"""

import argparse
import fnmatch
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import run_pipeline
from benchmarks import graph_scores, graph_table
from benchmarks.graph_arms import ARMS, changed
from pipeline import cli
from pipeline.graph import Pipeline, Stage, unknown
from pipeline.key import canonical, flattened
from stages.commands.parser import at_least_one
from stages.masks import beside
from stages.recipes import RECIPES, Recipe

COMMAND = "graph-bench"
TABLE = "graph-table"


def main(argv: list[str]) -> int:
    """Run what the arguments ask for and print the table; returns the exit status."""
    asked, rest = _parser().parse_known_args(argv)
    if asked.list:
        for name, arm in ARMS.items():
            print(f"{name:20} {said(arm.changes) or 'nothing'}")
        return 0
    try:
        names = named(asked.arms)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return cli.main(
        [COMMAND, *rest],
        program="python -m benchmarks.graph_bench",
        recipes=RECIPES,
        build=run_pipeline.build,
        pipelines={COMMAND: partial(build, names=names, asked=asked)},
        closing=partial(closing, out=asked.out),
        description=str(__doc__),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--arms", default="*", help="names or patterns, a,b,nodes-*; default: all")
    parser.add_argument(
        "--seeds", type=at_least_one, default=3, help="counted on from --classify.seed"
    )
    parser.add_argument("--photos", type=int, help="score maps on so many photos (default: all)")
    parser.add_argument("--whole-split", action="store_true", help="as `inspect` chooses the score")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md too")
    parser.add_argument("--list", action="store_true", help="say what there is")
    return parser


def named(patterns: str) -> list[str]:
    """The arms that comma-separated names and patterns ("nodes-*") mean, simplest first.

    Raises ValueError for one that means none.
    """
    asked = patterns.split(",")
    for one in asked:
        if not fnmatch.filter(ARMS, one):
            raise ValueError(unknown("arm", one, ARMS))
    return [name for name in ARMS if any(fnmatch.fnmatchcase(name, one) for one in asked)]


def build(recipe: Recipe, *, names: Sequence[str], asked: argparse.Namespace) -> Pipeline:
    """The stages of every arm and seed, then their scores and the table.

    Raises ValueError where the settings refuse what an arm changes.
    """
    plan = Plan(recipe)
    first = recipe.classify.seed
    seeds = tuple(range(first, first + asked.seeds))
    cams = {name: plan.section("cams", name) for name in names}
    for name in names:
        for offset, seed in enumerate(seeds):
            plan.train(name, seed, offset)
    settings = {"photos": asked.photos, "whole_split": asked.whole_split}
    scores = graph_scores.Config(arms=cams, seeds=seeds, **settings)
    reads = {"index": "index", "masks": "masks", **plan.made}
    listed = tuple(_listed(name, names) for name in names)
    table = graph_table.Config(arms=listed, seeds=seeds)
    trained = {name: stage for name, stage in plan.made.items() if name.startswith("classify-")}
    seen = {"graph-scores": "graph-scores", **trained}
    return Pipeline(
        [
            *plan.stages.values(),
            Stage("graph-scores", "benchmarks.graph_scores", "cams", scores, reads),
            Stage(TABLE, "benchmarks.graph_table", "cams", table, seen),
        ]
    )


class Plan:
    """The stages of all arms; what several of them share is there once."""

    def __init__(self, recipe: Recipe) -> None:
        """Photos and masks, no arm yet."""
        found = beside(recipe.masks, recipe.dataset.root)
        self.recipe = recipe
        self.stages = {
            "index": Stage("index", "stages.index", "dataset", recipe.dataset),
            "masks": Stage("masks", "stages.masks", "masks", found, ("index",)),
        }
        self.made: dict[str, str] = {}
        """classify-ARM-SEED or graph-ARM-SEED -> the stage that makes it."""
        self._known: dict[str, str] = {}

    def section(self, name: str, arm: str) -> Any:
        """The settings of a section as the arm changes them."""
        return changed(getattr(self.recipe, name), ARMS[arm].changes.get(name, {}))

    def train(self, arm: str, seed: int, offset: int) -> None:
        """Graph, features and classifier of one arm and seed.

        A random graph is another one with every seed: the spread of a control is to hold its luck.
        """
        graph = self.section("graph", arm)
        classify = changed(self.section("classify", arm), {"seed": seed})
        if graph.relation in ("random", "permuted") or graph.embeddings == "random":
            graph = changed(graph, {"seed": graph.seed + offset})
        own, name = f"graph-{arm}-{seed}", f"classify-{arm}-{seed}"
        self.made[own] = self._stage(Stage(own, "stages.graph", "graph", graph, ("index",)))
        reads = {"index": "index", "graph": self.made[own]}
        for one in run_pipeline.features(classify):
            reads[one.name] = self._stage(replace(one, name=f"{one.name}-{arm}-{seed}"))
        trained = Stage(name, "stages.classify", "classify", classify, reads)
        self.made[name] = self._stage(trained)

    def _stage(self, stage: Stage) -> str:
        """The name of `stage`, or of the one that is the same."""
        key = json.dumps([stage.module, canonical(stage.config), stage.reads], sort_keys=True)
        name = self._known.setdefault(key, stage.name)
        self.stages.setdefault(name, stage)
        return name


def _listed(name: str, names: Sequence[str]) -> graph_table.Listed:
    arm = ARMS[name]
    return graph_table.Listed(
        name=name,
        changes=said(arm.changes),
        against=tuple(other for other in arm.against if other in names),
        control=arm.control,
    )


def said(changes: Mapping[str, Any]) -> str:
    """Changes as flags: "graph.relation text, cams.classifier graph"."""
    flat = flattened(changes)
    return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in flat.items())


def closing(made: Mapping[str, Path], *, out: Path | None) -> str | None:
    """The verdict and where the table is; its copies where they are wanted."""
    if TABLE not in made:
        return None
    folder = made[TABLE]
    if out is not None:
        for kind in ("json", "md"):
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / f"table.{kind}", out.with_suffix(f".{kind}"))
    verdict = json.loads((folder / "table.json").read_text(encoding="utf-8"))["verdict"]
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    arms = table[: next((at for at, line in enumerate(table) if line.startswith("| ap")), None)]
    return "\n".join([*arms, "", verdict, "", f"table: {folder / 'table.md'}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
