"""How good are the pseudo-labels? Measured with masks where there are some, and always without.

    python run_pipeline.py --only inspect

Reads the artifacts of `index`, `masks`, `cams` and `labels`, and those of `walk`, `rescore`,
`spread` and the labels before the last where the run has them; writes

- quality.json: every figure over the whole train split, with the card that it needs (split, hash of
  the masks, number of photos, definition of the metric, how each threshold was chosen);
- photos.jsonl: one row a photo with its own figures, for lists of worst and best photos.

No setting of any other stage depends on this one: masks are looked at here, nothing is chosen here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, PositiveFloat

from pipeline.context import Context
from stages.crf.parameters import SetName

if TYPE_CHECKING:
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from data.records import Photo
    from stages.quality.summary import Background

VERSION = 1


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """Settings of the sweep over how labels are made; all combinations, and those in force."""

    photos: int = Field(
        0,
        ge=0,
        description="photos, drawn by the seed, whose labels are made again at every setting; 0 "
        "leaves the sweep out",
    )
    seed: int = Field(0, ge=0, description="of the drawn photos")
    sets: tuple[SetName, ...] = Field(
        ("irn_label", "psa_seam", "toco_pseudo"), description="named sets of the CRF's numbers"
    )
    powers: tuple[PositiveFloat, ...] = Field(
        (0.5, 1.0, 1.5, 2.0, 3.0), description="exponents of the scores; the CRF gets weaker"
    )
    factors: tuple[PositiveFloat, ...] = Field(
        (0.71, 1.0, 1.41), description="times the background score in force"
    )


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the quality measures; none of them changes a pseudo-label."""

    bins: int = Field(256, ge=16, le=1024, description="steps of the threshold sweep over 0..1")
    boundary: float = Field(
        0.02, gt=0, le=0.2, description="band width of the boundary IoU, share of the diagonal"
    )
    listed: int = Field(12, ge=1, le=100, description="photos named in each worst and best list")
    engines: int = Field(
        0,
        ge=0,
        description="photos that every CRF engine labels again, to say how many pixels agree with "
        "the labels: some seconds each",
    )
    calibration: Calibration = Field(
        Calibration(), description="a sweep over the CRF's strength and the background score"
    )


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Measure every train photo once and write quality.json and photos.jsonl below `out`.

    Raises:
        FileNotFoundError: a pseudo-label or CAM of a train photo is missing.
        ValueError: a mask, label or CAM of a photo has another size than the photo.
    """
    from data.files import replacing, write_lines
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from stages.quality.measured import Measure, mask_card, measured
    from stages.quality.steps import step_scores, steps_of
    from stages.quality.summary import Summary

    manifest = Manifest.of(inputs, context.places)
    masks = MaskIndex.of(inputs, context.places)
    photos = manifest.split("train")
    measure = Measure(
        cams=inputs["cams"],
        labels=inputs["labels"],
        classes=len(manifest.classes.names),
        bins=config.bins,
        boundary=config.boundary,
    )
    summary = Summary(manifest, config.bins, _background(inputs, photos))
    found = measured(measure, photos, masks, workers=context.workers)
    for photo, quality in context.track(found, total=len(photos)):
        summary.add(photo, quality)
    figures = {
        **summary.figures(config.listed),
        **mask_card(photos, masks),
        "steps": step_scores(
            steps_of(inputs),
            photos,
            masks,
            classes=len(manifest.classes.names) + 1,
            workers=context.workers,
        ),
        "boundary": f"bands of {config.boundary:g} of the diagonal, chessboard distance",
        "miou_of": "the complete labelling before the ignore band (labels/full)",
    }
    if config.engines:
        figures["crf_engines"] = _engines(config.engines, manifest, inputs, context)
    if config.calibration.photos:
        figures["calibration"] = _calibration(config.calibration, manifest, masks, inputs, context)
    write_lines(out / "photos.jsonl", summary.rows())
    with replacing(out / "quality.json") as path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    shown = ("miou", "miou_cam", "coverage")
    context.figures(**{name: figures[name] for name in shown if figures[name] is not None})


def _engines(
    count: int, manifest: "Manifest", inputs: Mapping[str, Path], context: Context
) -> dict[str, Any] | None:
    """Agreement of the CRF's engines on photos spread over the split; says it in a line."""
    from stages.quality.engines import engine_agreement

    photos = manifest.split("train")
    count = min(count, len(photos))
    chosen = [photos[place * len(photos) // count] for place in range(count)]
    found = engine_agreement(manifest, chosen, inputs)
    if found is not None:
        shares = ", ".join(
            f"{name} {'not installed' if share is None else f'{share * 100:.4f} %'}"
            for name, share in found["equal"].items()
        )
        context.note(f"pixels with the label of the run, {found['photos']} photos: {shares}")
    return found


def _calibration(
    config: Calibration,
    manifest: "Manifest",
    masks: "MaskIndex",
    inputs: Mapping[str, Path],
    context: Context,
) -> dict[str, Any] | None:
    """The sweep over how labels are made; says its verdict in a line."""
    from stages.quality.calibration import calibration

    found = calibration(config, manifest, masks, inputs, workers=context.workers)
    if found is not None:
        context.note(f"settings of the labels, {found['photos']} photos: {found['verdict']}")
    return found


def _background(inputs: Mapping[str, Path], photos: "Sequence[Photo]") -> "Background":
    """The background score that raw activation maps are looked at with.

    It is that of the labels that were made from these maps; where a walk changed the maps before,
    it is Li's, as if there had been none, or, where Li's knows no threshold, that of the labels.
    """
    from stages.quality.summary import Background
    from stages.thresholds import li, read_histogram

    first = inputs["first"] if "first" in inputs else inputs["labels"]
    said = json.loads((first / "thresholds.json").read_text(encoding="utf-8"))
    if "walk" in inputs or ("spread" in inputs and "first" not in inputs):
        counts = read_histogram(inputs["cams"] / f"{photo.id}.npz" for photo in photos)
        try:
            chosen = "Li's minimum cross entropy over these maps, without masks"
            return Background(li(counts), chosen)
        except ValueError:  # all activations alike: the labels were told a threshold by hand
            pass
    return Background(said["threshold"], said["chosen"])
