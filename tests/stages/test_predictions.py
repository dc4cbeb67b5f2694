"""The folder of predicted photos: what is done stays, another photo is not taken for it."""

from pathlib import Path

import numpy as np
import pytest

from data.own import OwnPhoto
from knowledge.classes import ClassTable
from stages.predictions import SETTINGS, Finding, Outputs
from tests.datasets import write_photo

TABLE = ClassTable.of_names("two", ["cat", "dog"])


def taken(path: Path) -> OwnPhoto:
    write_photo(path, 1, (8, 9))
    return OwnPhoto(path.stem, path)


def finding(photo: OwnPhoto) -> Finding:
    label = np.full((8, 9), 2, np.uint8)
    return Finding(photo, np.zeros((8, 9, 3), np.uint8), label, {"dog": 0.5}, None)


def test_a_photo_is_done_where_all_its_files_are(tmp_path: Path) -> None:
    outputs, photo = Outputs(tmp_path / "out", TABLE), taken(tmp_path / "a" / "x.jpg")
    assert not outputs.done(photo)
    outputs.write(finding(photo))
    assert outputs.done(photo)
    (tmp_path / "out" / "found" / "x.json").write_text("{")
    assert not outputs.done(photo)
    outputs.write(finding(photo))
    (tmp_path / "out" / "overlays" / "x.jpg").unlink()
    assert not outputs.done(photo)


@pytest.mark.parametrize("left", [b"", bytes(90), "half"])
@pytest.mark.parametrize("name", ["masks/x.png", "overlays/x.jpg"])
def test_what_a_power_cut_left_is_not_done(tmp_path: Path, name: str, left: bytes | str) -> None:
    outputs, photo = Outputs(tmp_path / "out", TABLE), taken(tmp_path / "a" / "x.jpg")
    outputs.write(finding(photo))
    path = tmp_path / "out" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(left, str) else left)
    assert not outputs.done(photo)
    path.write_bytes(whole)
    assert outputs.done(photo)


def test_files_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, photo = Outputs(tmp_path / "out", TABLE), taken(tmp_path / "a" / "x.jpg")

    def refuse(*_: object) -> None:
        raise OSError("killed here")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="killed here"):
        outputs.write(finding(photo))
    files = [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert files == [".x.partial.png"]


def test_another_photo_of_the_same_name_is_not_taken_for_done(tmp_path: Path) -> None:
    outputs, photo = Outputs(tmp_path / "out", TABLE), taken(tmp_path / "a" / "x.jpg")
    outputs.write(finding(photo))
    with pytest.raises(ValueError, match=r"a/x\.jpg under the name of .*b/x\.jpg: give another"):
        outputs.done(taken(tmp_path / "b" / "x.jpg"))
    moved = photo.path.rename(tmp_path / "x.jpg")  # a folder that was moved is still the same
    assert outputs.done(OwnPhoto("x", moved))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_damaged_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json is damaged: give another folder"):
        Outputs(tmp_path, TABLE).begin({"model": "x"})
