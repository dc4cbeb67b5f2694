"""A photo with 18 tags, and one with none, pass every stage; so do the photos after them."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from data.cams import read_cam
from data.labels import read_label, write_label
from knowledge.classes import ClassTable
from pipeline.context import Context
from pipeline.settings import changed
from run_pipeline import build
from stages.nets.streams import one_thread
from stages.recipes import RECIPES
from tests.datasets import write_photo

CLASSES = [f"c{place:02d}" for place in range(20)]
TAGS = {"a": CLASSES[:1], "many": CLASSES[1:19], "none": [], "z": CLASSES[18:]}
SIZE = (40, 56)
SMALL = (
    *("--dataset.tags", "tags.csv", "--dataset.untagged", "negative"),
    *("--dataset.val-list", "val.txt", "--masks.root", "masks"),
    *("--classify.backbone", "test_resnet", "--classify.weights", "scratch"),
    *("--classify.no-frozen-norm", "--classify.no-conv-head", "--classify.levels", "1"),
    *("--classify.hidden", "8", "--classify.epochs-head", "1", "--cams.scales", "1.0"),
    *("--segment.epochs", "1", "--segment.width", "8", "--evaluate.cost-size", "64", "64"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Train photos, val photos with the same tags, masks of both, word vectors."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    lines, table = [], ClassTable.of_names("own", CLASSES)
    for seed, (name, tags) in enumerate(TAGS.items()):
        for at, one in enumerate((name, f"v-{name}")):
            write_photo(root / f"{one}.jpg", seed + 10 * at, SIZE)
            lines.append(",".join([one, *tags]))
            mask = rng.choice([0, *(CLASSES.index(tag) + 1 for tag in tags)], SIZE)
            write_label(root / "masks" / f"{one}.png", mask.astype(np.uint8), table)
    (root / "tags.csv").write_text("\n".join(lines) + "\n")
    (root / "val.txt").write_text("".join(f"v-{name}\n" for name in TAGS))
    (root / "labels.txt").write_text("\n".join(CLASSES) + "\n")
    words = (f"{name} " + " ".join(f"{x:.3f}" for x in rng.normal(size=4)) for name in CLASSES)
    (root / "words.txt").write_text("\n".join(words) + "\n")
    return root


def test_every_stage_takes_18_tags_and_none(root: Path, tmp_path: Path) -> None:
    flags = ["--dataset.root", str(root), "--graph.vectors", str(root / "words.txt"), *SMALL]
    flags[flags.index("masks")] = str(root / "masks")
    pipeline = build(changed(RECIPES["folder"], flags))
    context = Context("cpu", "float32", places={"dataset.root": root, "masks.root": root / "masks"})
    made: dict[str, Path] = {}
    for name in pipeline.order:
        stage = pipeline.stage(name)
        out = made[name] = tmp_path / "run" / name
        out.mkdir(parents=True)
        with one_thread():
            reads = {key: made[source] for key, source in stage.reads.items()}
            import_module(stage.module).run(stage.config, reads, out, context)
    for folder in ("cams", "walk", "rescore"):
        counts = {p.stem: len(read_cam(p).classes) for p in made[folder].glob("*.npz")}
        assert counts == {name: len(tags) for name, tags in TAGS.items()}
    for name, tags in TAGS.items():
        for folder in (made["labels"], made["labels"] / "full"):
            label = read_label(folder / f"{name}.png")
            assert label.shape == SIZE
            assert set(np.unique(label)) <= {0, 255, *(CLASSES.index(tag) + 1 for tag in tags)}
        assert read_label(made["evaluate"] / f"v-{name}.png").shape == SIZE
    assert (read_label(made["labels"] / "full" / "none.png") == 0).all()
    assert json.loads((made["evaluate"] / "scores.json").read_text())["images"] == 4
    assert json.loads((made["inspect"] / "quality.json").read_text())["photos_with_mask"] == 4
    assert "many" in (made["report"] / "report.html").read_text()
