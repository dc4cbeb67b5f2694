"""`build` as a person starts it: masks of SBD and COCO, the archive for VOC's server."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import sbd
from data.labels import read_label
from data.manifest import Manifest
from data.masks import MaskIndex
from pipeline.context import Context
from stages import index, masks
from stages.commands.build import main
from tests.coco_files import thing, write_coco
from tests.data.test_sbd import write_mat, write_sbd
from tests.datasets import write_list, write_photo


def _main(*words: object) -> int:
    return main([str(word) for word in words])


def test_sbd_becomes_a_folder_of_masks_and_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, voc = write_sbd(tmp_path)
    assert _main("sbd", tmp_path, voc, "--workers", 1) == 0
    said = capsys.readouterr()
    assert "3 masks" in said.out
    assert "2 of VOC, 1 of SBD" in said.out
    assert "train_aug has 10,582 photos" in said.err
    folder = voc / "SegmentationClassAug"
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.png", "b.png", "build.json", "v.png",
    ]  # fmt: skip
    train_aug = voc / "ImageSets" / "Segmentation" / "train_aug.txt"
    assert train_aug.read_text() == "a\nb\n"
    out = tmp_path / "again"
    assert _main("sbd", tmp_path, voc, "--out", out, "--compare", folder, "--workers", 2) == 0
    said = capsys.readouterr()
    assert "0 masks missing there" in said.out
    assert "0 of 3 masks differ" in said.out


def _times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}


def test_a_killed_build_of_sbd_goes_on_and_another_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, voc = write_sbd(tmp_path)
    folder = voc / "SegmentationClassAug"
    write = sbd.write_mask

    def killed(folder: Path, source: sbd.Source) -> str:
        if source.id == "b":
            (folder / ".b.partial.png").write_bytes(b"half")  # what a kill leaves
            raise KeyboardInterrupt
        return write(folder, source)

    with monkeypatch.context() as patched:
        patched.setattr(sbd, "write_mask", killed)
        with pytest.raises(KeyboardInterrupt):
            _main("sbd", tmp_path, voc, "--workers", 1)
    before = _times(folder)
    assert before.keys() == {"a.png"}
    assert _main("sbd", tmp_path, voc, "--workers", 1) == 0
    after = _times(folder)
    assert after.keys() == {"a.png", "b.png", "v.png"}
    assert after["a.png"] == before["a.png"]
    assert not list(folder.glob(".*partial*"))
    assert _main("sbd", tmp_path, voc, "--workers", 1) == 0
    assert _times(folder) == after
    write_mat(annotations / "cls" / "b.mat", np.zeros((60, 80), np.uint8))
    with pytest.raises(ValueError, match="made with another sha256: give another folder"):
        _main("sbd", tmp_path, voc, "--workers", 1)
    (folder / "build.json").unlink()
    with pytest.raises(ValueError, match="SegmentationClassAug is not empty"):
        _main("sbd", tmp_path, voc, "--workers", 1)
    assert _times(folder) == after


def test_a_killed_build_of_coco_goes_on_with_its_own_policy_alone(tmp_path: Path) -> None:
    root, out = tmp_path / "coco", tmp_path / "out"
    write_coco(root, "train2014", {"a": [thing(18)], "b": [thing(1)], "c": []})
    words = ("coco-masks", root, out, "--workers", 1)
    assert _main(*words) == 0
    policy, before = (out / "policy.json").read_bytes(), _times(out)
    (out / "policy.json").unlink()
    (out / "b.png").unlink()
    for flags in (("--crowd", "class"), ("--overlap", "smaller")):
        with pytest.raises(ValueError, match=f"made with another {flags[0][2:]}: give another"):
            _main(*words, *flags)
    assert not (out / "b.png").exists()
    assert _main(*words) == 0
    after = _times(out)
    assert {name for name in after if after[name] != before.get(name)} == {"b.png"}
    assert (out / "policy.json").read_bytes() == policy
    write_coco(root, "train2014", {"a": [thing(18)], "b": [thing(18)], "c": []})
    with pytest.raises(ValueError, match="made with another files: give another"):
        _main(*words)
    (out / "build.json").write_text("{")
    with pytest.raises(ValueError, match=r"build\.json is damaged"):
        _main(*words)


def test_a_list_and_an_archive_of_somebody_else_stay(tmp_path: Path) -> None:
    _, voc = write_sbd(tmp_path)
    path = write_list(voc, "train_aug", ["a", "other"])
    with pytest.raises(ValueError, match=r"train_aug\.txt names other photos"):
        _main("sbd", tmp_path, voc, "--workers", 1)
    assert path.read_text().split() == ["a", "other"]
    assert not (voc / "SegmentationClassAug").exists()
    (tmp_path / "results.tgz").write_bytes(b"of last week")
    with pytest.raises(ValueError, match=r"results\.tgz is there already"):
        _main("voc-submission", tmp_path, tmp_path / "results.tgz", "--voc", voc)
    assert (tmp_path / "results.tgz").read_bytes() == b"of last week"


def test_a_photo_of_train_aug_without_mask_stops(tmp_path: Path) -> None:
    annotations, voc = write_sbd(tmp_path)
    (annotations / "cls" / "b.mat").unlink()
    with pytest.raises(ValueError, match=r"1 photos of train_aug have no mask .*\(b\)"):
        _main("sbd", annotations, voc)
    assert not (voc / "SegmentationClassAug").exists()


def test_masks_of_coco_are_those_that_the_stage_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "coco"
    crowd = {"size": [24, 32], "counts": [700, 68]}
    write_coco(root, "train2014", {"a": [thing(18), thing(1, crowd, crowd=True)], "b": []})
    write_coco(root, "val2014", {"v": [thing(1)], "x": [thing(1, [[1.0, 2.0]])]})
    assert _main("coco-masks", root, tmp_path / "out", "--workers", 1) == 0
    said = capsys.readouterr()
    assert "3 masks" in said.out
    assert "1 left out" in said.out
    assert "x: " in said.err
    artifact, drawn = tmp_path / "index", tmp_path / "masks"
    artifact.mkdir()
    drawn.mkdir()
    config = index.Config(reader="coco", root=root, untagged="negative")
    index.run(config, {}, artifact, Context())
    inputs, places = {"index": artifact, "masks": drawn}, {"dataset.root": root}
    masks.run(
        masks.beside(masks.Config(source="instances"), root), inputs, drawn, Context(places=places)
    )
    ours = MaskIndex.of(inputs, places)
    for photo in Manifest.of(inputs, places).photos:
        if photo.id != "x":
            label = read_label(tmp_path / "out" / f"{photo.id}.png")
            assert (label == ours.read(photo)).all()
    policies = [json.loads((f / "policy.json").read_text()) for f in (tmp_path / "out", drawn)]
    assert policies[0] == policies[1]


def test_one_split_and_another_policy(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    crowd = {"size": [24, 32], "counts": [700, 68]}
    write_coco(root, "train2014", {"a": [thing(1, crowd, crowd=True)]})
    write_coco(root, "val2014", {"v": []})
    words = ("--split", "train2014", "--crowd", "class", "--workers", 1)
    assert _main("coco-masks", root, tmp_path / "out", *words) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png"]
    assert set(np.unique(read_label(tmp_path / "out" / "a.png")).tolist()) == {0, 1}
    with pytest.raises(FileNotFoundError, match="there are train2014, val2014"):
        _main("coco-masks", root, tmp_path / "other", "--split", "val2017")


def test_a_submission_is_packed_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voc, predictions = tmp_path / "VOC2012", tmp_path / "predictions"
    predictions.mkdir()
    for name in ("t1", "t2"):
        write_photo(voc / "JPEGImages" / f"{name}.jpg", size=(24, 32))
        Image.fromarray(np.full((24, 32), 20, np.uint8)).save(predictions / f"{name}.png")
    write_list(voc, "test", ["t1", "t2"])
    archive = tmp_path / "results.tgz"
    assert _main("voc-submission", predictions, archive, "--voc", voc) == 0
    assert "2 photos, as the server asks for" in capsys.readouterr().out
    assert _main("check-submission", archive, "--voc", voc, "--competition", "comp5") == 1
    assert "does not belong there" in capsys.readouterr().out
    (voc / "ImageSets" / "Segmentation" / "test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="give --list"):
        _main("check-submission", archive, "--voc", voc)


def test_voc_is_not_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="add --download"):
        _main("voc", tmp_path / "data")


def test_an_unknown_builder_is_refused() -> None:
    with pytest.raises(SystemExit):
        _main("cathedral")
