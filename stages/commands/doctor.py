"""Check a data set and this machine before a run, and forecast what the run will take.

python run_pipeline.py doctor --dataset.root VOCdevkit/VOC2012
python run_pipeline.py doctor --recipe voc --dataset.root VOCdevkit/VOC2012 --runs /data/runs
python run_pipeline.py doctor --recipe folder --dataset.root photos --dataset.tags tags.csv --json
python run_pipeline.py doctor --dataset.root lists --dry-run           checks, no forecast

It takes every flag of a run. Without --recipe the layout of the data set chooses voc-cpu, coco-cpu
or folder. Every photo and mask is decoded once, the counts of VOC's and COCO's lists are set beside
the known ones, weights and text models are looked for on this machine, and the stages of the run
(those up to --until) are rehearsed on about 20 photos in a folder that is thrown away. Nothing is
downloaded, nothing is written below --runs.

Status 0: nothing prevents the run; 1: something does, and each finding says what to do.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data import doctor
from data.findings import Finding, Level
from data.manifest import Manifest, read_problems
from data.masks import MaskIndex
from pipeline.context import Context
from stages import index, masks
from stages.commands.progress import Bar
from stages.forecast import Cost, Forecast, forecast
from stages.machine import (
    check_crf,
    check_device,
    check_disk,
    check_memory,
    check_text,
    check_weights,
)
from stages.mask_pixels import check_mask_pixels
from stages.nets.weights import check_supervision, read_weights
from stages.rehearsal import Step, few_enough, rehearse, told

DEMO = index.Demo(photos=24, val=8)
"""Scenes that are drawn where the demo is looked at."""


@dataclass(frozen=True)
class Case:
    """What is looked at, and with what."""

    recipe: Any
    """The settings, as `stages.recipes.Recipe`."""
    name: str
    """Of the recipe."""
    stages: Sequence[Step]
    """The stages that a run would go through, in order."""
    runs: Path
    context: Context
    peak: Callable[[], int]
    """Highest memory so far in bytes."""
    probe: bool = True
    """Whether to rehearse the run."""


def look(case: Case, *, as_json: bool) -> int:
    """Print what is found, as text or as one JSON document; returns the exit status."""
    with Bar() as bar, tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        quiet = replace(case, context=replace(case.context, listener=bar))
        findings, cost = examine(quiet, Path(folder))
    ready = all(one.level != "error" for one in findings)
    if as_json:
        found = [one._asdict() for one in findings]
        said = None if cost is None else cost.document()
        document = {"recipe": case.name, "ready": ready, "findings": found, "forecast": said}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        from stages.reports.findings import page

        print(page(case.name, findings, cost))
    return 0 if ready else 1


def examine(case: Case, folder: Path) -> tuple[list[Finding], Forecast | None]:
    """All findings and, where nothing prevents the run, the forecast. `folder` is thrown away."""
    recipe = case.recipe
    findings = [check_device(case.context.device, case.context.precision)]
    findings.append(check_crf(recipe.labels.crf.backend))
    weights = [check_weights(name, getattr(recipe, name)) for name in ("classify", "segment")]
    findings += [one for one in weights if one is not None]
    root = recipe.dataset.root
    if root is not None and root.is_dir() and doctor.lists_only(root):
        return [*findings, *_lists_alone(case)], None
    made: dict[str, Cost] = {}
    findings += _data(case, folder, made)
    if "masks" not in made or any(one.level == "error" for one in findings):
        return findings, None
    manifest = Manifest.read(folder / "index", recipe.dataset.root)
    text = check_text(recipe.graph, manifest.classes)
    findings += [text, *_seen_before(recipe, manifest)]
    if not case.probe or text.level != "ok" or any(one.level == "error" for one in findings):
        return findings, None
    try:
        more, cost = _forecast(case, folder, manifest, made)
    except Exception as error:
        why = f"the stages cannot be rehearsed: {told(error)}"
        return [*findings, Finding("error", "forecast", "rehearsal", why)], None
    return [*findings, *more], cost


def _seen_before(recipe: Any, manifest: Manifest) -> Iterator[Finding]:
    """Initial weights that were trained on masks of this very data set."""
    for section in ("classify", "segment"):
        config = getattr(recipe, section)
        if config.weights != "file" or config.weights_file is None:
            continue
        told = config.weights_supervision
        card = read_weights(config.backbone, config.weights_file, supervision=told).card
        try:
            check_supervision(card, manifest.classes.names)
        except ValueError as error:
            yield Finding("error", "machine", "weights", f"{section}: {error}")


def _lists_alone(case: Case) -> Iterator[Finding]:
    """A folder of lists without photos: the lists, and masks where some are named."""
    dataset = case.recipe.dataset
    root: Path = dataset.root
    yield from doctor.check_lists(index.source(dataset), None)
    found = masks.beside(case.recipe.masks, root)
    if found.root is not None and (root / "train.txt").is_file():
        ids = doctor.voc.list_entries(root / "train.txt")
        paths = [found.root / f"{one}.png" for one in ids]
        yield from check_mask_pixels(paths, workers=case.context.workers)
    text = f"{root} holds lists and no photo: set --dataset.root to the folder that has the photos"
    yield Finding("error", "data", "no-photos", text)


def _data(case: Case, folder: Path, made: dict[str, Cost]) -> Iterator[Finding]:
    """Index and masks in full, below `folder`, and what they and the lists say."""
    config, context = case.recipe.dataset, case.context
    if config.reader == "demo":
        config = config.model_copy(update={"demo": DEMO})
    root = config.root
    place = folder / "index"
    try:
        made["index"] = _timed("index", place, lambda: index.run(config, {}, place, context))
    except Exception as error:  # doctor looks for what ends a run: whatever does, is a finding
        yield Finding("error", "data", "index", told(error))
    manifest = Manifest.read(place, root) if "index" in made else None
    if root is not None and root.is_dir():
        yield from doctor.check_lists(index.source(config), manifest)
        if config.reader == "coco":
            yield from doctor.check_instances_files(root)
    if manifest is None:
        return
    yield from doctor.check_photos(manifest, read_problems(place))
    for path in case.recipe.graph.class_files():
        yield doctor.check_graph_file(manifest.classes, path)
    yield from _masks(case, folder, manifest, made)


def _masks(
    case: Case, folder: Path, manifest: Manifest, made: dict[str, Cost]
) -> Iterator[Finding]:
    config = masks.beside(case.recipe.masks, case.recipe.dataset.root)
    inputs, place = {"index": folder / "index"}, folder / "masks"
    try:
        made["masks"] = _timed(
            "masks", place, lambda: masks.run(config, inputs, place, case.context)
        )
    except Exception as error:
        yield Finding("error", "masks", "masks", told(error))
        return
    found = MaskIndex.of({**inputs, "masks": place}, case.context.places)
    yield from doctor.check_masks(manifest, found, read_problems(place))
    train = [mask for mask in found.masks if mask.split == "train"]
    if doctor.whole_train([mask.id for mask in train]) and not found.by_category:
        paths = [found.folder / mask.path for mask in train]
        yield from check_mask_pixels(paths, workers=case.context.workers)


def _forecast(
    case: Case, folder: Path, manifest: Manifest, made: dict[str, Cost]
) -> tuple[list[Finding], Forecast]:
    inputs = {name: folder / name for name in ("index", "masks")}
    place = folder / "rehearsal"
    first = manifest.path(manifest.split("train")[0])
    count = few_enough(case.stages, first, case.context.device)
    context, peak = case.context, case.peak
    done = rehearse(case.stages, inputs, place, context=context, photos=count, peak=peak)
    wanted = {name: one for name, one in made.items() if name in {s.name for s in case.stages}}
    cost = forecast(done, manifest, case.stages, made=wanted)
    findings = []
    for stage in done.stages:
        if stage.problem:
            level: Level = "error" if stage.kind in ("graph", "classify") else "warning"
            text = f"{stage.name} fails on {cost.photos} photos: {stage.problem}"
            findings.append(Finding(level, "forecast", "rehearsal", text))
    return [*findings, check_disk(case.runs, cost.bytes), check_memory(cost.memory)], cost


def _timed(name: str, out: Path, run: Callable[[], None]) -> Cost:
    out.mkdir(parents=True)
    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    return Cost(name, seconds, sum(p.stat().st_size for p in out.rglob("*") if p.is_file()))
