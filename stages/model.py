"""A trained model to use: three lines of Python from a photo to its labels.

    from stages.model import Model

    model = Model.load("my-model")            # a folder that `export` wrote, or runs/<name>
    labels = model.predict("photo.jpg")       # height x width: 0 background, 1..C classes

`model.classes.names[label - 1]` is what a label is called. Weights are safetensors, all else is
JSON: nothing is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import Image
from torch import Tensor

from data.files import digest, inside
from data.manifest import CLASSES
from data.photos import read_photo
from knowledge.classes import BACKGROUND, ClassTable
from knowledge.graph import CARD as GRAPH_CARD
from knowledge.graph import TENSORS as GRAPH_TENSORS
from knowledge.graph import ClassGraph
from stages.nets.classifier import CARD, WEIGHTS, Classifier, load_classifier
from stages.nets.device import autocast, pick_device
from stages.nets.look import Look, look
from stages.nets.segmenter import Segmenter, load_segmenter
from stages.normalisation import MAXIMA
from stages.reports.artifacts import Run, read_json
from stages.tag_masks import TagMasks, TagSettings, tag_masks, tag_probabilities

DOCUMENT = "model.json"
"""Beside the folders of an exported model; a run has none."""
FORMAT = 1
"""Of model.json; a folder of another format is refused."""

PARTS = ("segment", "classify")
"""Folders of the networks, in a run and in a model folder alike."""

Photo = str | Path | Image.Image | UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Model:
    """A segmentation network, a tag classifier, or both, with the classes they know."""

    classes: ClassTable
    segmenter: Segmenter | None
    classifier: Classifier | None
    settings: TagSettings
    """How tags become masks."""
    fingerprints: dict[str, str]
    """SHA-256 of the weights of each part: "segment", "classify"."""
    description: dict[str, Any]
    """model.json: preprocessing, size of the training photos, card; of a run, settings alone."""
    precision: str = "auto"

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", precision: str = "auto") -> "Model":
        """The model in `folder`: one that `export` wrote, or a run (runs/<name>).

        device: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1". precision: "auto"
        (bfloat16 where the hardware has it), "float32" or "bfloat16".

        Raises FileNotFoundError where there is no model, ValueError where a file is damaged, was
        changed, or the parts are not of one model.
        """
        home, where = Path(folder), pick_device(device)
        description = _description(home)
        parts = {name for name in PARTS if _has(home, name, description)}
        classes = _classes(home, description)
        segmenter = load_segmenter(home / "segment") if "segment" in parts else None
        classifier = _classifier(home, description) if "classify" in parts else None
        if segmenter is None and classifier is None:
            raise FileNotFoundError(
                f"{home} holds neither a network (segment) nor a classifier (classify): name a "
                "run (runs/NAME) that reached one of these stages, or a folder made by `export`"
            )
        _check_names(home, classes, segmenter, classifier)
        settings = TagSettings.parse(description["tags"])
        return cls(
            classes,
            None if segmenter is None else segmenter.to(where),
            None if classifier is None else classifier.to(where),
            settings,
            {name: digest(home / name / WEIGHTS) for name in sorted(parts)},
            description,
            precision,
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        part: Any = self.segmenter or self.classifier
        return next(part.parameters()).device

    def predict(self, photo: Photo, *, longest: int | None = None) -> Integer[np.ndarray, "h w"]:
        """The label of every pixel of a photo, at its own size: 0 background, 1..C classes.

        uint8; beyond 254 classes int16.

        photo: a file (turned upright by its EXIF orientation), a Pillow image or RGB in 0..255.
        longest: shrink the photo to this longest side first; else large photos are seen in tiles.

        Raises ValueError for a photo that cannot be read and a model without a network.
        """
        return self.look(_batch(photo), longest=longest).labels[0].cpu().numpy()

    def tags(self, photo: Photo) -> dict[str, float]:
        """The probability of every class to be in the photo; ValueError without a classifier."""
        with autocast(self.precision, self.device):
            found = tag_probabilities(self._tagger(), _batch(photo), self.settings.scored)
        return {
            name: float(value) for name, value in zip(self.classes.names, found[0], strict=True)
        }

    def look(self, images: UInt8[Tensor, "b 3 h w"], *, longest: int | None = None) -> Look:
        """Labels and scores of photos of one size; ValueError without a segmentation network."""
        if self.segmenter is None:
            raise ValueError(
                "this model has no segmentation network (stage segment): use --from-tags, or run "
                "the pipeline to the stage segment"
            )
        with autocast(self.precision, self.device):
            return look(self.segmenter, images, longest=longest)

    def tag_masks(self, images: UInt8[Tensor, "b 3 h w"]) -> TagMasks:
        """Masks of the tags that the classifier finds; ValueError without a classifier."""
        with autocast(self.precision, self.device):
            return tag_masks(self._tagger(), images, self.settings)

    def with_settings(self, *, tag: float | None, background: float | None) -> "Model":
        """This model with another least probability of tags or background score; None keeps."""
        own = self.settings
        changed = own._replace(
            tag=own.tag if tag is None else tag,
            background=own.background if background is None else background,
        )
        return replace(self, settings=changed)

    def named(self, label: int) -> str:
        """What `label` is called: "background" for 0."""
        return BACKGROUND if label == 0 else self.classes.names[label - 1]

    def _tagger(self) -> Classifier:
        if self.classifier is None:
            raise ValueError("this model has no classifier (stage classify): it tags no photo")
        return self.classifier


def tag_settings(run: Run) -> TagSettings:
    """How a run made its maps and where it cut them; defaults where a stage is missing."""
    cams, default = run.config("cams"), TagSettings()
    # Those of `inspect` and of the first labels are background scores; those of labels after a
    # second look are factors on a probability.
    names = (("inspect", "quality"), ("labels-first", "thresholds"), ("labels", "thresholds"))
    found = (run.json(stage, f"{name}.json") for stage, name in names)
    known = (one for one in found if one.get("normalisation", MAXIMA) == MAXIMA)
    scores = (one.get("threshold") for one in known)
    background = next((score for score in scores if score is not None), default.background)
    return TagSettings(
        branch=cams.get("classifier", default.branch),
        scored=run.config("classify").get("scored", default.scored),
        scales=tuple(cams.get("scales", default.scales)),
        flip=cams.get("flip", default.flip),
        competition=cams.get("competition", default.competition),
        background=background,
    )


def longest_side(run: Run) -> int | None:
    """The median longest side of a run's training photos, in pixels."""
    lines = run.lines("index", "manifest.jsonl")
    sides = [max(line["size"]) for line in lines if line["split"] == "train"]
    return round(median(sides)) if sides else None


