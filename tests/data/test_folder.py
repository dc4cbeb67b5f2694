"""A folder of photos: tag files, folders as tags, lists, shares and every defect."""

import json
from collections import Counter
from pathlib import Path

import pytest

from data import folder
from data.records import Problem, Record, Source
from tests.datasets import write_list, write_photo


def _read(root: Path, **settings: object) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    found = list(folder.records(Source(root=root, **settings), problems.append))
    return found, problems


def _photos(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_photo(root / name, seed)
    return root


def test_photos_and_tags_csv_in_one_folder(tmp_path: Path) -> None:
    root = _photos(
        tmp_path, "a.jpg", "deep/b.PNG", "masks/a.png", "SegmentationClass/a.png", ".h.jpg"
    )
    (root / "tags.csv").write_text("photo,tags\na.jpg,dog;cat\ndeep/b.PNG,dog\n")
    found, problems = _read(root)
    assert found == [
        Record("a", "a.jpg", ("dog", "cat"), "train"),
        Record("deep/b", "deep/b.PNG", ("dog",), "train"),
    ]
    assert not problems
    assert folder.classes(Source(root=root)).names == ("cat", "dog")
    assert sorted(folder.files(Source(root=root))) == ["a.jpg", "deep/b.PNG", "tags.csv"]


@pytest.mark.parametrize("where", ["JPEGImages", "images", "photos", "mine"])
def test_photos_in_a_folder_of_their_own(tmp_path: Path, where: str) -> None:
    root = _photos(tmp_path, f"{where}/a.jpg", "cover.jpg")
    (root / "t.csv").write_text(f"{where}/a.jpg,dog\n")  # a file may name it below the root
    found, problems = _read(root, tags="t.csv", photos="mine" if where == "mine" else None)
    assert found == [Record("a", f"{where}/a.jpg", ("dog",), "train")]
    assert not problems


@pytest.mark.parametrize("where", ["", "images/"])
@pytest.mark.parametrize(
    "masks", ["SegmentationClassAug", "segmentationclass", "Masks", "labels", "Annotations"]
)
def test_folders_of_masks_hold_no_photos(tmp_path: Path, where: str, masks: str) -> None:
    root = _photos(tmp_path, f"{where}a.jpg", f"{where}deep/masks/b.jpg", f"{where}{masks}/a.png")
    (root / "tags.csv").write_text("a,dog\n")
    assert [record.id for record in _read(root)[0]] == ["a", "deep/masks/b"]


def test_photos_without_row_and_rows_without_photo(tmp_path: Path) -> None:
    root = _photos(tmp_path, "a.jpg", "b.jpg")
    (root / "tags.csv").write_text("a,dog\nc,dog\n")
    found, problems = _read(root)
    assert [(record.id, record.tags) for record in found] == [("a", ("dog",)), ("b", None)]
    assert [(one.problem, one.id, one.used) for one in problems] == [
        ("tags-without-photo", "c", False)
    ]


def test_one_folder_a_class(tmp_path: Path) -> None:
    root = _photos(tmp_path, "dog/a.jpg", "dog/far/b.jpg", "masks/a.jpg", "loose.jpg")
    _photos(root, "segmentationClassAug/dog/a.png")
    found, _ = _read(root)
    assert {record.id: record.tags for record in found} == {
        "dog/a": ("dog",),
        "dog/far/b": ("dog",),
        "masks/a": ("masks",),  # a class may be called so
        "loose": None,
    }
    assert folder.classes(Source(root=root)).names == ("dog", "masks")


@pytest.mark.parametrize("file", ["labels.txt", "classes.txt"])
def test_one_folder_a_class_in_the_order_of_the_names_file(tmp_path: Path, file: str) -> None:
    root = _photos(tmp_path, "dog/a.jpg", "cat/b.jpg")
    (root / file).write_text("dog\ncat\n")
    assert folder.classes(Source(root=root)).names == ("dog", "cat")
    assert root / file in folder.files(Source(root=root)).values()
    by_table = Source(root=root, table="voc")
    assert len(folder.classes(by_table)) == 20
    assert root / file not in folder.files(by_table).values()


def test_folders_train_and_val_with_one_folder_a_class_in_them(tmp_path: Path) -> None:
    root = _photos(tmp_path, "train/dog/a.jpg", "train/cat/b.jpg", "val/dog/c.jpg")
    found, _ = _read(root)
    assert [(record.id, record.tags, record.split) for record in found] == [
        ("train/cat/b", ("cat",), "train"),
        ("train/dog/a", ("dog",), "train"),
        ("val/dog/c", ("dog",), "val"),
    ]
    assert folder.classes(Source(root=root)).names == ("cat", "dog")


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_val_stays_val_whatever_lies_beside_the_split_folders(tmp_path: Path, val: str) -> None:
    names = ("train/dog/a.jpg", "train/cat/b.jpg", f"{val}/dog/c.jpg")
    root = _photos(tmp_path, *names, "test/dog/d.jpg", "train/e.jpg", "train.jpg")
    found, problems = _read(root)
    assert {record.id: (record.tags, record.split) for record in found} == {
        "train/cat/b": (("cat",), "train"),
        "train/dog/a": (("dog",), "train"),
        f"{val}/dog/c": (("dog",), "val"),
    }
    assert folder.classes(Source(root=root)).names == ("cat", "dog")
    left_out = [(problem.id, problem.problem, problem.used) for problem in problems]
    assert left_out == [(n, "outside-splits", False) for n in ("test/dog/d", "train", "train/e")]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    found, problems = _read(_photos(tmp_path, "train/a.jpg", "boat/b.jpg"))
    assert [record.tags for record in found] == [("boat",), ("train",)]
    assert not problems


def test_lists_choose_and_a_val_list_alone_leaves_the_rest_to_training(tmp_path: Path) -> None:
    root = _photos(tmp_path, "images/a.jpg", "images/b.jpg", "images/c c.jpg")
    (root / "tags.csv").write_text("a,x\nb,x\nc c,x\n")
    write_list(root, "val", ["c c.jpg", "gone", "../b"])
    (root / "mine.txt").write_text("a\n")
    found, problems = _read(root, val_list="val")
    assert [(record.id, record.split) for record in found] == [
        ("a", "train"),
        ("b", "train"),
        ("c c", "val"),
    ]
    assert sorted((one.problem, one.path) for one in problems) == [
        ("missing", "gone"),
        ("outside", "../b"),
    ]
    found, _ = _read(root, train_list="mine.txt", val_list="val")
    assert [record.id for record in found] == ["a", "c c"]
    source = Source(root=root, train_list="mine", val_list="val")
    assert sorted(folder.files(source)) == [
        "images/a.jpg",
        "images/c c.jpg",
        "tags.csv",
        "train list",
        "val list",
    ]


def test_a_share_for_val_depends_on_id_and_seed_alone(tmp_path: Path) -> None:
    root = _photos(tmp_path, *(f"dog/{n}.jpg" for n in range(60)))
    first = {r.id: r.split for r in _read(root, val_fraction=0.3, seed=1)[0]}
    assert 8 <= Counter(first.values())["val"] <= 28
    _photos(root, "dog/new.jpg")
    again = {r.id: r.split for r in _read(root, val_fraction=0.3, seed=1)[0]}
    assert {name: again[name] for name in first} == first
    assert {r.id: r.split for r in _read(root, val_fraction=0.3, seed=2)[0]} != again
    assert {r.split for r in _read(root)[0]} == {"train"}


def test_links_that_lead_out_and_linked_folders_are_not_entered(tmp_path: Path) -> None:
    root = _photos(tmp_path / "root", "dog/a.jpg")
    outside = _photos(tmp_path / "outside", "b.jpg")
    (root / "dog" / "b.jpg").symlink_to(outside / "b.jpg")
    (root / "dog" / "again.jpg").symlink_to(root / "dog" / "a.jpg")
    (root / "cat").symlink_to(outside)
    (root / "dog" / "loop").symlink_to(root)
    (root / "dog" / "self.jpg").symlink_to(root / "dog" / "self.jpg")
    found, problems = _read(root)
    assert [record.id for record in found] == ["dog/a", "dog/again"]
    assert sorted((one.problem, one.path) for one in problems) == [
        ("broken-link", "dog/self.jpg"),
        ("linked-folder", "cat"),
        ("linked-folder", "dog/loop"),
        ("outside", "dog/b.jpg"),
    ]


def test_names_that_are_no_text_are_listed_in_a_form_that_can_be_written(tmp_path: Path) -> None:
    root = _photos(tmp_path, "dog/ä\u3000b.jpg", "dog/two\nlines.jpg", "dog/\udcff.jpg")
    found, problems = _read(root)
    assert [record.id for record in found] == ["dog/ä\u3000b"]
    assert sorted((one.problem, one.path) for one in problems) == [
        ("odd-name", r"dog/\udcff.jpg"),
        ("odd-name", r"dog/two\nlines.jpg"),
    ]


def test_the_tag_file_of_the_data_set_is_the_one_in_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _photos(tmp_path / "root", "a.jpg")
    (root / "tags.csv").write_text("a,dog\n")
    (tmp_path / "tags.csv").write_text("a,cat\n")
    monkeypatch.chdir(tmp_path)
    assert _read(root)[0][0].tags == ("dog",)
    assert _read(root, tags="tags.csv")[0][0].tags == ("dog",)
    (tmp_path / "other.csv").write_text("a,cow\n")
    assert _read(root, tags="other.csv")[0][0].tags == ("cow",)  # as given, from where one stands


def test_what_makes_the_whole_wrong_stops(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--dataset\.root"):
        _read(tmp_path / "no")
    root = _photos(tmp_path, "images/a.jpg")
    with pytest.raises(FileNotFoundError, match=r"--dataset\.photos"):
        _read(root, photos="no")
    with pytest.raises(FileNotFoundError, match=r"--dataset\.val-list"):
        _read(root, val_list="no")
    with pytest.raises(ValueError, match="no tags found"):
        folder.classes(Source(root=root))
    write_list(root, "one", ["a"])
    with pytest.raises(ValueError, match="take them off one"):
        _read(root, train_list="one", val_list="one")


def test_clothing_photos_with_numbered_tags(shared: Path) -> None:
    root = shared / "ccp-mini"
    found, problems = _read(root, tags="image_tags.json", val_list="val")
    numbers = json.loads((root / "image_tags.json").read_text())
    lines = (root / "labels.txt").read_text().splitlines()
    names = dict(line.split("\t") for line in lines)
    assert not problems
    assert Counter(record.split for record in found) == {"train": 1705, "val": 142}
    for record in found:
        assert list(record.tags or ()) == [names[str(n)] for n in numbers[record.id]], record.id
    table = folder.classes(Source(root=root, tags="image_tags.json"))
    assert len(table) == 58
    assert table.names[0] == "accessories"
