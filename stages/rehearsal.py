"""Every stage of a run on a handful of its photos: does it work, and how long does a photo take?

The stages run as they would, in a folder that is thrown away, with fewer passes over the photos.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel

from data.manifest import Manifest, write_classes, write_photos, write_problems
from data.masks import MaskIndex
from data.records import Photo
from pipeline.context import Context, Silent
from stages.machine import weights_here
from stages.nets.device import pick_device

PHOTOS = 20
"""Photos of a rehearsal, a fifth of them of val."""
FAST = 0.15
"""Seconds of one photo in the backbone beyond which fewer photos are rehearsed."""
PASSES = {"epochs_head": 4, "epochs": 2}
"""Passes over the photos that trainings rehearse at most."""
AT_ONCE = 4
"""Photos of a training step that is rehearsed on a CPU through the whole network."""
FEWEST = 5
NETS = ("classify", "segment")
"""Kinds of stages that train a network."""
LESS_MEMORY = "close programs, lower --workers or batch sizes, or take a smaller backbone"
UNREHEARSED = ("index", "masks", "report", "compare")
"""Kinds of stages that run in full anyway, or that read what only a whole run leaves."""


@runtime_checkable
class Step(Protocol):
    """A stage of the run, as `pipeline.graph.Stage` describes it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def config(self) -> Any: ...
    @property
    def reads(self) -> dict[str, str]: ...


@dataclass
class Segment:
    """A stretch of work of one kind within a stage: so many photos, so many training steps."""

    unit: str
    total: int
    waited: float
    """Seconds until the first report: what the stage loads and starts, and the first items."""
    first: int
    """Items done at the first report."""
    done: int
    seconds: float = 0.0
    """From the first report to the last."""

    def taking(self, total: int | float) -> float:
        """Seconds for `total` items: the waiting once, the rest at the rate that was measured."""
        left = max(0.0, total - self.first)
        if self.done > self.first:
            return self.waited + left * self.seconds / (self.done - self.first)
        return self.waited * (1 + left / max(self.first, 1))


class Watch(Silent):
    """A listener that keeps the time of every report of progress."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.last = self.began = time.perf_counter()
        self.start = self.began

    def progress(self, done: int, total: int, unit: str) -> None:
        """Note that `done` of `total` are done now."""
        now = time.perf_counter()
        current = self.segments[-1] if self.segments else None
        if current is None or (current.unit, current.total) != (unit, total) or done < current.done:
            self.segments.append(Segment(unit, total, now - self.last, done, done))
            self.start = now
        else:
            current.done, current.seconds = done, now - self.start
        self.last = now


@dataclass
class Measured:
    """What one stage did in the rehearsal."""

    name: str
    kind: str
    config: BaseModel
    """As rehearsed."""
    segments: list[Segment] = field(default_factory=list)
    rest: float = 0.0
    """Seconds after the last report of progress."""
    fixed_bytes: int = 0
    photo_bytes: int = 0
    """Bytes of the files that are one photo's."""
    problem: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Rehearsal:
    """The stages that were rehearsed, on which photos, and where."""

    manifest: Manifest
    """Of the rehearsed photos."""
    stages: tuple[Measured, ...]
    folder: Path
    peak: int
    """Highest memory in bytes."""


def rehearse(
    stages: Sequence[Step],
    inputs: Mapping[str, Path],
    folder: Path,
    *,
    context: Context,
    photos: int = PHOTOS,
    peak: Callable[[], int],
) -> Rehearsal:
    """Run the stages after `index` and `masks`, whose whole artifacts are the `inputs`.

    `folder` takes an artifact a stage. `peak`: highest memory so far, in bytes. A stage that fails
    ends it: what comes after needs it.
    """
    whole = Manifest.of(inputs, context.places)
    made = {**inputs, "index": folder / "index"}
    masked = set(MaskIndex.of(inputs, context.places).ids) if "masks" in inputs else set()
    few = sample(whole, masked, photos)
    _write_index(whole, few, inputs["index"], made["index"])
    manifest = Manifest.of(made, context.places)
    found: list[Measured] = []
    for stage in stages:
        if stage.kind in UNREHEARSED:
            continue
        made[stage.name] = folder / stage.name
        reads = {name: made[source] for name, source in stage.reads.items()}
        found.append(_rehearsed(stage, reads, made[stage.name], context, manifest))
        if found[-1].problem:
            break
    return Rehearsal(manifest, tuple(found), folder, peak())