def _batch(photo: Photo) -> UInt8[Tensor, "1 3 h w"]:
    if isinstance(photo, str | Path):
        pixels = read_photo(Path(photo))
    else:
        pixels = np.asarray(photo.convert("RGB") if isinstance(photo, Image.Image) else photo)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a photo is uint8 RGB (h, w, 3), not {pixels.dtype} {pixels.shape}")
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]


def _description(home: Path) -> dict[str, Any]:
    """model.json with its files checked, or what a run says in its place."""
    if not home.is_dir():
        old = set_aside(home)
        kept = f" (an export was killed: rename {old}, or export again)" if old.is_dir() else ""
        raise FileNotFoundError(
            f"{home} is no folder: name runs/NAME or a folder made by `export`{kept}"
        )
    described = read_json(home / DOCUMENT)
    if not described:
        if not (home / "index" / CLASSES).is_file():
            raise FileNotFoundError(
                f"{home} is neither a run nor a model folder: it has no {DOCUMENT} and no index"
            )
        run = Run.at(home)
        return {"tags": tag_settings(run)._asdict(), "longest": longest_side(run)}
    if described.get("format") != FORMAT:
        raise ValueError(
            f"{home / DOCUMENT} has format {described.get('format')!r}, this program reads "
            f"{FORMAT}: export the model again"
        )
    if not all(isinstance(described.get(name), dict) for name in ("files", "tags")):
        raise ValueError(f"{home / DOCUMENT} lacks files or tags: copy or export the model again")
    for name, sha256 in described["files"].items():
        path = inside(home, name)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: copy the whole folder of the model")
        if digest(path) != sha256:
            raise ValueError(f"{path} is damaged or was changed: copy or export the model again")
    return described


def set_aside(folder: Path) -> Path:
    """Where the old model folder is while a new one takes its name."""
    return folder.with_name(f".{folder.name}.old")


def _readable(home: Path, name: str, description: Mapping[str, Any]) -> bool:
    """Whether a file is there and, in a model folder, listed: what is not was never checked."""
    return (home / name).is_file() and name in description.get("files", (name,))


def _has(home: Path, part: str, description: Mapping[str, Any]) -> bool:
    return all(_readable(home, f"{part}/{file}", description) for file in (WEIGHTS, CARD))


def _classes(home: Path, description: Mapping[str, Any]) -> ClassTable:
    name = CLASSES if "files" in description else f"index/{CLASSES}"
    if not _readable(home, name, description):
        raise ValueError(f"{home / DOCUMENT} does not list {name}: copy or export the model again")
    return ClassTable.parse((home / name).read_text(encoding="utf-8"))


def _classifier(home: Path, description: Mapping[str, Any]) -> Classifier:
    files = (f"graph/{file}" for file in (GRAPH_TENSORS, GRAPH_CARD))
    known = all(_readable(home, name, description) for name in files)
    graph = ClassGraph.load(home / "graph") if known else None
    return load_classifier(home / "classify", graph)


def _check_names(
    home: Path, classes: ClassTable, segmenter: Segmenter | None, classifier: Classifier | None
) -> None:
    """Raise ValueError where a part knows other classes than the table, or in another order."""
    found: dict[str, tuple[str, ...]] = {}
    if classifier is not None:
        found["classify"] = classifier.names
    if segmenter is not None:
        found["segment"] = tuple(json.loads((home / "segment" / CARD).read_text("utf-8"))["names"])
    for part, names in found.items():
        if names != classes.names:
            raise ValueError(
                f"{home / part} knows other classes than {CLASSES}, or in another order: the parts "
                "are not of one model; export it again"
            )
