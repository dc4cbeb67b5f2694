"""How good is the network on the val photos, and what does it cost?

    python run_pipeline.py --from evaluate --evaluate.flip

Reads the artifacts of `index`, `graph` and `segment` to predict, and of `masks` to score. The tags
of val photos are never read: the network names what it sees. Writes

- <id>.png: the prediction for every val photo, palette PNG at the photo's size;
- variants/<name>/<id>.png: the same for every further way to predict that is asked for;
- scores.json: mIoU and its kin from one confusion matrix over the split, the network's cost, and
  what its regions hold where its head makes some.

Photos predicted by an earlier, killed run are not predicted again. Without masks the predictions
are written all the same, and `miou` is null with the reason beside it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from pipeline.context import Context
from stages.crf.parameters import CrfParameters

if TYPE_CHECKING:
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from data.records import Photo
    from stages.confusion import Confusion
    from stages.nets.segmenter import Segmenter
    from stages.views import Viewer

VERSION = 1

DEFINITION = (
    "mean IoU over the classes (background included) whose union of mask and prediction is not "
    "empty, from one confusion matrix over the split; mask pixels of 255 are ignored"
)


Variant = Literal["ms-flip", "crf", "ms-flip-crf"]


class Config(BaseModel, frozen=True, extra="forbid"):
    """Settings of the evaluation. The primary figure: one scale, no mirror image, no CRF."""

    scales: tuple[PositiveFloat, ...] = Field(
        (1.0,),
        min_length=1,
        description="sizes to look at each photo in; their scores are averaged",
    )
    flip: bool = Field(False, description="look at the mirror image too")
    also: tuple[Variant, ...] = Field(
        (),
        description="further ways to predict, each scored beside the primary figure: ms-flip "
        "(`variant_scales` and mirror images), crf (dense CRF), ms-flip-crf",
    )
    variant_scales: tuple[PositiveFloat, ...] = Field(
        (0.5, 0.75, 1.0, 1.25, 1.5), min_length=1, description="scales of the variants ms-flip"
    )
    crf: CrfParameters = Field(CrfParameters(), description="the CRF of the variants with one")
    cost_size: tuple[PositiveInt, PositiveInt] = Field(
        (512, 512), description="(height, width) of the photo whose multiply-adds are counted"
    )


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Predict the val photos that have no prediction in `out` yet, then score all of them.

    Raises:
        FileNotFoundError: a photo is missing.
        ValueError: a photo, mask or prediction cannot be used or has another size than its photo.
    """
    from data.files import replacing
    from data.manifest import Manifest
    from data.masks import MaskIndex
    from knowledge.graph import ClassGraph
    from stages.nets.cost import cost, peak_memory
    from stages.nets.device import pick_device
    from stages.nets.segmenter import load_segmenter
    from stages.region_scores import region_scores
    from stages.views import View, Viewer

    manifest = Manifest.of(inputs, context.places)
    photos = manifest.split("val")
    device = pick_device(context.device)
    segmenter = load_segmenter(inputs["segment"], ClassGraph.load(inputs["graph"])).to(device)
    masks = MaskIndex.of(inputs, context.places)
    primary = View(config.scales, config.flip, None)
    speed = _timed(Viewer(segmenter, primary, manifest, context=context), photos, out)
    scores = _scores(manifest, photos, masks, out)
    price = cost(segmenter, config.cost_size)
    scores |= {
        **speed,
        "params": price.params,
        "multiply_adds": price.multiply_adds,
        "multiply_adds_size": list(price.size),
        "peak_memory_bytes": peak_memory(device),
        "scales": list(config.scales),
        "flip": config.flip,
        "crf": None,
        "oracle_tags": False,
        "trained_on": json.loads((inputs["segment"] / "model.json").read_text("utf-8"))["card"],
    }
    scores["variants"] = _variants(config, manifest, segmenter, masks, context=context, out=out)
    scores |= region_scores(segmenter, manifest, photos, masks=masks, context=context)
    with replacing(out / "scores.json") as path:
        path.write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _timed(viewer: "Viewer", photos: "Sequence[Photo]", out: Path) -> dict[str, Any]:
    """Write the predictions that are missing; how long that took, reading and writing included."""
    begun = time.monotonic()
    todo = viewer.write(photos, out)
    seconds = time.monotonic() - begun
    return {
        "predicted": len(photos),
        "photos_timed": todo,
        "seconds": round(seconds, 3),
        "images_per_second": round(todo / seconds, 3) if todo else None,
    }


def _variants(
    config: Config,
    manifest: "Manifest",
    segmenter: "Segmenter",
    masks: "MaskIndex",
    *,
    context: Context,
    out: Path,
) -> dict[str, Any]:
    """The scores of the further ways to predict that are asked for, each with what it is."""
    from stages.views import View, Viewer

    found: dict[str, Any] = {}
    photos = manifest.split("val")
    for name in dict.fromkeys(config.also):
        several = name.startswith("ms-flip")
        scales = config.variant_scales if several else config.scales
        flip = several or config.flip
        view = View(scales, flip, config.crf if name.endswith("crf") else None)
        folder = out / "variants" / name
        speed = _timed(Viewer(segmenter, view, manifest, context=context), photos, folder)
        scores = _scores(manifest, photos, masks, folder)
        kept = {key: value for key, value in scores.items() if key != "confusion"}
        crf = None if view.crf is None else view.crf.model_dump(mode="json")
        found[name] = {**kept, **speed, "scales": list(scales), "flip": flip, "crf": crf}
    return found


def _scores(
    manifest: "Manifest", photos: "Sequence[Photo]", masks: "MaskIndex", out: Path
) -> dict[str, Any]:
    """Everything that the masks say of the predictions in `out`; nulls where there are none."""
    from stages.confusion import Confusion

    known = set(masks.ids)
    scored = [photo for photo in photos if photo.id in known]
    confusion = Confusion(len(manifest.classes.names) + 1)
    for photo in scored:
        _add(confusion, photo, masks, out)
    scores = confusion.scores(("background", *manifest.classes.names))
    trivial = confusion.trivial().miou()
    return {
        "split": "val",
        "definition": DEFINITION,
        "images": len(scored),
        **scores,
        "miou_all_background": trivial if scored else None,
        "reason": _reason(photos, scored),
        "confusion": confusion.matrix.tolist(),
    }


def _add(confusion: "Confusion", photo: "Photo", masks: "MaskIndex", out: Path) -> None:
    from data.labels import read_label

    path = out / f"{photo.id}.png"
    prediction = read_label(path)
    if prediction.shape != photo.size:
        raise ValueError(
            f"{path} is {prediction.shape} (height, width), its photo {photo.size}: delete it, and "
            "it is predicted again"
        )
    try:
        confusion.add(masks.read(photo), prediction)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def _reason(photos: "Sequence[Photo]", scored: "Sequence[Photo]") -> str | None:
    """Why there is no mIoU; None where there is one."""
    if scored:
        return None
    if not photos:
        return "no photo is in the val split"
    return f"none of the {len(photos)} val photos has a mask"
