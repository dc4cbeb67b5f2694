"""YOLO labels and COCO boxes as tags of a folder: classes count, boxes do not."""

from pathlib import Path

import pytest

from data import folder, yolo
from data.records import Problem, Record, Source
from tests.coco_files import thing, write_coco
from tests.datasets import write_photo

NAMES = "train: ../train/images\nnc: 3\nnames: [dent, 'rust: deep', scratch]\n"


def _read(root: Path, **settings: object) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    source = Source(root=root, **{"tags": "yolo", **settings})
    return list(folder.records(source, problems.append)), problems


def _write(root: Path, photo: str, labels: str | None) -> None:
    write_photo(root / photo, sum(photo.encode()))
    if labels is not None:
        path = root / yolo.label_path(photo)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(labels)


@pytest.mark.parametrize(
    ("photo", "labels"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.jpeg", "train/labels/a.b.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("images/a.jpg", "labels/a.txt"),
        ("photos/a.png", "photos/a.txt"),
        ("a.png", "a.txt"),
        ("images.jpg", "images.txt"),
    ],
)
def test_where_the_labels_of_a_photo_lie(photo: str, labels: str) -> None:
    assert yolo.label_path(photo) == labels


@pytest.mark.parametrize("layout", ["images/{}/{}.jpg", "{}/images/{}.jpg"])
def test_both_layouts_give_tags_and_splits(tmp_path: Path, layout: str) -> None:
    (tmp_path / "data.yaml").write_text(NAMES)
    _write(tmp_path, layout.format("train", "a"), "2 .5 .5 .1 .1\n0 .2 .2 .1 .1\n2 .1 .1 .1 .1\n")
    _write(tmp_path, layout.format("train", "b"), "")
    _write(tmp_path, layout.format("valid", "c"), "1 0.5 0.5 0.1 0.2 0.3 0.4\n")  # an outline
    found, problems = _read(tmp_path)
    assert [(Path(one.id).name, one.tags, one.split) for one in found] == [
        ("a", ("scratch", "dent"), "train"),
        ("b", (), "train"),
        ("c", ("rust: deep",), "val"),
    ]
    assert not problems
    source = Source(root=tmp_path, tags="yolo")
    assert folder.classes(source).names == ("dent", "rust: deep", "scratch")
    photos = [one.photo for one in found]
    named = [*photos, *map(yolo.label_path, photos), "names data.yaml"]
    assert sorted(folder.files(source)) == sorted(named)


def test_without_split_folders_a_share_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("dent\nscratch\n")
    for place in range(30):
        _write(tmp_path, f"images/{place:03d}.jpg", "1 .5 .5 .1 .1\n")
    found, _ = _read(tmp_path, val_fraction=0.3)
    assert {one.tags for one in found} == {("scratch",)}
    assert {one.split for one in found} == {"train", "val"}


def test_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: dent, 1: scratch}\n")
    _write(tmp_path, "images/a.jpg", "1 .5 .5 .1 .1\n2 .5 .5 .1 .1\ndent .5 .5 .1 .1\n")
    _write(tmp_path, "images/b.jpg", "-1 .5 .5 .1 .1\n")
    _write(tmp_path, "images/c.jpg", None)
    _write(tmp_path, "images/d.jpg", "")
    (tmp_path / "labels" / "d.txt").write_bytes(b"\xff\xfe0\x001\x00")
    found, problems = _read(tmp_path)
    assert [(one.id, one.tags) for one in found] == [
        ("a", ("scratch",)),
        ("b", None),
        ("c", None),
        ("d", None),
    ]
    assert sorted((one.problem, one.path) for one in problems) == [
        ("labels-broken", "labels/d.txt"),
        ("tag-row", "labels/a.txt"),
        ("tag-row", "labels/a.txt"),
        ("tag-row", "labels/b.txt"),
    ]


def test_label_files_outside_the_root_are_not_read(tmp_path: Path) -> None:
    root = tmp_path / "own"
    (tmp_path / "secret.txt").write_text("0 secret\n")
    _write(root, "images/a.jpg", None)
    (root / "classes.txt").write_text("dent\n")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").symlink_to(tmp_path / "secret.txt")
    found, problems = _read(root)
    assert found[0].tags is None
    assert [one.problem for one in problems] == ["labels-broken"]
    assert "secret" not in problems[0].reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [cat, 7]", ["cat", "7"]),
        ("names:\n  1: dog\n  0: cat\n", ["cat", "dog"]),
        ("names: {0: cat, 2: dog}", None),
        ("names: cat", None),
        ("names: []", None),
        ("names: [[cat]]", None),
        ("path: x", None),
        ("- a", None),
        ("{", None),
        ("names: !!python/object/apply:os.system ['true']", None),
    ],
)
def test_names_of_a_yaml_file(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    if expected is not None:
        assert yolo.read_names(path) == expected
        return
    with pytest.raises(ValueError, match=r"data\.yaml"):
        yolo.read_names(path)


def test_missing_and_double_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.yaml or dataset\.yaml or classes\.txt"):
        yolo.names_path(Source(root=tmp_path, tags="yolo"))
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(ValueError, match=r"classes\.txt: .*names 'cat' twice"):
        yolo.table(Source(root=tmp_path, tags="yolo"))


def test_boxes_of_coco_are_tags_of_a_folder(tmp_path: Path) -> None:
    names = {1: "dent", 5: "scratch", 9: "rust"}
    things = {"a": [thing(5), thing(1), thing(5)], "b": [], "sub/c": [thing(9, crowd=True)]}
    write_coco(tmp_path, "train", things, categories=names).rename(tmp_path / "boxes.json")
    (tmp_path / "train").rename(tmp_path / "photos")
    found, problems = _read(tmp_path, tags="boxes.json")
    assert [(one.id, one.tags) for one in found] == [
        ("a", ("dent", "scratch")),
        ("b", ()),
        ("sub/c", ("rust",)),
    ]
    assert not problems
    assert _read(tmp_path, tags="boxes.json", crowds=False)[0][2].tags == ()
    table = folder.classes(Source(root=tmp_path, tags="boxes.json"))
    assert table.names == ("dent", "rust", "scratch")


def test_a_photo_called_images_is_still_a_tag_row(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "images.jpg")
    (tmp_path / "tags.json").write_text('{"images": ["dog"]}')
    assert _read(tmp_path, tags="tags.json")[0][0].tags == ("dog",)
