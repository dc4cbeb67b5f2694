"""Would another strength of the CRF do better, and could one know it without a mask?

Labels of a sample of photos are made again at many settings from the scores that the run has.
Criteria that need no mask each choose a setting. Masks, where there are some, say afterwards how
far each choice is from the best: a diagnostic, which no choice reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from data.manifest import Manifest
from data.masks import MaskIndex
from data.photos import read_photo
from data.records import Photo
from pipeline.parallel import map_unordered
from stages.inspect import Calibration
from stages.quality.criteria import SHOWN, TRUTH, Counts, counts, mean_overlap
from stages.quality.summary import plain
from stages.quality.trials import Grid, Source, grid_of, in_force, sources_of, tried

NEAR = 0.005
"""mIoU that a criterion may be behind the best at every step and still be said to follow it."""


def calibration(
    config: Calibration,
    manifest: Manifest,
    masks: MaskIndex,
    inputs: Mapping[str, Path],
    *,
    workers: int,
) -> dict[str, Any] | None:
    """The sweep over a sample of the train photos; None where no labels come from a CRF.

    Raises FileNotFoundError or ValueError where a photo, its scores, labels or mask cannot be read.
    """
    photos, sources = sample(manifest.split("train"), config), sources_of(inputs)
    if not photos or not sources:
        return None
    grid = grid_of(sources[-1], config.sets, config.powers, config.factors)
    by_id = {mask.id: mask for mask in masks.masks}
    jobs = [
        _Job(place, photo, replace(masks, masks=(by_id[photo.id],)) if photo.id in by_id else None)
        for place, photo in enumerate(photos)
    ]
    measure = _Measure(manifest, sources, grid)
    found = dict(map_unordered(measure, jobs, workers=workers, name=lambda job: job.photo.id))
    ordered = [found[place] for place in range(len(photos))]
    tags = sum(len(photo.tags) for photo in photos)
    steps = [
        _figures(source.name, [one[at] for one in ordered], tags, grid, in_force(grid, source))
        for at, source in enumerate(sources)
    ]
    return {
        "photos": len(photos),
        "photos_with_mask": sum(job.masks is not None for job in jobs),
        "seed": config.seed,
        "criteria": SHOWN,
        "settings": [setting._asdict() for setting in grid.settings],
        "steps": steps,
        "follows": following(steps),
        "verdict": verdict(steps),
    }


def sample(photos: Sequence[Photo], config: Calibration) -> list[Photo]:
    """Photos drawn by the seed, in the order of the split, whether they have masks or not."""
    count = min(config.photos, len(photos))
    drawn = np.random.default_rng(config.seed).permutation(len(photos))[:count]
    return [photos[place] for place in sorted(drawn.tolist())]


@dataclass(frozen=True)
class _Job:
    place: int
    photo: Photo
    masks: MaskIndex | None
    """The photo's own mask only: an index of thousands would be sent along with each photo."""


@dataclass(frozen=True)
class _Measure:
    """Sweeps one photo and counts; travels to worker processes."""

    manifest: Manifest
    sources: Sequence[Source]
    grid: Grid

    def __call__(self, job: _Job) -> tuple[int, list[Counts]]:
        photo, steps = job.photo, len(self.grid.factors)
        image = read_photo(self.manifest.path(photo))
        trials = tried(image, photo, self.sources, self.grid)
        truth = None if job.masks is None else job.masks.read(photo)
        found = []
        for at, (source, one) in enumerate(zip(self.sources, trials, strict=True)):
            seen = {"unrefined": [one.unrefined[s % steps] for s in range(len(one.labels))]}
            if source.before is not None:
                seen["before"] = [source.before.label(photo)]
            if len(trials) > 1:
                seen["others"] = list(trials[at - 1].labels)
            if truth is not None:
                seen[TRUTH] = [truth]
            classes = len(self.manifest.classes.names) + 1
            found.append(counts(image, one, seen, classes=classes))
        return job.place, found


