"""Labels of one photo at every setting of a sweep, all from the same lattices and score files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer, UInt8

from data.cams import fitting_cam
from data.records import Photo
from stages.crf.lattice import Lattice
from stages.crf.parameters import CrfParameters, SetName
from stages.pseudo_label import UNARIES, Recipe, weighed
from stages.quality.engines import SCORES, recipe_of
from stages.quality.steps import Step

SURE = 0.9
"""Least probability of a label that counts as sure."""


class Setting(NamedTuple):
    """What a sweep changes of the way from scores to labels."""

    set: SetName
    power: float
    """Of the unary: the CRF is the weaker, the greater it is."""
    factor: float
    """Times the background score in force."""


@dataclass(frozen=True)
class Source:
    """One stage of labels in a run: its scores, how it labelled them, what there was before."""

    name: str
    scores: Path
    recipe: Recipe
    before: Step | None
    """The step that these labels followed, whose scores are others; None without one."""


@dataclass(frozen=True)
class Grid:
    """The settings of a sweep. All combinations, in the order of `settings`."""

    crfs: Mapping[SetName, CrfParameters]
    """Under the name of its set, the first with the numbers in force."""
    powers: tuple[float, ...]
    factors: tuple[float, ...]

    @property
    def settings(self) -> list[Setting]:
        """All combinations; those of one lattice follow each other."""
        return [
            Setting(name, power, factor)
            for name in self.crfs
            for power in self.powers
            for factor in self.factors
        ]


class Trials(NamedTuple):
    """What a sweep of s settings made of the scores of one source."""

    labels: Integer[np.ndarray, "s h w"]
    """Complete labellings: 0 background, class index + 1."""
    unrefined: Integer[np.ndarray, "f h w"]
    """The scores' winners without CRF, at each factor of the grid."""
    sure: Float32[np.ndarray, " s"]
    """Share of the pixels whose label has a probability of `SURE` or more."""


def sources_of(inputs: Mapping[str, Path]) -> list[Source]:
    """The stages of labels among a stage's inputs, in the order of the flow.

    Stages whose labels come from no CRF are left out.
    """
    maps = inputs["walk"] if "walk" in inputs else inputs["cams"]
    last = next(inputs[name] for name in SCORES if name in inputs)
    scores = {"first": maps, "second": inputs.get("rescore-first", maps), "labels": last}
    found, before = [], None
    for name in ("first", "second", "labels"):
        if name not in inputs:
            continue
        card = json.loads((inputs[name] / "thresholds.json").read_text(encoding="utf-8"))
        if before is None and "walk" in inputs:
            before = Step("cams", inputs["cams"], card["threshold"])
        if "crf" in card:
            recipe = recipe_of(card, card["crf"]["backend"])
            found.append(Source(name, scores[name], recipe, before))
        before = Step(name, inputs[name], None)
    return found


def grid_of(
    source: Source, sets: Sequence[SetName], powers: Sequence[float], factors: Sequence[float]
) -> Grid:
    """The grid around what `source` has in force, which is always a part of it."""
    recipe = source.recipe
    own = {recipe.crf.set: recipe.crf}
    technical = recipe.crf.model_dump(include={"normalization", "backend", "mode", "margin"})
    named = {name: CrfParameters(set=name, **technical) for name in sets if name not in own}
    kept = {recipe.power, *powers} if recipe.unary == "scores" else {recipe.power}
    return Grid(own | named, tuple(sorted(kept)), tuple(sorted({1.0, *factors})))


def in_force(grid: Grid, source: Source) -> int:
    """Place of the setting that the labels of the run were made with."""
    return grid.settings.index(Setting(next(iter(grid.crfs)), source.recipe.power, 1.0))


def tried(
    image: UInt8[np.ndarray, "h w 3"], photo: Photo, sources: Sequence[Source], grid: Grid
) -> list[Trials]:
    """Label a photo at every setting of `grid`, from the scores of each source.

    The lattices of a photo are built once for each set of the CRF's widths: powers, factors and
    sources share them.
    """
    cams = [fitting_cam(one.scores / f"{photo.id}.npz", photo.size) for one in sources]
    scores = [cam.upsampled(cam.scores()) for cam in cams]
    names = cams[0].labels
    labels: list[list[np.ndarray]] = [[] for _ in sources]
    sure: list[list[float]] = [[] for _ in sources]
    for at, q in _refined(image, scores, sources, grid):
        labels[at].extend(names[q.argmax(axis=1)])
        sure[at].extend((q.max(axis=1) >= SURE).mean(axis=(1, 2)))
    unrefined = [
        [names[weighed(given, score).argmax(axis=0)] for score in _cuts(one, grid)]
        for one, given in zip(sources, scores, strict=True)
    ]
    return [
        Trials(np.stack(labels[at]), np.stack(unrefined[at]), np.array(sure[at], np.float32))
        for at in range(len(sources))
    ]


def _refined(
    image: UInt8[np.ndarray, "h w 3"],
    scores: Sequence[Float32[np.ndarray, "k h w"]],
    sources: Sequence[Source],
    grid: Grid,
) -> Iterator[tuple[int, Float32[np.ndarray, "f k h w"]]]:
    """Place of a source and its label probabilities at all factors, for each set and power."""
    fixed = sources[0].recipe.scale
    scale = max(image.shape[:2]) / 500 if fixed is None else fixed
    for crf in grid.crfs.values():
        lattice = Lattice(image, crf, scale=scale)
        for power in grid.powers:
            for at, (one, given) in enumerate(zip(sources, scores, strict=True)):
                recipe = one.recipe._replace(power=power)
                unaries = [UNARIES[recipe.unary](given, cut, recipe) for cut in _cuts(one, grid)]
                yield at, lattice.refine(np.stack(unaries))


def _cuts(source: Source, grid: Grid) -> list[float]:
    return [source.recipe.thresholds.full * factor for factor in grid.factors]
