"""A run's networks as a folder of their own: everything that `stages.model.Model` needs.

model.json          format, preprocessing, settings, card, SHA-256 of every other file
classes.json        names and colours, in label order
segment/, classify/, graph/      safetensors with JSON beside, as the run has them
segment.onnx, classify.onnx      where asked for
MODEL_CARD.md       the same for a reader
"""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from data.files import digest
from data.manifest import CLASSES
from knowledge.graph import CARD as GRAPH_CARD
from knowledge.graph import TENSORS as GRAPH_TENSORS
from stages.model import DOCUMENT, FORMAT, PARTS, Model, longest_side, set_aside
from stages.nets.backbone import Backbone
from stages.nets.classifier import CARD, WEIGHTS
from stages.nets.onnx_graphs import SegmentationGraph, TagGraph, write_onnx
from stages.reports.artifacts import Run
from stages.reports.card import make_card
from stages.reports.model_card import model_card

README = "MODEL_CARD.md"
ABOUT = "Tagmask model"
"""How a folder is known to be one that may be replaced."""


def export(folder: Path, to: Path, *, onnx: bool, note: Callable[[str], None]) -> None:
    """Write the model of the run in `folder` (runs/<name>) into `to`, whole or not at all.

    A model folder that is there is replaced: it is set aside, and goes when the new one has its
    name. What a killed export left aside comes back first. `note` is told what was written.

    Raises FileNotFoundError where the run has no network, ValueError where `to` is something else
    than a model folder, or the ONNX files cannot be made.
    """
    to = to.resolve()
    _recover(to)
    if to.exists() and not _replaceable(to):
        raise ValueError(f"{to} is there and is no model folder: give another folder with --to")
    if (folder / DOCUMENT).is_file():
        raise ValueError(f"{folder} is an exported model already: copy it, or name its run")
    model = Model.load(folder, device="cpu", precision="float32")
    new = to.with_name(f".{to.name}.partial")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _fill(new, folder, model, name=to.name, graphs=_writer(onnx, note))
        Model.load(new, device="cpu")
        _publish(new, to)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _publish(new: Path, to: Path) -> None:
    """Give the folder `new` the name `to`; what had it goes last, so that no kill loses both."""
    old = set_aside(to)
    if to.exists():
        os.replace(to, old)
    try:
        os.replace(new, to)
    except BaseException:
        _recover(to)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _recover(to: Path) -> None:
    """Undo or end a publication that was killed: the old folder gets its name back, or goes."""
    old = set_aside(to)
    if old.is_dir() and not to.exists():
        os.replace(old, to)
    shutil.rmtree(old, ignore_errors=True)


def _replaceable(to: Path) -> bool:
    """Whether `to` is a model folder, or an empty one."""
    if not to.is_dir():
        return False
    if not any(to.iterdir()):
        return True
    try:
        document = json.loads((to / DOCUMENT).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("about") == ABOUT


def _fill(
    out: Path,
    folder: Path,
    model: Model,
    *,
    name: str,
    graphs: Callable[[Path, Model], dict[str, Any]],
) -> None:
    run = Run.at(folder)
    for part, files in _parts(folder).items():
        (out / part).mkdir()
        for file in files:
            shutil.copyfile(folder / part / file, out / part / file)
    (out / CLASSES).write_text(model.classes.dump(), "utf-8")
    document = {
        "about": ABOUT,
        "format": FORMAT,
        "name": name,
        "classes": ["background", *model.classes.names],
        "parts": [part for part in PARTS if (out / part).is_dir()],
        "preprocessing": {part: preprocessing(net) for part, net in _backbones(model).items()},
        "longest": longest_side(run),
        "tags": model.settings._asdict(),
        "onnx": graphs(out, model),
        "card": {name: entry.value for name, entry in make_card(run).items()},
    }
    (out / README).write_text(model_card(run, document), "utf-8")
    written = sorted(path for path in out.rglob("*") if path.is_file())
    document["files"] = {path.relative_to(out).as_posix(): digest(path) for path in written}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (out / DOCUMENT).write_text(text + "\n", "utf-8")


def _parts(folder: Path) -> dict[str, tuple[str, ...]]:
    """The folders and files of a run that a model is made of."""
    parts: dict[str, tuple[str, ...]] = {
        part: (WEIGHTS, CARD) for part in PARTS if (folder / part / WEIGHTS).is_file()
    }
    if "classify" in parts:
        parts["graph"] = (GRAPH_TENSORS, GRAPH_CARD)
    return parts


def _backbones(model: Model) -> dict[str, Backbone]:
    nets: dict[str, Any] = {"segment": model.segmenter, "classify": model.classifier}
    return {part: net.backbone for part, net in nets.items() if net is not None}


def preprocessing(backbone: Backbone) -> dict[str, Any]:
    """What happens to a photo on its way into a network, for those who build it elsewhere."""
    return {
        "input": "RGB, 0..255, upright (EXIF orientation applied), batch x 3 x height x width",
        "mean": [round(float(value), 3) for value in backbone.mean.flatten()],
        "std": [round(float(value), 3) for value in backbone.std.flatten()],
        "size": "any; photos of one batch have one size",
        "padding": "at the bottom and on the right, with the mean, to a multiple of "
        f"{max(backbone.strides)} pixels",
        "inside": "normalisation and padding are part of the network, in ONNX too",
    }


def _writer(onnx: bool, note: Callable[[str], None]) -> Callable[[Path, Model], dict[str, Any]]:
    return partial(_write_graphs, note=note) if onnx else lambda out, model: {}


def _write_graphs(
    out: Path, model: Model, *, note: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """segment.onnx and classify.onnx, as far as the model has them; what they take and give."""
    found: dict[str, dict[str, Any]] = {}
    settings = model.settings
    graphs: dict[str, SegmentationGraph | TagGraph] = {}
    if model.segmenter is not None:
        graphs["segment"] = SegmentationGraph(model.segmenter)
    if model.classifier is not None:
        graphs["classify"] = TagGraph(
            model.classifier,
            scored=settings.scored,
            mapped=settings.branch,
            competition=settings.competition,
        )
    for part, graph in graphs.items():
        note(f"{part}.onnx: writing, which takes about a minute")
        worst = write_onnx(out / f"{part}.onnx", graph)
        checked = "not checked (no onnxruntime here)" if worst is None else f"{worst:.2g}"
        note(f"{part}.onnx: largest difference under onnxruntime {checked}")
        found[part] = {
            "file": f"{part}.onnx",
            "input": "images: uint8, batch x 3 x height x width, RGB, 0..255, any size and batch",
            "outputs": list(graph.names),
            "largest_difference": worst,
        }
    return found
