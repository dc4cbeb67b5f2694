"""The index of whole data sets: every bad photo is listed, and what is wrong as a whole stops."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from data.manifest import Manifest, read_problems
from data.records import Problem
from pipeline.context import Context, Silent
from pipeline.key import canonical, places
from stages import index
from stages.index import Config, Demo
from tests.datasets import huge_png, pixels, write_list, write_photo, write_voc, write_xml


def _run(config: Config, out: Path, **context: object) -> tuple[Manifest, list[Problem]]:
    out.mkdir(parents=True, exist_ok=True)
    index.run(config, {}, out, Context(**context))
    manifest = Manifest.of({"index": out}, places("dataset", config))
    return manifest, list(read_problems(out))


def _codes(problems: list[Problem]) -> dict[str, list[tuple[str, bool]]]:
    codes: dict[str, list[tuple[str, bool]]] = {}
    for problem in problems:
        codes.setdefault(problem.path, []).append((problem.problem, problem.used))
    return codes


def _files(folder: Path) -> Mapping[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """A VOC folder with every kind of bad photo, and three good ones."""
    names = ["a", "truncated", "empty", "text", "cmyk", "deep", "grey", "alpha", "turned", "huge"]
    ids = {name: ["cat"] for name in names}
    root = write_voc(
        tmp_path / "voc", {**ids, "b": ["dog"], "unknown": ["cat", "giraffe"]}, {"v": ["dog"]}
    )
    photos = root / "JPEGImages"
    whole = write_photo(photos / "truncated.jpg", 50, (64, 64)).read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("404: not found")
    Image.fromarray(pixels(51)).convert("CMYK").save(photos / "cmyk.jpg")
    Image.fromarray(pixels(52)[..., 0].astype(np.uint16) * 257).save(photos / "deep.png")
    Image.fromarray(pixels(53)[..., 0].copy()).save(photos / "grey.jpg")
    Image.fromarray(pixels(54)).convert("RGBA").save(photos / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(55)).save(photos / "turned.jpg", exif=exif)
    (photos / "huge.png").write_bytes(huge_png(9_000))
    for name in ("deep", "alpha", "huge"):
        (photos / f"{name}.jpg").unlink()
    write_photo(photos / "a.png", 56)
    write_xml(root / "Annotations" / "untagged.xml", [])
    write_photo(photos / "untagged.jpg", 57)
    write_list(root, "train", [*ids, "b", "unknown", "untagged", "gone", "../out"])
    return root


def test_every_kind_of_bad_photo_is_listed_and_the_good_ones_used(
    spoilt: Path, tmp_path: Path
) -> None:
    manifest, problems = _run(Config(reader="voc", root=spoilt), tmp_path / "out")
    codes = _codes(problems)
    assert len([path for path in codes if path == ""]) == 1  # classes without a photo
    del codes[""]
    assert codes == {
        "../out": [("outside", False)],
        "JPEGImages/a.png": [("same-name", False)],
        "JPEGImages/alpha.png": [("alpha", True)],
        "JPEGImages/cmyk.jpg": [("cmyk", True)],
        "JPEGImages/deep.png": [("16-bit", True)],
        "JPEGImages/empty.jpg": [("empty", False)],
        "JPEGImages/gone": [("missing", False)],
        "JPEGImages/grey.jpg": [("grey", True)],
        "JPEGImages/huge.png": [("too-large", False)],
        "JPEGImages/text.jpg": [("not-a-photo", False)],
        "JPEGImages/truncated.jpg": [("damaged", False)],
        "JPEGImages/turned.jpg": [("exif-rotated", True)],
        "JPEGImages/unknown.jpg": [("unknown-tag", True)],
        "JPEGImages/untagged.jpg": [("no-tag", False)],
    }
    photos = {photo.id: photo for photo in manifest.photos}
    assert sorted(photos) == ["a", "alpha", "b", "cmyk", "deep", "grey", "turned", "unknown", "v"]
    assert photos["a"].size == (24, 32)
    assert photos["turned"].size == (32, 24)
    assert photos["unknown"].tags == ("cat",)
    assert photos["v"].split == "val"


def test_no_path_of_this_machine_is_in_the_artifact(spoilt: Path, tmp_path: Path) -> None:
    _run(Config(reader="voc", root=spoilt), tmp_path / "out")
    for name, content in _files(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_a_data_set_that_moves_keeps_its_sources_and_its_bytes(
    spoilt: Path, tmp_path: Path
) -> None:
    before = Config(reader="voc", root=spoilt)
    _run(before, tmp_path / "out1")
    names = sorted(index.sources(before))
    shutil.move(spoilt, tmp_path / "elsewhere")
    after = Config(reader="voc", root=tmp_path / "elsewhere")
    _run(after, tmp_path / "out2")
    assert sorted(index.sources(after)) == names
    assert canonical(before) == canonical(after)
    assert _files(tmp_path / "out1") == _files(tmp_path / "out2")


def test_masks_change_neither_the_sources_nor_the_index(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "b": ["dog"]}, {"v": ["dog"]})
    config = Config(reader="voc", root=root)
    _run(config, tmp_path / "out1")
    without = index.sources(config)
    write_photo(root / "SegmentationClass" / "a.png")
    _run(config, tmp_path / "out2")
    assert index.sources(config) == without
    assert _files(tmp_path / "out1") == _files(tmp_path / "out2")


def test_one_worker_and_two_give_the_same_bytes(spoilt: Path, tmp_path: Path) -> None:
    config = Config(reader="voc", root=spoilt)
    _run(config, tmp_path / "out1", workers=1)
    _run(config, tmp_path / "out2", workers=2)
    assert _files(tmp_path / "out1") == _files(tmp_path / "out2")


def test_the_second_of_two_ranks_leaves_the_work_to_the_first(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"]})
    out = tmp_path / "out"
    out.mkdir()
    index.run(Config(reader="voc", root=root), {}, out, Context(rank=1, world=2))
    assert not list(out.iterdir())


class _Killed(Exception):
    pass


class _KillAfter:
    """A listener that ends the run after some photos, as a signal would."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def progress(self, done: int, total: int, unit: str) -> None:
        if done > self.photos:
            raise _Killed

    def figures(self, figures: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None: ...


def test_a_killed_index_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_voc(tmp_path / "voc", {name: ["cat"] for name in "abcdef"})
    config = Config(reader="voc", root=root)
    _run(config, tmp_path / "whole")
    with pytest.raises(_Killed):
        _run(config, tmp_path / "out", listener=_KillAfter(3))
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    kept = len((tmp_path / "out" / index.KEPT).read_text().splitlines())
    assert kept >= 3
    opened: list[str] = []
    from data import examined, photos

    def counting(path: Path, name: str) -> photos.Examined:
        opened.append(name)
        return photos.examine_photo(path, name)

    monkeypatch.setattr(examined, "examine_photo", counting)
    _run(config, tmp_path / "out")
    assert len(opened) == 6 - kept
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_the_same_photo_in_two_class_folders_has_two_tags(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_photo(root / "cat" / "one.jpg", 1)
    shutil.copytree(root / "cat", root / "dog")
    write_photo(root / "dog" / "other.jpg", 2)
    manifest, problems = _run(Config(reader="folder", root=root), tmp_path / "out")
    assert [(photo.id, photo.tags) for photo in manifest.photos] == [
        ("cat/one", ("cat", "dog")),
        ("dog/other", ("dog",)),
    ]
    assert _codes(problems) == {
        "dog/one.jpg": [("same-photo", True)],
        "": [("few-photos", True)],
    }


def test_the_bytes_of_a_val_photo_never_train(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "b": ["cat"]}, {"v": ["cat"]})
    shutil.copy(root / "JPEGImages" / "v.jpg", root / "JPEGImages" / "a.jpg")
    manifest, problems = _run(Config(reader="voc", root=root), tmp_path / "out")
    assert [photo.id for photo in manifest.split("train")] == ["b"]
    assert ("same-photo", False) in _codes(problems)["JPEGImages/a.jpg"]


def test_untagged_photos_may_count_as_negatives(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "none": [], "broken": ["cat"]})
    (root / "Annotations" / "broken.xml").write_text("<annotation>")
    config = Config(reader="voc", root=root, untagged="negative")
    manifest, problems = _run(config, tmp_path / "out")
    assert [(photo.id, photo.tags) for photo in manifest.photos] == [("a", ("cat",)), ("none", ())]
    codes = _codes(problems)
    assert codes["JPEGImages/none.jpg"] == [("no-tag", True)]
    assert codes["Annotations/broken.xml"] == [("xml-broken", False)]


