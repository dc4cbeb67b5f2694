"""No score without what it was taken on: split, number of photos, and which masks."""

import json
import re
from pathlib import Path

from stages.reports.artifacts import Run
from stages.reports.card import make_card
from stages.reports.model_card import model_card
from tests.stages.test_report import reported

SPLITS = {
    "labels": ("train", 6),
    "cam": ("train", 6),
    "map": ("val", 3),
    "trivial_labels": ("train", 6),
    "network": ("val", 3),
    "upper_bound": ("val", 3),
    "trivial": ("val", 3),
}


def test_every_figure_names_its_split_and_photos(tiny_run, tmp_path: Path) -> None:
    path = tiny_run.inputs["classify"] / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "photos": 3}))
    _, page, numbers = reported(tiny_run, tmp_path / "out")
    text = " ".join(page.text)
    assert numbers["headline"].keys() == SPLITS.keys()
    for name, figure in numbers["headline"].items():
        split, photos = SPLITS[name]
        assert re.search(rf"\b{split}\b", figure["note"]), (name, figure["note"])
        assert re.search(rf"\b{photos} photos", figure["note"]), (name, figure["note"])
        assert figure["note"] in text


def test_page_and_model_card_say_which_masks(tiny_run, tmp_path: Path) -> None:
    """Masks of one name differ from copy to copy, and scores with them: the digest tells."""
    _, page, numbers = reported(tiny_run, tmp_path / "out")
    document = {
        "name": "tiny", "parts": ["segment"], "classes": ["background"], "onnx": {},
        "preprocessing": {}, "longest": 64,
        "card": {n: entry.value for n, entry in make_card(Run.of(tiny_run.inputs)).items()},
    }  # fmt: skip
    written = model_card(Run.of(tiny_run.inputs), document)
    for split, photos in (("train", 6), ("val", 3)):
        said = numbers["card"][f"masks, {split}"]["value"]
        assert re.fullmatch(rf"{photos}, sha256 [0-9a-f]{{16}}", said)
        assert said in " ".join(page.text)
        assert said in written
