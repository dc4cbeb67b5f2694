"""The labels stage from index and CAM artifacts to files."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.cams import Cam, map_size, write_cam
from data.files import digest
from data.labels import read_grey, read_label, write_label
from data.manifest import Photo, write_classes, write_photos
from knowledge.classes import DEMO
from pipeline.context import Context
from stages import labels
from stages.labels import Config

SIZES = ((40, 53), (37, 1), (24, 32), (24, 32), (9, 9))
TAGS = ((0,), (2,), (0, 1, 3), (1,), ())
EMPTY = "folder/3"  # the photo whose activation is 0 everywhere


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
    """Five train photos of one, no and many tags, and a val photo that nothing is made for."""
    index, cams = tmp_path / "index", tmp_path / "cams"
    photos = []
    rng = np.random.default_rng(0)
    for place, (size, tags) in enumerate(zip(SIZES, TAGS, strict=True)):
        id = f"folder/{place}"
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        path = index / "photos" / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        maps = rng.uniform(0, 3, (len(tags), *map_size(size))).astype(np.float32) ** 3
        write_cam(cams / f"{id}.npz", Cam(np.array(tags, np.int64), maps * (id != EMPTY), size))
        names = tuple(DEMO.names[tag] for tag in tags)
        photos.append(Photo(id, f"photos/{id}.png", size, names, "train", digest(path)))
    photos.append(replace(photos[0], id="other", split="val"))
    write_photos(index, photos)
    write_classes(index, DEMO)
    return {"index": index, "cams": cams}


def files(folder: Path) -> dict[str, str]:
    """Relative path -> digest of every file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in found}


def card(folder: Path) -> dict:
    return json.loads((folder / "thresholds.json").read_text())


def test_every_train_photo_gets_three_files(inputs, tmp_path):
    out = tmp_path / "out"
    labels.run(Config(), inputs, out, Context())
    expected = {f"{kind}folder/{n}.png" for kind in ("", "full/", "confidence/") for n in range(5)}
    assert set(files(out)) == expected | {"thresholds.json"}
    for place, (size, tags) in enumerate(zip(SIZES, TAGS, strict=True)):
        names = {0, *(tag + 1 for tag in tags)}
        full = read_label(out / "full" / f"folder/{place}.png")
        assert full.shape == size
        assert set(np.unique(full)) <= names
        assert set(np.unique(read_label(out / f"folder/{place}.png"))) <= names | {255}
        assert read_grey(out / "confidence" / f"folder/{place}.png").shape == size
    assert (read_label(out / f"{EMPTY}.png") == 0).all()
    assert (read_label(out / "folder/2.png") > 0).any()


def test_card_says_how_the_threshold_was_chosen(inputs, tmp_path):
    out = tmp_path / "out"
    labels.run(Config(), inputs, out, Context())
    found = card(out)
    assert 0 < found["threshold_background"] < found["threshold"] < found["threshold_foreground"]
    assert found["masks_used"] == 0
    assert sum(found["histogram"]) == pytest.approx(1, abs=1e-4)
    assert found["crf"]["set"] == "irn_label"


def test_fixed_threshold_needs_no_histogram_to_part(inputs, tmp_path):
    for place, size in enumerate(SIZES):  # as from a classifier that found nothing
        maps = np.zeros((len(TAGS[place]), *map_size(size)), np.float32)
        cam = Cam(np.array(TAGS[place], np.int64), maps, size)
        write_cam(inputs["cams"] / f"folder/{place}.npz", cam)
    with pytest.raises(ValueError, match=r"--labels\.background fixed"):
        labels.run(Config(), inputs, tmp_path / "otsu", Context())
    labels.run(Config(background="fixed", threshold=0.4), inputs, tmp_path / "fixed", Context())
    assert card(tmp_path / "fixed")["threshold"] == 0.4


def test_workers_and_ranks_change_no_byte(inputs, tmp_path):
    one, two, ranks = (tmp_path / name for name in ("one", "two", "ranks"))
    labels.run(Config(), inputs, one, Context())
    labels.run(Config(), inputs, two, Context(workers=2))
    for rank in range(2):
        labels.run(Config(), inputs, ranks, Context(rank=rank, world=2))
    assert files(one) == files(two) == files(ranks)


def test_more_ranks_than_photos(inputs, tmp_path):
    labels.run(Config(), inputs, tmp_path / "out", Context(rank=8, world=9))
    assert files(tmp_path / "out") == {}