@pytest.mark.parametrize("names", ["zebra\ncat\n", "background\nzebra\ncat\n"])
def test_classes_of_the_users_own_in_the_order_of_their_file(tmp_path: Path, names: str) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "b": ["zebra"]})
    (tmp_path / "names.txt").write_text(names)
    config = Config(reader="voc", root=root, names=tmp_path / "names.txt")
    manifest, _ = _run(config, tmp_path / "out")
    assert manifest.classes.names == ("zebra", "cat")
    assert manifest.tag_matrix(manifest.photos).tolist() == [[False, True], [True, False]]


def test_what_makes_the_whole_wrong_stops_with_one_message(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["unicorn"]})
    with pytest.raises(ValueError, match=r"no usable training photo \(.*unicorn"):
        _run(Config(reader="voc", root=root), tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"--dataset\.root"):
        index.sources(Config(reader="folder", root=tmp_path / "no"))
    with pytest.raises(ValueError, match=r"needs --dataset\.root"):
        index.sources(Config(reader="voc"))
    with pytest.raises(ValidationError, match="demo has none"):
        Config(root=tmp_path)
    with pytest.raises(ValidationError, match="set one of"):
        Config(reader="voc", root=tmp_path, classes="voc", names=tmp_path)


def test_the_demo_lies_in_the_artifact(tmp_path: Path) -> None:
    config = Config(demo=Demo(photos=16, val=8, size=48))
    assert index.sources(config) == {}
    manifest, problems = _run(config, tmp_path / "out")
    assert (len(manifest.split("train")), len(manifest.split("val"))) == (16, 8)
    assert not [problem for problem in problems if not problem.used]
    for photo in manifest.photos:
        with Image.open(manifest.path(photo)) as image:
            assert image.size == photo.size[::-1]
        assert (tmp_path / "out" / "masks" / f"{photo.id}.png").is_file()


