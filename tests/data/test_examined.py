"""Every photo has one outcome, and a killed examination continues where it stopped."""

from pathlib import Path

import pytest
from PIL import JpegImagePlugin

from data.examined import CONVERSIONS, Examination, examine, examine_several, keep, kept
from data.photos import CONVERTED
from tests.datasets import write_photo


def test_every_conversion_has_its_sentence() -> None:
    assert {*CONVERTED.values(), "exif-rotated"} == set(CONVERSIONS)


def test_outcomes_name_files_below_the_root_only(tmp_path: Path) -> None:
    write_photo(tmp_path / "p" / "a.jpg")
    (tmp_path / "p" / "b.jpg").write_bytes(b"")
    good = examine(tmp_path, "p/a.jpg")
    assert (good.code, good.size) == ("", (24, 32))
    assert list(good.problems("a")) == []
    codes = []
    for photo in ("p/b.jpg", "p/gone.jpg", "p", "../x.jpg"):
        outcome = examine(tmp_path, photo)
        codes.append(outcome.code)
        assert str(tmp_path) not in outcome.reason
        (problem,) = outcome.problems("b")
        assert not problem.used
    assert codes == ["empty", "unreadable", "unreadable", "outside"]


@pytest.mark.parametrize(
    ("surprise", "code", "way_out"),
    [(MemoryError(), "too-large", "shrink it"), (RuntimeError("no"), "damaged", "export it")],
)
def test_a_surprise_in_one_photo_is_that_photos_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surprise: Exception, code: str, way_out: str
) -> None:
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg", size=(200, 200))
    load = JpegImagePlugin.JpegImageFile.load

    def failing(image: JpegImagePlugin.JpegImageFile) -> object:
        if image.size == (200, 200):
            raise surprise
        return load(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", failing)
    good, bad = examine_several(tmp_path, ("a.jpg", "b.jpg"))
    assert (good.code, bad.code) == ("", code)
    assert bad.reason.startswith("b.jpg ")
    assert way_out in bad.reason


def test_a_killed_run_keeps_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "examined.jsonl"
    outcomes = [
        Examination("ü.jpg", (3, 4), "0" * 64, ("grey",)),
        Examination("b.jpg", code="empty", reason="b.jpg has no bytes"),
    ]
    assert list(kept(path)) == []
    assert list(keep(path, outcomes)) == outcomes
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        lines = whole[:end].count(b"\n")
        assert list(kept(path)) == outcomes[:lines]
        list(keep(path, outcomes[lines:]))  # what was cut off is written again, not appended to
        assert list(kept(path)) == outcomes
