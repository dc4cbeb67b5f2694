"""Time, memory and disk of a whole run, from a rehearsal on a few of its photos.

What grows with the photos is scaled by their number and their pixels, trainings by their steps; the
start of a stage counts once. The first run on a machine also compiles and downloads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from typing import Any

from data.manifest import Manifest
from data.records import Photo
from stages.rehearsal import Measured, Rehearsal, Step


@dataclass(frozen=True)
class Cost:
    """What one stage is forecast to take."""

    stage: str
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Forecast:
    """What a run is forecast to take, the report and the compiling of a first run left out."""

    photos: int
    """Photos that were rehearsed."""
    stages: tuple[Cost, ...]
    memory: int
    """Highest memory in bytes, at least: that of the rehearsal and of cached features."""

    @property
    def seconds(self) -> float:
        """Of all stages one after the other."""
        return sum((cost.seconds for cost in self.stages), start=0.0)

    @property
    def bytes(self) -> int:
        """On disk, all artifacts together."""
        return sum(cost.bytes for cost in self.stages)

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        totals = {"seconds": round(self.seconds, 1), "bytes": self.bytes}
        return {**asdict(self), **totals}


def forecast(
    rehearsal: Rehearsal,
    whole: Manifest,
    stages: Sequence[Step],
    *,
    made: Mapping[str, Cost],
) -> Forecast:
    """Scale what was measured to the photos of `whole` and to the settings of `stages`.

    `made`: the stages that ran in full, by name.
    """
    scale = Scale(rehearsal.manifest, whole)
    settings = {stage.name: stage.config for stage in stages}
    costs = list(made.values())
    for measured in rehearsal.stages:
        if not measured.problem:
            costs.append(_cost(measured, settings[measured.name], scale))
    cached = [_cached(one, rehearsal, whole) for one in rehearsal.stages]
    memory = rehearsal.peak + max(cached, default=0)
    return Forecast(len(rehearsal.manifest.photos), tuple(costs), memory)


class Scale:
    """How many times as much the whole data set has as the rehearsed photos."""

    def __init__(self, few: Manifest, whole: Manifest) -> None:
        self.few = {split: few.split(split) for split in ("train", "val")}
        self.whole = {split: whole.split(split) for split in ("train", "val")}

    def photos(self, total: int) -> float:
        """The factor on a pass over `total` of the rehearsed photos, by their pixels.

        Passes over as few photos as val has are over val, all others over train.
        """
        split = "val" if 0 < total <= len(self.few["val"]) else "train"
        return self.of(split)

    def of(self, split: str) -> float:
        """The pixels of all photos of `split`, in those of the rehearsed ones."""
        return _pixels(self.whole[split]) / max(1, _pixels(self.few[split]))

    def count(self, split: str) -> int:
        """Photos of `split` in the whole data set."""
        return len(self.whole[split])


def _pixels(photos: Sequence[Photo]) -> int:
    return sum(photo.size[0] * photo.size[1] for photo in photos)


def _cost(measured: Measured, config: Any, scale: Scale) -> Cost:
    steps = iter(_steps(measured, config, scale))
    seconds = measured.rest
    for segment in measured.segments:
        if segment.unit == "steps" and (known := next(steps, None)):
            seconds += segment.taking(known[0]) * known[1]
        else:
            seconds += segment.taking(segment.total * scale.photos(segment.total))
    split = "val" if measured.kind == "evaluate" else "train"
    size = measured.fixed_bytes + round(measured.photo_bytes * scale.of(split))
    return Cost(measured.name, seconds, size)


def _steps(measured: Measured, config: Any, scale: Scale) -> list[tuple[float, float]]:
    """Of every training of the stage: its steps, and how much longer one is than as rehearsed."""
    if measured.kind not in ("classify", "edges", "segment"):
        return []
    photos = scale.count("train")
    if measured.kind == "edges":
        photos = min(photos, config.photos)
    per_epoch = ceil(photos / config.batch_size)
    rehearsed: Any = measured.config
    slower = config.batch_size / min(rehearsed.batch_size, _train(scale))
    epochs = [config.epochs]
    if measured.kind == "classify":
        nodes = config.nodes.epochs if config.nodes.on and config.epochs_head else 0
        epochs = [config.epochs_head, nodes, config.epochs, config.recam.epochs]
    return [(float(n * per_epoch), slower) for n in epochs if n]


def _train(scale: Scale) -> int:
    return max(1, len(scale.few["train"]))


def _cached(measured: Measured, rehearsal: Rehearsal, whole: Manifest) -> int:
    """Bytes of the cached features of all photos beyond those of the rehearsed ones."""
    config: Any = measured.config
    if measured.kind != "segment" or measured.problem or config.features != "cached":
        return 0
    from stages.nets.segmenter import load_segmenter

    network = load_segmenter(rehearsal.folder / measured.name)
    need, had = (
        _kept(network, manifest.split("train"), config) for manifest in (whole, rehearsal.manifest)
    )
    return max(0, need - had)


def _kept(network: Any, photos: Sequence[Photo], config: Any) -> int:
    """Bytes of the maps that a training on `photos` keeps: at all its scales, at one, or none.

    It fits or not by what head `none` would read, as `stages.segment_training` decides it.
    """
    from stages.nets.decoder import levels_read
    from stages.nets.feature_cache import cache_bytes

    least = levels_read(network.backbone.strides, config.head_config())
    for scales in (config.cache_scales, (1.0,)):
        shown = partial(cache_bytes, network, photos, flip=config.flip, scales=scales)
        if shown(least=least) / 2**30 <= config.cache_gib:
            return shown()
    return 0
