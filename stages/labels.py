"""Which pixel is what? Background score, dense CRF over a photo's own classes, ignore band.

    python run_pipeline.py --from labels --labels.crf.set psa_seam --labels.crf.iterations 5

Reads the artifacts of `index` (photos and tags) and `cams` (activation maps, or the probabilities
of `rescore`, with the labels of the round before as `before`; either as `spread` left them); never
a mask. Writes, a photo each,

- <id>.png: labels to train on, palette PNG, 0 background, 1..C classes, 255 ignored;
- full/<id>.png: the complete labelling, nothing ignored, on which quality is measured;
- confidence/<id>.png: grey PNG, 255 times the CRF's probability of the label in full/;

and thresholds.json: the background scores in force and how they were chosen.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from pipeline.context import Context
from pipeline.parallel import map_unordered
from stages.crf.parameters import CrfParameters
from stages.normalisation import MAXIMA, PROBABILITIES

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int64

    from data.records import Photo
    from knowledge.classes import ClassTable
    from stages.pseudo_label import Job, Recipe

VERSION = 1

CHUNK = 256
"""CAM files that one worker reads for the score histogram at a time."""
CHOSEN = {
    "li": "Li's minimum cross entropy over the score maps of all train photos, without masks",
    "otsu": "Otsu over the score maps of all train photos, without masks",
    "fixed": "set by hand (--labels.threshold)",
}
AGREEING = (
    "the factor on the probability of the background whose labels agree most with the labels of "
    "the round before, without masks"
)


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the pseudo-labels. A score is a class map divided by its own maximum: 0 to 1."""

    background: Literal["li", "otsu", "fixed"] = Field(
        "li",
        description="background score: one threshold over all photos, by minimum cross entropy "
        "(li) or variance (otsu), or `threshold` (fixed); none of them sees a mask",
    )
    threshold: float = Field(
        0.25, gt=0, lt=1, description="background score of --labels.background fixed, 0 to 1"
    )
    foreground_factor: float = Field(
        1.67, ge=1, description="times the background score: what beats it is surely an object"
    )
    background_factor: float = Field(
        0.48, gt=0, le=1, description="times the background score: below is surely background"
    )
    unary: Literal["scores", "hard"] = Field(
        "scores", description="CRF input: scores to the `power`, or the winner at `certainty`"
    )
    power: float = Field(1.0, gt=0, description="exponent of the scores; energies grow with it")
    certainty: float = Field(
        0.7, gt=0.5, lt=1, description="probability of the winner for --labels.unary hard"
    )
    scale: float | None = Field(
        None, gt=0, description="factor of the CRF's widths; None: longest side / 500 pixels"
    )
    crf: CrfParameters = Field(CrfParameters(), description="set and numbers of the dense CRF")


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Label all train photos; those whose label is already in `out` are left as they are.

    Raises:
        FileNotFoundError: a photo or CAM is missing.
        ValueError: a photo or CAM cannot be used, or the score maps know no threshold.
    """
    from data.files import replacing
    from data.manifest import Manifest
    from stages.pseudo_label import Job

    manifest = Manifest.of(inputs, context.places)
    photos, cams = manifest.split("train"), inputs["cams"]
    _check_places({photo.id for photo in photos})
    full, card = _background(config, photos, inputs, len(manifest.classes.names), context.workers)
    recipe = _recipe(config, full)
    if context.rank == 0:
        with replacing(out / "thresholds.json") as path:
            path.write_text(json.dumps(_card(config, recipe) | card, indent=1) + "\n")
    # Photos of one size in a row share the smoothness kernel.
    mine = sorted(context.mine(photos), key=lambda photo: (photo.size, photo.id))
    todo = [photo for photo in mine if not _labelled(out, photo.id)]
    jobs = (Job(photo.id, manifest.path(photo), cams / f"{photo.id}.npz", out) for photo in todo)
    done = _write(jobs, recipe, manifest.classes, context)
    for _ in context.track(done, total=len(mine), done=len(mine) - len(todo)):
        pass


def _write(
    jobs: "Iterator[Job]", recipe: "Recipe", classes: "ClassTable", context: Context
) -> "Iterator[Job]":
    """Read, refine and write in three streams of threads: photos that are done, in order."""
    from stages.crf.engines import available
    from stages.crf.refine import refine_many
    from stages.crf.threads import in_order
    from stages.pseudo_label import read_item, write_pseudo_label

    backend, said = available(recipe.crf.backend)
    if said:
        context.note(said)
    crf = recipe.crf.model_copy(update={"backend": backend})
    items = in_order(partial(read_item, recipe=recipe), jobs, workers=context.workers)
    refined = refine_many(items, crf, workers=context.workers, device=context.device)
    write = partial(write_pseudo_label, classes=classes)
    return in_order(write, refined, workers=context.workers)


def _check_places(ids: set[str]) -> None:
    """Raise ValueError where the label of one photo would lie where another's full label does."""
    for identity in sorted(ids):
        for folder in ("full", "confidence"):
            if f"{folder}/{identity}" in ids:
                raise ValueError(
                    f"the photos {identity!r} and '{folder}/{identity}' would share one label "
                    f"file: rename the folder {folder!r} of the data set"
                )