def test_the_small_voc(shared: Path, tmp_path: Path) -> None:
    root = shared / "voc-mini" / "VOC2012"
    config = Config(reader="voc", root=root, train_list="train_weak")
    manifest, problems = _run(config, tmp_path / "out", workers=2)
    assert Counter(photo.split for photo in manifest.photos) == {"train": 435, "val": 160}
    # Four photos of SBD have no XML of their own; their masks are no source of tags.
    assert Counter(problem.problem for problem in problems) == {"xml-missing": 4}
    assert max(max(photo.size) for photo in manifest.photos) == 320
    expected = json.loads((shared / "voc-mini" / "image_labels_from_xml.json").read_text())
    assert manifest.tag_matrix(manifest.photos).sum() == sum(
        len(expected[photo.id]["all"]) for photo in manifest.photos
    )


def test_large_photos_are_pointed_out(tmp_path: Path) -> None:
    class Heard(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    root = write_voc(tmp_path / "voc", {"a": ["cat"], "wide": ["dog"]}, {"v": ["dog"]})
    config = Config(reader="voc", root=root)
    for size, said in (((8, 1500), 1), ((8, 1501), 2)):
        write_photo(root / "JPEGImages" / "wide.jpg", 60, size)
        heard = Heard()
        _run(config, tmp_path / f"out-{size[1]}", listener=heard)
        assert len(heard.notes) == said
    assert heard.notes[-1].startswith("photos longer than 1500 pixels: 1;")
