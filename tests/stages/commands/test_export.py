"""export: a folder that stands on its own, loads without the run, and is checked when it loads."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.files import digest
from data.labels import read_label
from knowledge.classes import ClassTable
from stages import model_folder
from stages.commands import export, predict
from stages.model import Model, _batch, set_aside
from stages.nets.backbone import Backbone
from stages.nets.classifier import WEIGHTS
from stages.nets.onnx_graphs import with_plain_padding
from tests.datasets import pixels

ROOT = Path(__file__).resolve().parents[3]
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="the extra `onnx` is not installed",
)


@pytest.fixture
def exported(run_folder: Path, tmp_path: Path) -> Path:
    """The model of `run_folder`, moved to where the run is not."""
    assert export.main([str(run_folder), "--to", str(tmp_path / "first" / "model")]) == 0
    (tmp_path / "elsewhere").mkdir()
    return Path(shutil.move(tmp_path / "first" / "model", tmp_path / "elsewhere" / "model"))


def test_a_model_folder_gives_what_the_run_gives(exported, run_folder, photos) -> None:
    run = Model.load(run_folder, device="cpu", precision="float32")
    model = Model.load(str(exported), device="cpu", precision="float32")
    shutil.rmtree(run_folder)
    photo = photos / "0.jpg"
    assert (model.predict(photo) == run.predict(str(photo))).all()
    assert model.tags(photo) == run.tags(photo)
    assert model.classes == run.classes
    assert model.settings == run.settings
    assert model.fingerprints == run.fingerprints
    assert model.named(0) == "background"
    assert model.named(1) == "disc"


def test_predict_takes_the_folder(exported, photos, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = [str(photos / "0.jpg"), "--model", str(exported), "--out", str(out)]
    assert predict.main([*arguments, "--device", "cpu", "--precision", "float32"]) == 0
    label = Model.load(exported, device="cpu", precision="float32").predict(photos / "0.jpg")
    assert (read_label(out / "masks" / "0.png") == label).all()


def test_the_document_says_what_one_needs(exported) -> None:
    said = json.loads((exported / "model.json").read_text())
    assert said["classes"] == ["background", "disc", "bar", "<b>odd & end</b>"]
    assert said["parts"] == ["segment", "classify"]
    assert said["longest"] == 64
    assert said["tags"]["background"] == 0.4
    assert said["tags"]["flip"] is True
    assert said["preprocessing"]["segment"]["mean"] == [123.675, 116.28, 103.53]
    assert said["card"]["masks used for training"] == 0
    table = ClassTable.parse((exported / "classes.json").read_text())
    assert table.classes[0].colour == (128, 0, 0)
    listed = {*said["files"], "model.json"}
    there = {one.relative_to(exported).as_posix() for one in exported.rglob("*") if one.is_file()}
    assert listed == there


def test_the_model_card_tells_scores_with_their_controls(exported) -> None:
    text = (exported / "MODEL_CARD.md").read_text()
    assert "# model\n" in text
    assert 'Model.load("model")' in text
    assert "- masks used for training: 0" in text
    assert "| Network | " in text
    assert "all background" in text
    assert "&lt;b&gt;odd &amp; end&lt;/b&gt;" in text
    assert "<b>" not in text


def test_an_export_is_replaced_and_nothing_else_is(run_folder, tmp_path, exported) -> None:
    before = (exported / "model.json").read_bytes()
    (exported / "stale.txt").write_text("of an older export")
    export.main([str(run_folder), "--to", str(exported)])
    assert (exported / "model.json").read_bytes() == before
    assert not (exported / "stale.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is there and is no model folder"):
        export.main([str(run_folder), "--to", str(tmp_path / "mine")])
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with pytest.raises(ValueError, match="is an exported model already"):
        export.main([str(exported), "--to", str(tmp_path / "again")])
    assert not list(tmp_path.rglob(".*partial"))


class Killed(BaseException):
    """Stands in for a signal that ends the program: nothing after it is run."""


@pytest.mark.parametrize("step", [1, 2])
def test_a_kill_while_publishing_loses_neither_model(
    run_folder, exported, photos, monkeypatch, step
) -> None:
    """Killed before the first or the second rename; the next export goes on from what is left."""
    wanted = Model.load(exported, device="cpu").predict(photos / "0.jpg")
    calls: list[int] = []

    def replace(source: Path, target: Path) -> None:
        calls.append(1)
        if len(calls) >= step:
            raise Killed
        os.rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(model_folder.os, "replace", replace)
        patched.setattr(model_folder.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            model_folder._publish(shutil.copytree(exported, exported.parent / "new"), exported)
    old = set_aside(exported)
    assert [exported.is_dir(), old.is_dir()] == [step == 1, step == 2]
    if step == 2:
        with pytest.raises(FileNotFoundError, match=r"an export was killed: rename .*\.model\.old"):
            Model.load(exported)
    assert (Model.load(old if step == 2 else exported).predict(photos / "0.jpg") == wanted).all()
    assert export.main([str(run_folder), "--to", str(exported)]) == 0
    assert not old.exists()
    assert (Model.load(exported, device="cpu").predict(photos / "0.jpg") == wanted).all()


def test_a_failing_export_brings_back_what_a_killed_one_set_aside(run_folder, exported) -> None:
    exported.rename(set_aside(exported))
    shutil.rmtree(run_folder)
    with pytest.raises(FileNotFoundError):
        export.main([str(run_folder), "--to", str(exported)])
    assert Model.load(exported, device="cpu").classes.names
    shutil.copytree(exported, set_aside(exported))  # killed after the second rename
    with pytest.raises(FileNotFoundError):
        export.main([str(run_folder), "--to", str(exported)])
    assert not set_aside(exported).exists()
    assert Model.load(exported, device="cpu").classes.names


def test_a_link_to_a_model_folder_stays_a_link(run_folder, exported, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(exported)
    assert export.main([str(run_folder), "--to", str(link)]) == 0
    assert link.is_symlink()
    assert json.loads((exported / "model.json").read_text())["name"] == "model"


def test_only_listed_files_are_read(exported, run_folder) -> None:
    """What nobody hashed is no part of the model, whatever lies in the folder."""
    path = exported / "model.json"
    said = json.loads(path.read_text())
    for part in ("segment", "classify"):
        files = {name: sha for name, sha in said["files"].items() if not name.startswith(part)}
        path.write_text(json.dumps({**said, "files": files}))
        (exported / part / "model.safetensors").write_bytes(b"swapped")
        model = Model.load(exported, device="cpu")
        assert (model.segmenter is None) == (part == "segment")
        assert (model.classifier is None) == (part == "classify")
        assert part not in model.fingerprints
        shutil.copyfile(run_folder / part / "model.safetensors", exported / part / WEIGHTS)
    files = {name: sha for name, sha in said["files"].items() if name != "classes.json"}
    path.write_text(json.dumps({**said, "files": files}))
    with pytest.raises(ValueError, match=r"model\.json does not list classes\.json"):
        Model.load(exported)
    files = {name: sha for name, sha in said["files"].items() if not name.startswith("graph")}
    path.write_text(json.dumps({**said, "files": files}))
    with pytest.raises(ValueError, match="needs the class graph"):
        Model.load(exported)


def test_a_run_with_a_classifier_alone_and_none_at_all(run_folder, photos, tmp_path) -> None:
    (run_folder / "segment").unlink()
    export.main([str(run_folder), "--to", str(tmp_path / "tagger")])
    model = Model.load(tmp_path / "tagger", device="cpu")
    assert model.tags(photos / "0.jpg").keys() == set(model.classes.names)
    with pytest.raises(ValueError, match="no segmentation network"):
        model.predict(photos / "0.jpg")
    (run_folder / "classify").unlink()
    with pytest.raises(FileNotFoundError, match="neither a network"):
        export.main([str(run_folder), "--to", str(tmp_path / "nothing")])
    with pytest.raises(FileNotFoundError, match="is no folder"):
        export.main([str(tmp_path / "runs" / "typo"), "--to", str(tmp_path / "nothing")])
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["segment/model.safetensors", "classes.json", "graph/graph.json"])
def test_a_changed_or_missing_file_is_named(exported, name) -> None:
    path = exported / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{name} is damaged or was changed"):
        Model.load(exported)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        Model.load(exported)


def test_documents_of_another_program_are_refused(exported) -> None:
    path = exported / "model.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "format": 99}))
    with pytest.raises(ValueError, match="has format 99"):
        Model.load(exported)
    for name in ("files", "tags"):
        path.write_text(json.dumps({key: value for key, value in said.items() if key != name}))
        with pytest.raises(ValueError, match=r"model\.json lacks files or tags"):
            Model.load(exported)
    path.write_text(json.dumps({**said, "tags": {**said["tags"], "colour": 1}}))
    with pytest.raises(ValueError, match="other settings of tags"):
        Model.load(exported)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"model\.json is no JSON"):
        Model.load(exported)
    path.write_text(json.dumps({**said, "files": {"../../x": "0"}}))
    with pytest.raises(ValueError, match="leads out of"):
        Model.load(exported)


def test_a_picture_that_is_no_photo_is_refused() -> None:
    plain = unwrap(_batch)  # test runs check types before; a user's program does not
    for pixels_of in (np.zeros((8, 9), np.uint8), np.zeros((8, 9, 3)), np.zeros((8, 9, 4), "u1")):
        with pytest.raises(ValueError, match="a photo is uint8 RGB"):
            plain(pixels_of)


def test_an_empty_folder_one_stands_in_takes_a_model(run_folder, tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert export.main([str(run_folder), "--to", "."]) == 0
    assert Model.load(tmp_path / "here", device="cpu").classes.names


def test_parts_of_two_models_do_not_mix(run_folder, tmp_path) -> None:
    card = json.loads((run_folder / "segment" / "model.json").read_text())
    card["names"] = card["names"][::-1]
    (run_folder / "segment" / "model.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="segment knows other classes"):
        Model.load(run_folder)


def test_loading_reads_no_pickle(exported) -> None:
    """A pickle in the place of the weights is refused, whatever model.json says of it."""
    path = exported / "segment" / "model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    torch.save(tensors, path)
    said = json.loads((exported / "model.json").read_text())
    said["files"]["segment/model.safetensors"] = digest(path)
    (exported / "model.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="holds no usable segmentation network"):
        Model.load(exported)
    save_file(tensors, path)
    said["files"]["segment/model.safetensors"] = digest(path)
    (exported / "model.json").write_text(json.dumps(said))
    assert Model.load(exported, device="cpu").segmenter is not None


@pytest.mark.parametrize("size", [(1, 3, 33, 47), (2, 3, 64, 80)])
def test_constant_padding_equals_same_padding(size) -> None:
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", output_stride=16, pad_type="same").eval()
    images = torch.randint(0, 256, size, dtype=torch.uint8)
    plain = with_plain_padding(backbone)
    assert not any(type(one).__name__ == "Conv2dSame" for one in plain.modules())
    with torch.inference_mode():
        for one, other in zip(backbone(images), plain(images), strict=True):
            assert torch.allclose(one, other, atol=1e-5)


@needs_onnx
def test_onnx_graphs_give_the_networks_numbers_at_any_size(run_folder, tmp_path) -> None:
    import onnxruntime

    out = tmp_path / "model"
    # As a program of its own: the exporter's open sizes are no `int` to this suite's type checks.
    command = [sys.executable, "run_pipeline.py", "export", str(run_folder), "--to", str(out)]
    done = subprocess.run([*command, "--onnx"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads((out / "model.json").read_text())["onnx"]
    assert {one["largest_difference"] < 1e-4 for one in said.values()} == {True}
    model = Model.load(out, device="cpu", precision="float32")
    segment, tagger = (
        onnxruntime.InferenceSession(str(out / f"{part}.onnx")) for part in ("segment", "classify")
    )
    (given,) = segment.get_inputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)")
    assert given.shape == ["batch", 3, "height", "width"]
    for batch, height, width in ((1, 32, 32), (3, 45, 61), (1, 130, 50)):
        images = np.stack([pixels(seed, (height, width)) for seed in range(batch)])
        fed = {"images": np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
        labels, logits = segment.run(["labels", "logits"], fed)
        assert labels.shape == (batch, height, width)
        assert logits.shape == (batch, 4, height, width)
        wanted = np.stack([model.predict(image) for image in images])
        assert (labels == wanted).mean() > 0.999
        tags, maps = tagger.run(["tags", "maps"], fed)
        for row, image in zip(tags, images, strict=True):
            assert row == pytest.approx([*model.tags(image).values()], abs=1e-4)
        assert maps.shape[:2] == (batch, 3)
        assert maps.min() >= 0


def test_onnx_without_its_libraries_says_how_to_get_them(run_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("stages.nets.onnx_graphs.NEEDED", ("no_such_library",))
    with pytest.raises(ValueError, match=r"--onnx needs no_such_library: pip install"):
        export.main([str(run_folder), "--to", str(tmp_path / "model"), "--onnx"])
    assert not (tmp_path / "model").exists()
