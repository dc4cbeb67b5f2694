"""COCO's layout: tags from categories by name, years that share photos, published lists."""

import json
from pathlib import Path

import pytest

from data import coco
from data.coco_layout import instances_files, no_shared_number, number
from data.records import Problem, Record, Source
from knowledge.classes import COCO
from tests.coco_files import CATEGORIES, thing, write_coco
from tests.datasets import write_photo

DIGITS = ("000000000009", "000000000025", "000000000030")


def _read(root: Path, **settings: object) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    found = list(coco.records(Source(root=root, **settings), problems.append))
    return found, problems


def _codes(problems: list[Problem]) -> list[tuple[str, str]]:
    return sorted((problem.problem, problem.path) for problem in problems)


@pytest.fixture
def both_years(tmp_path: Path) -> Path:
    """2014 with two training photos and one val photo; 2017 has the val photo in train."""
    first, second, third = DIGITS
    write_coco(
        tmp_path,
        "train2014",
        {
            f"COCO_train2014_{first}": [thing(90), thing(18), thing(18)],
            f"COCO_train2014_{second}": [],
        },
    )
    write_coco(tmp_path, "val2014", {f"COCO_val2014_{third}": [thing(1, crowd=True)]})
    write_coco(tmp_path, "train2017", {second: [], third: [thing(1, crowd=True)]})
    write_coco(tmp_path, "val2017", {first: [thing(90), thing(18)]})
    return tmp_path


def test_tags_are_categories_by_name_and_2014_comes_first(both_years: Path) -> None:
    found, problems = _read(both_years)
    first, second, third = DIGITS
    assert found == [
        Record(
            f"COCO_train2014_{first}",
            f"train2014/COCO_train2014_{first}.jpg",
            ("dog", "toothbrush"),
            "train",
        ),
        Record(f"COCO_train2014_{second}", f"train2014/COCO_train2014_{second}.jpg", (), "train"),
        Record(f"COCO_val2014_{third}", f"val2014/COCO_val2014_{third}.jpg", ("person",), "val"),
    ]
    assert not problems
    assert coco.classes(Source(root=both_years)) is COCO
    assert COCO.index("toothbrush") == 79


def test_category_numbers_mean_nothing_names_do(tmp_path: Path) -> None:
    turned = dict(zip(sorted(CATEGORIES), reversed(list(CATEGORIES.values())), strict=True))
    write_coco(tmp_path, "train2014", {"a": [thing(1)]}, categories=turned)
    found, _ = _read(tmp_path)
    assert coco.classes(Source(root=tmp_path)) is COCO
    assert found[0].tags == ("toothbrush",)


def test_a_crowd_counts_or_not(both_years: Path) -> None:
    assert _read(both_years)[0][-1].tags == ("person",)
    assert _read(both_years, crowds=False)[0][-1].tags == ()


def test_outlines_change_no_tag(both_years: Path) -> None:
    expected = _read(both_years)
    for path in (both_years / "annotations").iterdir():
        document = json.loads(path.read_text())
        for one in document["annotations"]:
            one["segmentation"] = "gone"
        path.write_text(json.dumps(document))
    assert _read(both_years) == expected
    for path in (both_years / "annotations").iterdir():
        document = json.loads(path.read_text())
        for one in document["annotations"]:
            del one["segmentation"], one["area"]
        path.write_text(json.dumps(document))
    assert _read(both_years) == expected


def test_splits_of_two_years_are_refused_by_number(both_years: Path) -> None:
    with pytest.raises(ValueError, match=r"1 photos are in the training.*000000000030 is COCO"):
        _read(both_years, train_list="train2017", val_list="val2014")
    found, _ = _read(both_years, train_list="train2017")
    assert [(one.id, one.split) for one in found] == [
        (DIGITS[0], "val"),
        (DIGITS[1], "train"),
        (DIGITS[2], "train"),
    ]


def test_the_number_of_a_photo() -> None:
    names = ("COCO_train2014_000000000009", "COCO_val2014_000000000009", "000000000009")
    assert {number(name) for name in names} == {"000000000009"}
    assert number("9") == "9"
    assert number("IMG_000000000009") == "IMG_000000000009"