def _figures(name: str, found: Sequence[Counts], tags: int, grid: Grid, own: int) -> dict[str, Any]:
    """Criteria at each setting, what each chooses, and how far that is from the best with masks."""
    values = criteria(found, tags)
    scored = [one.overlaps[TRUTH] for one in found if TRUTH in one.overlaps]
    miou = mean_overlap(np.sum(scored, axis=0)) if scored else np.full(len(grid.settings), np.nan)
    best = None if np.isnan(miou).all() else int(np.nanargmax(miou))
    choices = {}
    for criterion, value in values.items():
        place = chosen(value, own)
        choices[criterion] = {
            "setting": place,
            "behind_best_with_masks": None if best is None else float(miou[best] - miou[place]),
            "rank_correlation_with_masks": None if best is None else rank_correlation(value, miou),
        }
    return {
        "step": name,
        "in_force": own,
        "values": {criterion: _plain(value) for criterion, value in values.items()},
        "chosen": choices,
        "masks_choose_nothing": True,
        "miou": _plain(miou),
        "best_with_masks": best,
        "in_force_behind_best_with_masks": None if best is None else float(miou[best] - miou[own]),
    }


def criteria(found: Sequence[Counts], tags: int) -> dict[str, Float64[np.ndarray, " s"]]:
    """Each criterion at each setting over all photos, in the order of `SHOWN`; never a mask."""
    edges = np.stack([one.edges for one in found])
    seen = (~np.isnan(edges)).sum(axis=0)
    undefined = np.full(seen.shape, np.nan)
    values = {
        "painted": np.sum([one.painted for one in found], axis=0) / max(tags, 1),
        "edges": np.divide(np.nansum(edges, axis=0), seen, out=undefined, where=seen > 0),
        "sure": np.mean([one.sure for one in found], axis=0),
    }
    for name in found[0].overlaps:
        if name in SHOWN:
            values[name] = mean_overlap(np.sum([one.overlaps[name] for one in found], axis=0))
    return {name: values[name] for name in SHOWN if name in values}


def chosen(value: Float64[np.ndarray, " s"], own: int) -> int:
    """The setting of the highest value: that in force if it is one of them, else the first."""
    known = np.nan_to_num(value, nan=-np.inf)
    return own if known[own] == known.max() else int(known.argmax())


def rank_correlation(
    first: Float64[np.ndarray, " s"], second: Float64[np.ndarray, " s"]
) -> float | None:
    """Spearman's, equal values sharing their mean rank; None where one side does not vary."""
    from scipy.stats import rankdata

    known = ~(np.isnan(first) | np.isnan(second))
    if known.sum() < 2 or np.ptp(first[known]) == 0 or np.ptp(second[known]) == 0:
        return None
    return float(np.corrcoef(rankdata(first[known]), rankdata(second[known]))[0, 1])


def following(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Criteria that choose within `NEAR` of the best at every step; a diagnostic of the masks."""
    names = [name for name in SHOWN if all(name in step["chosen"] for step in steps)]
    return [name for name in names if max(_behind(steps, name)) <= NEAR]


def _behind(steps: Sequence[Mapping[str, Any]], name: str) -> Iterator[float]:
    for step in steps:
        behind = step["chosen"][name]["behind_best_with_masks"]
        yield np.inf if behind is None else behind


def verdict(steps: Sequence[Mapping[str, Any]]) -> str:
    """What the sweep shows, in a sentence."""
    if any(step["best_with_masks"] is None for step in steps):
        return "no photo of the sample has a mask: how far the choices are from the best is unknown"
    own = 100 * max(step["in_force_behind_best_with_masks"] for step in steps)
    kept = f"what is in force is at most {own:.1f} points of mIoU behind the best with masks"
    found = following(steps)
    if not found:
        return f"no criterion follows the score here; {kept}"
    said = ", ".join(SHOWN[name] for name in found)
    return f"within {100 * NEAR:g} points of the best with masks at every step: {said}; {kept}"


def _plain(values: Float64[np.ndarray, " s"]) -> list[float | None]:
    return [plain(value) for value in values]