def _labelled(out: Path, identity: str) -> bool:
    """Whether a photo has all its files: a repaired artifact may lack any one of them."""
    folders = (out, out / "full", out / "confidence")
    return all((folder / f"{identity}.png").exists() for folder in folders)


def _histogram(cams: Sequence[Path], workers: int) -> "Int64[np.ndarray, ' q']":
    """Pixels by score over all photos of the split, whatever share of them this rank labels."""
    from stages.thresholds import read_histogram

    chunks = [cams[start : start + CHUNK] for start in range(0, len(cams), CHUNK)]
    counts = map_unordered(
        read_histogram, chunks, workers=min(workers, len(chunks)), name=lambda _: "score histogram"
    )
    return sum(counts, start=read_histogram(()))


def _background(
    config: Config,
    photos: "Sequence[Photo]",
    inputs: Mapping[str, Path],
    classes: int,
    workers: int,
) -> tuple[float, dict[str, Any]]:
    """The background score and how it was chosen; a factor where the scores are probabilities."""
    cams = inputs["cams"]
    if "before" in inputs:
        return _agreeing(cams, inputs["before"], photos, classes + 1, workers)
    from stages.thresholds import METHODS, shares

    counts = _histogram([cams / f"{photo.id}.npz" for photo in photos], workers)
    full = config.threshold if config.background == "fixed" else METHODS[config.background](counts)
    return full, {
        "normalisation": MAXIMA,
        "chosen": CHOSEN[config.background],
        "histogram": shares(counts),
    }


def _agreeing(
    cams: Path, before: Path, photos: "Sequence[Photo]", classes: int, workers: int
) -> tuple[float, dict[str, Any]]:
    from stages.agreement import FACTORS, Pair, best_factor, confusions

    pairs = [
        Pair(cams / f"{photo.id}.npz", before / "full" / f"{photo.id}.png") for photo in photos
    ]
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    found = map_unordered(
        partial(confusions, classes=classes),
        chunks,
        workers=min(workers, len(chunks)),
        name=lambda _: "agreement with the labels before",
    )
    factor, agreement = best_factor(sum(found, start=confusions((), classes=classes)))
    return factor, {
        "normalisation": PROBABILITIES,
        "chosen": AGREEING,
        "agreement": dict(zip(map(str, FACTORS), agreement, strict=True)),
    }


def _recipe(config: Config, full: float) -> "Recipe":
    from stages.pseudo_label import Recipe, Thresholds

    thresholds = Thresholds(full, full * config.foreground_factor, full * config.background_factor)
    return Recipe(
        thresholds, config.unary, config.power, config.certainty, config.crf, config.scale
    )


def _card(config: Config, recipe: "Recipe") -> dict[str, Any]:
    """What thresholds.json holds besides how the background score was chosen."""
    return {
        "threshold": recipe.thresholds.full,
        "threshold_foreground": recipe.thresholds.foreground,
        "threshold_background": recipe.thresholds.background,
        "masks_used": 0,
        "unary": {"kind": recipe.unary, "power": recipe.power, "certainty": recipe.certainty},
        "crf": {
            "set": config.crf.set,
            **config.crf.numbers()._asdict(),
            "normalization": config.crf.normalization,
            "scale": config.scale or "longest side / 500",
            "backend": config.crf.backend,
            "mode": config.crf.mode,
        },
    }