def test_published_lists_need_no_instances_file(both_years: Path) -> None:
    for path in (both_years / "annotations").iterdir():
        path.unlink()
    train, val = both_years / "train.txt", both_years / "v.txt"
    train.write_text(f"COCO_train2014_{DIGITS[0]} 16 79\nCOCO_train2014_{DIGITS[1]} 80\n")
    val.write_text(f"COCO_val2014_{DIGITS[2]} 0\n")
    found, problems = _read(both_years, tags="lists", train_list="train.txt", val_list=str(val))
    assert [one.tags for one in found] == [("dog", "toothbrush"), None, ("person",)]
    assert _codes(problems) == [("tag-row", "train.txt")]
    assert "class numbers run 0..79" in problems[0].reason
    with pytest.raises(FileNotFoundError, match=r"set --dataset\.tags to lists"):
        _read(both_years, train_list="train.txt")


def test_lists_of_2014_find_photos_and_tags_of_2017(tmp_path: Path) -> None:
    write_coco(tmp_path, "train2017", {DIGITS[0]: [thing(18)], DIGITS[1]: [thing(17)]})
    names = [f"COCO_train2014_{digits}" for digits in (DIGITS[0], "0" * 12)]
    (tmp_path / "mine.txt").write_text(f"{names[0]}.jpg\n{names[1]}\n")
    found, problems = _read(tmp_path, train_list="mine.txt")
    assert found == [Record(names[0], f"train2017/{DIGITS[0]}.jpg", ("dog",), "train")]
    assert _codes(problems) == [("missing", names[1])]


def test_without_val_a_share_is_drawn(tmp_path: Path) -> None:
    write_coco(tmp_path, "train2017", {f"{n:012d}": [thing(18)] for n in range(40)})
    first = [one.split for one in _read(tmp_path, val_fraction=0.3)[0]]
    assert 3 < first.count("val") < 25
    assert [one.split for one in _read(tmp_path, val_fraction=0.3)[0]] == first
    assert [one.split for one in _read(tmp_path, val_fraction=0.3, seed=1)[0]] != first
    assert "val" not in [one.split for one in _read(tmp_path)[0]]


def test_what_a_file_does_not_list_itself(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "train2014", {"a": [thing(18), thing(12)], "../b": [thing(1)]})
    document = json.loads(path.read_text())
    document["annotations"].append({"image_id": 77, "category_id": 1})
    path.write_text(json.dumps(document))
    found, problems = _read(tmp_path)
    assert [(one.id, one.tags) for one in found] == [("a", ("dog",))]
    assert _codes(problems) == [
        ("objects-without-photo", path.name),
        ("outside", "../b.jpg"),
        ("unknown-category", path.name),
    ]


def test_own_categories_become_the_table(tmp_path: Path) -> None:
    names = {7: "scratch", 3: "dent", 4: "dog"}
    write_coco(tmp_path, "train", {"x/a": [thing(7)], "b": [thing(3), thing(4)]}, categories=names)
    write_coco(tmp_path, "valid", {"c": [thing(3)]}, categories=names)
    table = coco.classes(Source(root=tmp_path))
    assert [(one.name, one.label, one.category) for one in table.classes] == [
        ("dent", 1, 3),
        ("dog", 2, 4),
        ("scratch", 3, 7),
    ]
    found, problems = _read(tmp_path)
    assert [(one.id, one.split, one.tags) for one in found] == [
        ("b", "train", ("dent", "dog")),
        ("c", "val", ("dent",)),
        ("x/a", "train", ("scratch",)),
    ]
    assert not problems


def test_exports_with_the_file_beside_the_photos(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "train", {"a": [thing(1)]}, categories={1: "dent"})
    path.rename(tmp_path / "train" / "_annotations.coco.json")
    assert list(instances_files(tmp_path)) == ["train"]
    assert _read(tmp_path)[0] == [Record("a", "train/a.jpg", ("dent",), "train")]