def sample(manifest: Manifest, masked: set[str], count: int) -> list[Photo]:
    """About `count` photos spread over both splits; those with masks come first, if there are any.

    A fifth is of val. Sorted by id.
    """
    chosen: list[Photo] = []
    for split, wanted in (("train", count - count // 5), ("val", count // 5)):
        photos = manifest.split("train" if split == "train" else "val")
        best = [photo for photo in photos if photo.id in masked]
        pool = best if len(best) >= wanted else photos
        step = max(1, len(pool) // max(wanted, 1))
        chosen += pool[::step][:wanted]
    return sorted(chosen, key=lambda photo: photo.id)


def few_enough(stages: Sequence[Step], photo: Path, device: str) -> int:
    """How many photos to rehearse: fewer where the slowest backbone takes long over `photo`.

    Raises what the backbone raises: ValueError for settings, MemoryError or RuntimeError.
    """
    import torch

    from data.photos import read_photo
    from stages.nets.backbone import Backbone

    nets = {(one.config.backbone, one.config.output_stride) for one in stages if one.kind in NETS}
    images = torch.from_numpy(np.array(read_photo(photo))).permute(2, 0, 1)[None]
    place, slowest = pick_device(device), 0.0
    for name, stride in sorted(nets):
        backbone = Backbone(name, output_stride=stride).eval().to(place)
        for _ in range(2):  # the second time, nothing is set up any more
            begun = time.perf_counter()
            with torch.inference_mode():
                float(backbone(images.to(place))[-1].sum())
            seconds = time.perf_counter() - begun
        slowest = max(slowest, seconds)
    return PHOTOS if slowest <= FAST else max(FEWEST, round(PHOTOS * FAST / slowest))


def _write_index(whole: Manifest, few: Sequence[Photo], index: Path, out: Path) -> None:
    out.mkdir(parents=True)
    write_classes(out, whole.classes)
    write_photos(out, few)
    write_problems(out, [])
    for place in index.iterdir():  # the demo's own photos and masks
        if place.is_dir():
            (out / place.name).symlink_to(place, target_is_directory=True)


def _rehearsed(
    stage: Step, reads: Mapping[str, Path], out: Path, context: Context, manifest: Manifest
) -> Measured:
    measured = Measured(stage.name, stage.kind, smaller(stage.kind, stage.config, context.device))
    out.mkdir(parents=True)
    watch = Watch()
    try:
        run = import_module(stage.module).run
        run(measured.config, reads, out, replace(context, listener=watch))
    except Exception as error:  # a rehearsal is there to find out: whatever it is, is a finding
        measured.problem = told(error)
    measured.segments, measured.rest = watch.segments, time.perf_counter() - watch.last
    ids = {photo.id for photo in manifest.photos}
    for path in (one for one in out.rglob("*") if one.is_file()):
        below = path.relative_to(out).with_suffix("").as_posix()
        of_photo = any(below == one or below.endswith(f"/{one}") for one in ids)
        size = path.stat().st_size
        measured.photo_bytes += size if of_photo else 0
        measured.fixed_bytes += 0 if of_photo else size
    return measured


def told(error: Exception) -> str:
    """What to tell of an error: its own words where it was foreseen, its kind too where not."""
    words = ("allocate memory", "out of memory")  # torch raises RuntimeError for both
    if isinstance(error, MemoryError) or any(word in str(error) for word in words):
        return f"the memory does not suffice ({type(error).__name__}: {error}): {LESS_MEMORY}"
    if isinstance(error, ValueError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def smaller(kind: str, config: Any, device: str) -> Any:
    """The settings of a rehearsal: fewer passes and, for whole networks on a CPU, fewer photos.

    Nothing is fetched: where timm's weights are not on this machine, random ones take as long.
    """
    if kind not in ("features", *NETS):
        return config
    if config.weights == "imagenet" and not weights_here(config.backbone):
        config = config.model_copy(update={"weights": "scratch", "frozen_norm": False})
    if kind == "features":
        return config
    fields = type(config).model_fields
    changes = {name: min(n, getattr(config, name)) for name, n in PASSES.items() if name in fields}
    along = config.epochs > 0 if kind == "classify" else config.features == "trained"
    if along and on_cpu(device):
        changes["batch_size"] = min(AT_ONCE, config.batch_size)
    return config.model_copy(update=changes)


def on_cpu(device: str) -> bool:
    """Whether networks run on the CPU where `--device` is `device`."""
    return pick_device(device).type == "cpu"
