"""Do all engines of the dense CRF give the labels that the run has? Some photos, labelled again."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from data.labels import read_label
from data.manifest import Manifest
from data.records import Photo
from stages.crf.engines import available
from stages.crf.parameters import Backend, CrfParameters
from stages.crf.refine import refine
from stages.pseudo_label import Job, Recipe, Thresholds, labelled, read_item

SCORES = ("spread", "rescore", "walk", "cams")
"""Inputs that labels are made from: the last step that the run has."""


def engine_agreement(
    manifest: Manifest, photos: Sequence[Photo], inputs: Mapping[str, Path]
) -> dict[str, Any] | None:
    """Share of the pixels of `photos` to which each engine gives the label that is stored.

    Counted in the complete labellings and in those with ignored pixels, the lesser of both. An
    engine that is not installed is None. None at all where the labels come from no CRF.
    """
    card = json.loads((inputs["labels"] / "thresholds.json").read_text(encoding="utf-8"))
    if "crf" not in card or not photos:
        return None
    scores = next(inputs[name] for name in SCORES if name in inputs)
    shares = {
        backend: _agreement(manifest, photos, scores, inputs["labels"], recipe_of(card, backend))
        if _installed(backend)
        else None
        for backend in get_args(Backend)
    }
    return {
        "photos": len(photos),
        "made_by": card["crf"]["backend"],
        "mode": card["crf"]["mode"],
        "equal": shares,
    }


def _installed(backend: Backend) -> bool:
    if backend == "pydensecrf":
        return importlib.util.find_spec("pydensecrf") is not None
    return available(backend)[0] == backend


def recipe_of(card: Mapping[str, Any], backend: Backend) -> Recipe:
    """How the labels were made, as their card says, but exactly and by `backend`."""
    thresholds = Thresholds(
        card["threshold"], card["threshold_foreground"], card["threshold_background"]
    )
    unary, crf, scale = card["unary"], dict(card["crf"]), card["crf"]["scale"]
    numbers = {name: crf[name] for name in CrfParameters.model_fields if name in crf}
    parameters = CrfParameters(**(numbers | {"backend": backend, "mode": "exact"}))
    fixed = scale if isinstance(scale, float | int) else None
    return Recipe(thresholds, unary["kind"], unary["power"], unary["certainty"], parameters, fixed)


def _agreement(
    manifest: Manifest, photos: Sequence[Photo], scores: Path, labels: Path, recipe: Recipe
) -> float:
    equal = pixels = 0
    for photo in photos:
        job = Job(photo.id, manifest.path(photo), scores / f"{photo.id}.npz", labels)
        item = read_item(job, recipe=recipe)
        q = refine(item.image, item.probabilities, recipe.crf, scale=item.scale)
        made = labelled(q, item.label[1])
        counts = [
            int(np.count_nonzero(found == read_label(folder / f"{photo.id}.png")))
            for found, folder in ((made.label, labels), (made.full, labels / "full"))
        ]
        equal, pixels = equal + min(counts), pixels + made.full.size
    return equal / pixels
