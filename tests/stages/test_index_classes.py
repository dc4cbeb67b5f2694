"""How many classes a data set may have: 1 to 1000, and what happens beyond."""

from pathlib import Path

import pytest

from data.manifest import Manifest, read_problems
from pipeline.context import Context
from stages import index
from stages.index import Config
from tests.datasets import write_photo


def _write(root: Path, classes: int) -> Path:
    """A folder of eight photos; the first carries all tags of even number, the others one each."""
    names = [f"class {place:04d}" for place in range(classes)]
    rows = [";".join(names[::2]), *(names[place % classes] for place in range(1, 8))]
    for place in range(len(rows)):
        write_photo(root / "photos" / f"{place}.jpg", place)
    odd = ";".join(names[1::2])
    lines = [f"{place},{row}\n" for place, row in enumerate(rows)]
    (root / "tags.csv").write_text("photo,tags\n" + "".join(lines) + f"7,{odd}\n")
    return root


@pytest.mark.parametrize("classes", [1, 2, 254, 255, 1000])
def test_so_many_classes_fit(tmp_path: Path, classes: int) -> None:
    root = _write(tmp_path / "own", classes)
    (tmp_path / "out").mkdir()
    index.run(Config(reader="folder", root=root), {}, tmp_path / "out", Context())
    manifest = Manifest.read(tmp_path / "out", root)
    assert len(manifest.classes) == classes
    assert manifest.tag_matrix(manifest.photos).any(axis=0).all()


def test_more_stop_before_a_photo_is_opened(tmp_path: Path) -> None:
    root = _write(tmp_path / "own", 1001)
    (root / "photos" / "0.jpg").write_bytes(b"damaged")  # it would be listed, were it opened
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ValueError, match=r"1001 classes; at most 1000 .*--dataset\.names"):
        index.run(Config(reader="folder", root=root), {}, out, Context())
    assert list(out.iterdir()) == []


def test_the_way_out_of_too_many_classes(tmp_path: Path) -> None:
    root = _write(tmp_path / "own", 1001)
    (tmp_path / "keep.txt").write_text("class 0001\nclass 0002\n")
    out = tmp_path / "out"
    out.mkdir()
    config = Config(reader="folder", root=root, names=tmp_path / "keep.txt")
    index.run(config, {}, out, Context())
    manifest = Manifest.read(out, root)
    assert {photo.tags for photo in manifest.photos} == {("class 0001",), ("class 0002",)}
    assert {one.problem for one in read_problems(out)} >= {"unknown-tag"}