def test_resumes_with_what_is_missing(inputs, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    labels.run(Config(), inputs, whole, Context())
    labels.run(Config(), inputs, out, Context())
    kept = out / "folder/0.png"
    before = kept.stat().st_mtime_ns
    (out / "folder/2.png").unlink()
    (out / "full/folder/2.png").write_bytes(b"torn")  # the label comes last, so this is unfinished
    labels.run(Config(), inputs, out, Context())
    assert files(out) == files(whole)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("lost", ["full/folder/2.png", "confidence/folder/2.png"])
def test_makes_again_what_a_repair_took_out(inputs, tmp_path, lost):
    whole, out = tmp_path / "whole", tmp_path / "out"
    labels.run(Config(), inputs, whole, Context())
    labels.run(Config(), inputs, out, Context())
    (out / lost).unlink()
    labels.run(Config(), inputs, out, Context())
    assert files(out) == files(whole)


@pytest.mark.parametrize("folder", ["full", "confidence"])
def test_photos_whose_labels_would_overwrite_each_other_are_named(inputs, tmp_path, folder):
    photos = [Photo(id, f"{id}.png", (9, 9), (), "train", id) for id in ("a", f"{folder}/a")]
    write_photos(inputs["index"], photos)
    with pytest.raises(ValueError, match=f"'a' and '{folder}/a'"):
        labels.run(Config(), inputs, tmp_path / "out", Context())


def test_settings_reach_the_crf(inputs, tmp_path):
    default, short = tmp_path / "default", tmp_path / "short"
    labels.run(Config(), inputs, default, Context())
    labels.run(Config.model_validate({"crf": {"iterations": 1}}), inputs, short, Context())
    assert card(short)["crf"]["iterations"] == 1
    assert files(default)["confidence/folder/2.png"] != files(short)["confidence/folder/2.png"]


def test_backends_give_the_same_labels(inputs, tmp_path):
    """Apart from pixels whose two first labels are as good as equal: none in these photos."""
    made = {}
    for backend in ("numba", "torch", "reference", "pydensecrf"):
        if backend == "pydensecrf" and find_spec("pydensecrf") is None:
            continue  # it needs a C++ compiler
        out = tmp_path / backend
        config = Config.model_validate({"crf": {"backend": backend}})
        labels.run(config, inputs, out, Context(device="cpu", workers=2))
        assert card(out)["crf"]["backend"] == backend
        made[backend] = [
            read_label(out / kind / f"folder/{n}.png") for kind in ("", "full") for n in range(5)
        ]
    for backend, images in made.items():
        for image, other in zip(images, made["numba"], strict=True):
            assert (image == other).all(), backend


def test_a_cam_of_another_size_is_named(inputs, tmp_path):
    write_cam(
        inputs["cams"] / "folder/0.npz",
        Cam(np.array([0]), np.random.default_rng(0).random((1, 6, 8), np.float32), (24, 32)),
    )
    with pytest.raises(ValueError, match=r"folder/0.*\(24, 32\).*\(40, 53\)"):
        labels.run(Config(), inputs, tmp_path / "out", Context())


def test_a_missing_cam_is_named(inputs, tmp_path):
    (inputs["cams"] / "folder/1.npz").unlink()
    with pytest.raises(OSError, match=r"1\.npz"):
        labels.run(Config(), inputs, tmp_path / "out", Context())


def test_importing_the_stage_is_light():
    heavy = "{'torch', 'numpy', 'scipy', 'timm', 'joblib', 'PIL'}"
    code = f"import sys, stages.labels; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def probable(inputs, folder: Path, background: float) -> Path:
    """Scores of a second look: the background's probability `background` everywhere."""
    for place, (size, tags) in enumerate(zip(SIZES, TAGS, strict=True)):
        rest = np.full(map_size(size), background if tags else 1, np.float32)
        maps = np.repeat((1 - rest[None]) / max(1, len(tags)), len(tags), axis=0)
        cam = Cam(np.array(tags, np.int64), maps, size, background=rest)
        write_cam(folder / f"folder/{place}.npz", cam)
    return folder


@pytest.mark.parametrize(("painted", "smallest"), [("full", 0.5), ("nothing", None)])
def test_labels_after_a_second_look_take_the_factor_that_agrees(
    inputs, tmp_path, painted, smallest
):
    before, quick = tmp_path / "before", {"crf": {"iterations": 1}}
    for place, (size, tags) in enumerate(zip(SIZES, TAGS, strict=True)):
        value = tags[0] + 1 if tags and painted == "full" else 0
        label = np.full(size, value, np.uint8)
        write_label(before / "full" / f"folder/{place}.png", label, DEMO)
    again = inputs | {"cams": probable(inputs, tmp_path / "new", 0.3), "before": before}
    labels.run(Config.model_validate(quick), again, tmp_path / "out", Context())
    labels.run(Config.model_validate(quick), again, tmp_path / "two", Context(workers=2))
    found = card(tmp_path / "out")
    assert found["chosen"] == labels.AGREEING
    assert found["masks_used"] == 0
    assert found["threshold_background"] < found["threshold"] < found["threshold_foreground"]
    best = max(found["agreement"].values())
    assert found["agreement"][str(found["threshold"])] == best
    assert (found["threshold"] == smallest) or (smallest is None and found["threshold"] > 2)
    shown = read_label(tmp_path / "out" / "full" / "folder/0.png")
    assert (shown > 0).all() == (painted == "full")
    assert files(tmp_path / "out") == files(tmp_path / "two")