def test_a_tag_file_of_ones_own(both_years: Path) -> None:
    (both_years / "tags.csv").write_text(f"COCO_train2014_{DIGITS[0]},cat\n{DIGITS[2]},dog\n")
    found, _ = _read(both_years, tags="tags.csv")
    assert [one.tags for one in found] == [("cat",), None, ("dog",)]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "train2014" / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"no instances_train2014\.json"):
        _read(tmp_path)
    path = write_coco(tmp_path, "train2014", {"a": [thing(1)]})
    with pytest.raises(FileNotFoundError, match=r"no split 'val2017'.*val-list.*\(train2014\)"):
        _read(tmp_path, val_list="val2017")
    (tmp_path / "train2014" / "a.jpg").unlink()
    assert _codes(_read(tmp_path)[1]) == [("missing", "a")]
    (tmp_path / "train2014").rmdir()
    with pytest.raises(FileNotFoundError, match=r"no folder of photos such as train2014"):
        _read(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        coco.classes(Source(root=tmp_path))


def test_files_say_how_they_are_used(both_years: Path) -> None:
    photos = [f"train2014/COCO_train2014_{digits}.jpg" for digits in DIGITS[:2]]
    photos += [f"val2014/COCO_val2014_{DIGITS[2]}.jpg"]
    photos += [f"train2017/{digits}.jpg" for digits in DIGITS[1:]] + [f"val2017/{DIGITS[0]}.jpg"]
    read = ("train", "categories"), ("val", "categories")
    named = [
        f"{use} of instances_{split}2014.json" for split, word in read for use in (split, word)
    ]
    assert sorted(coco.files(Source(root=both_years))) == sorted([*named, *photos])
    (both_years / "mine.txt").write_text(f"{DIGITS[0]} 1\n")
    listed = Source(root=both_years, train_list="mine.txt", tags="lists")
    own = [photos[0], f"val2017/{DIGITS[0]}.jpg"]
    assert sorted(coco.files(listed)) == sorted(["train list with numbers", *own])


def test_checksums_of_the_published_lists(shared: Path, tmp_path: Path) -> None:
    """82,081 / 40,137 photos; 235,348 / 113,748 positives; at most 18 / 15 in a photo."""
    lists = shared / "coco14-lists"
    (tmp_path / "train2014").mkdir()
    parts = {}
    for split in ("train", "val"):
        source = Source(root=tmp_path, tags="lists", train_list=str(lists / f"{split}.txt"))
        problems: list[Problem] = []
        parts[split] = coco.read_split(source, lists / f"{split}.txt", problems.append)
        assert not problems
    counts = {
        split: [len(row) for row in (part.tags or {}).values()] for split, part in parts.items()
    }
    assert {split: (len(row), sum(row), max(row)) for split, row in counts.items()} == {
        "train": (82_081, 235_348, 18),
        "val": (40_137, 113_748, 15),
    }
    trained = [name for row in (parts["train"].tags or {}).values() for name in row]
    assert (trained.count("person"), trained.count("hair drier")) == (45_061, 128)
    no_shared_number(parts["train"].ids, parts["val"].ids)


def test_tags_of_the_real_photos_against_the_published_list(shared: Path) -> None:
    """Photo by photo: two tags of the annotations are not in the list, one photo has no object.

    A spoon and a bowl that are painted over in full by objects listed later are missing in the
    published list: its tags were taken from masks. Those of the annotations know both.
    """
    root = shared / "coco-tiny"
    ours, problems = _read(root)
    assert len(ours) == 50
    assert not problems
    val = str(shared / "coco14-lists" / "val.txt")
    listed = {number(one.id): one for one in _read(root, tags="lists", train_list=val)[0]}
    assert len(listed) == 49
    differ = {
        one.id: set(one.tags or ()) ^ set(listed[one.id].tags or ())
        for one in ours
        if one.id in listed and set(one.tags or ()) != set(listed[one.id].tags or ())
    }
    assert differ == {"000000060623": {"bowl"}, "000000574769": {"spoon"}}
    assert [one.id for one in ours if not one.tags] == ["000000262284"]


def test_train2017_holds_photos_of_val2014(shared: Path) -> None:
    val = str(shared / "coco14-lists" / "val.txt")
    with pytest.raises(ValueError, match="49 photos are in the training split and in the val"):
        _read(shared / "coco-tiny", tags="lists", train_list="train2017", val_list=val)
