"""The pseudo-label of one photo: scores against a background score, dense CRF, ignore band."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Integer, UInt8

from data.cams import Cam, fitting_cam
from data.labels import ignore_in, write_grey, write_label
from data.photos import read_photo
from knowledge.classes import ClassTable
from stages.crf.parameters import CrfParameters
from stages.crf.refine import Item, refine

Unary = Literal["scores", "hard"]


class Thresholds(NamedTuple):
    """Background scores of the complete labelling and of the two that bound its ignore band.

    They multiply the background of `Cam.scores`: beside activations, each divided by its own
    maximum, they are thresholds in (0, 1); beside probabilities, factors around 1 and above.
    """

    full: float
    foreground: float
    """Above `full`: what beats it is surely an object."""
    background: float
    """Below `full`: what loses to it is surely background."""


class Recipe(NamedTuple):
    """How scores become labels."""

    thresholds: Thresholds
    unary: Unary
    power: float
    certainty: float
    crf: CrfParameters
    scale: float | None
    """Factor of the kernels' widths in pixels; None: longest side of the photo / 500."""


@dataclass(frozen=True)
class PseudoLabel:
    """Labels of one photo: 0 background, class index + 1."""

    label: Integer[np.ndarray, "h w"]
    """Sure labels; ignored where the two bounds disagree."""
    full: Integer[np.ndarray, "h w"]
    """The complete labelling, without an ignored pixel."""
    confidence: UInt8[np.ndarray, "h w"]
    """255 times the CRF's probability of the label in `full`."""


class Job(NamedTuple):
    """The files of one photo: decoded from, scored by, written below `out`."""

    id: str
    photo: Path
    cam: Path
    out: Path


def read_item(job: Job, *, recipe: Recipe) -> Item:
    """The CRF's input for one photo, labelled with its job and CAM.

    Raises ValueError naming the file where photo and CAM do not fit or one cannot be read.
    """
    image = read_photo(job.photo)
    cam = fitting_cam(job.cam, (image.shape[0], image.shape[1]))
    return crf_item(image, cam, recipe)._replace(name=job.id, label=(job, cam))


def crf_item(image: UInt8[np.ndarray, "h w 3"], cam: Cam, recipe: Recipe) -> Item:
    """A photo with three labellings at three background scores, which share its lattices."""
    scores = cam.upsampled(cam.scores())
    unaries = [UNARIES[recipe.unary](scores, factor, recipe) for factor in recipe.thresholds]
    scale = max(cam.size) / 500 if recipe.scale is None else recipe.scale
    return Item(image, np.stack(unaries), scale)


def write_pseudo_label(
    refined: tuple[Item, Float32[np.ndarray, "3 k h w"]], *, classes: ClassTable
) -> Job:
    """Write one photo's label, full label and confidence; the label, written last, says so."""
    item, q = refined
    job, cam = item.label
    made = labelled(q, cam)
    write_grey(job.out / "confidence" / f"{job.id}.png", made.confidence)
    write_label(job.out / "full" / f"{job.id}.png", made.full, classes)
    write_label(job.out / f"{job.id}.png", made.label, classes)
    return job


def pseudo_label(image: UInt8[np.ndarray, "h w 3"], cam: Cam, recipe: Recipe) -> PseudoLabel:
    """Label every pixel of a photo by its own classes or background."""
    item = crf_item(image, cam, recipe)
    q = refine(image, item.probabilities, recipe.crf, scale=item.scale)
    return labelled(q, cam)


def labelled(q: Float32[np.ndarray, "3 k h w"], cam: Cam) -> PseudoLabel:
    """Labels from the CRF's probabilities at the three background scores.

    One gives the complete labelling, two bound the band: an object is kept where it wins at the
    high background score, background where it wins at both others' ends, the rest is ignored
    (jiwoon-ahn/irn: step/cam_to_ir_label.py).
    """
    full, foreground, background = cam.labels[q.argmax(axis=1)]
    foreground[(foreground == 0) & (background != 0)] = ignore_in(foreground)
    confidence = np.rint(q[0].max(axis=0) * 255).astype(np.uint8)
    return PseudoLabel(foreground, full, confidence)


def score_unary(
    scores: Float32[np.ndarray, "k1 h w"], background: float, recipe: Recipe
) -> Float32[np.ndarray, "k1 h w"]:
    """Background and class scores, to the `power`: energies in proportion to it."""
    return weighed(scores, background) ** np.float32(recipe.power)


def hard_unary(
    scores: Float32[np.ndarray, "k1 h w"], background: float, recipe: Recipe
) -> Float32[np.ndarray, "k1 h w"]:
    """The winner has probability `certainty`, the others share the rest (IRN's gt_prob)."""
    others = (1 - recipe.certainty) / max(len(scores) - 1, 1)
    probabilities = np.full(scores.shape, others, np.float32)
    winners = weighed(scores, background).argmax(axis=0)[None]
    np.put_along_axis(probabilities, winners, recipe.certainty, axis=0)
    return probabilities


def weighed(
    scores: Float32[np.ndarray, "k1 h w"], background: float
) -> Float32[np.ndarray, "k1 h w"]:
    """`scores` with their background, which is the first of them, times `background`."""
    return np.concatenate([scores[:1] * np.float32(background), scores[1:]])


UNARIES: dict[Unary, Callable[..., np.ndarray]] = {"scores": score_unary, "hard": hard_unary}
