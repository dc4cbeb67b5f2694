"""The VOC layout: tags from object names alone, lists of several shapes, every defect named."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data import voc
from data.records import Problem, Record, Source
from tests.datasets import write_list, write_photo, write_voc, write_xml


def _read(root: Path, **settings: object) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    found = list(voc.records(Source(root=root, **settings), problems.append))
    return found, problems


def _codes(problems: list[Problem]) -> list[tuple[str, str]]:
    return sorted((problem.problem, problem.path) for problem in problems)


def test_tags_are_the_names_of_objects_each_once_difficult_ones_included(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"b": ["dog", "person", "dog"], "a": ["cat"]}, {"v": ["car"]})
    found, problems = _read(root)
    assert found == [
        Record("a", "JPEGImages/a.jpg", ("cat",), "train"),
        Record("b", "JPEGImages/b.jpg", ("dog", "person"), "train"),
        Record("v", "JPEGImages/v.jpg", ("car",), "val"),
    ]
    assert not problems


def test_names_of_parts_and_of_the_photo_are_no_tags(tmp_path: Path) -> None:
    path = write_xml(
        tmp_path / "a.xml", ["person"], extra="<name>cat</name><part><name>x</name></part>"
    )
    assert voc.object_names(path) == ("person",)


def test_a_doctype_is_refused_before_any_entity_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    path.write_text(f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><annotation>&l11;</annotation>')
    with pytest.raises(ValueError, match=r"a\.xml has a DOCTYPE"):
        voc.object_names(path)
    path.write_text('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>')
    with pytest.raises(ValueError, match="DOCTYPE"):
        voc.object_names(path)


def test_a_giant_xml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<annotation>" + " " * voc.MOST_BYTES + "</annotation>")
    with pytest.raises(ValueError, match="larger than 4 MB"):
        voc.object_names(path)


def test_missing_and_broken_xml_leave_the_photo_out_and_are_listed(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": ["cat"], "b": ["dog"], "c": ["dog"]})
    (root / "Annotations" / "a.xml").unlink()
    (root / "Annotations" / "b.xml").write_text("<annotation><object>")
    found, problems = _read(root)
    assert [record.id for record in found] == ["c"]
    assert _codes(problems) == [
        ("xml-broken", "Annotations/b.xml"),
        ("xml-missing", "Annotations/a.xml"),
    ]
    assert not any(problem.used for problem in problems)


def test_listed_photos_that_are_missing_outside_or_listed_twice(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": ["cat"]})
    write_list(root, "train", ["a", "gone", "../a", "/etc/passwd", "a"])
    found, problems = _read(root)
    assert [record.id for record in found] == ["a"]
    assert _codes(problems) == [
        ("listed-twice", "a"),
        ("missing", "JPEGImages/gone"),
        ("outside", "../a"),
        ("outside", "/etc/passwd"),
    ]


def test_two_photos_of_one_name(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": ["cat"]})
    write_photo(root / "JPEGImages" / "a.png")
    found, problems = _read(root)
    assert [record.photo for record in found] == ["JPEGImages/a.jpg"]
    assert _codes(problems) == [("same-name", "JPEGImages/a.png")]
    assert "'a.jpg'" in problems[0].reason


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "b": ["dog"]})
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "JPEGImages" / "b.jpg").symlink_to(write_photo(tmp_path / "secret.jpg"))
    found, problems = _read(root)
    assert [record.id for record in found] == ["a"]
    assert ("outside", "JPEGImages/b.jpg") in _codes(problems)
    assert not any(str(tmp_path) in problem.reason for problem in problems)
    assert "JPEGImages/b.jpg" not in voc.files(Source(root=root))


@pytest.mark.parametrize(
    "entry",
    ["a", "a.jpg", "JPEGImages/a.jpg", "/JPEGImages/a.jpg /SegmentationClass/a.png", "a  1"],
)
def test_lists_of_the_devkit_and_of_sbd(tmp_path: Path, entry: str) -> None:
    root = write_voc(tmp_path, {"a": ["cat"]})
    write_list(root, "train", [entry])
    found, problems = _read(root)
    assert [record.id for record in found] == ["a"]
    assert not problems


def test_a_list_may_lie_anywhere_and_an_unknown_one_names_those_there_are(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"], "b": ["dog"]}, {"c": ["car"]})
    (tmp_path / "mine.txt").write_text("b\n")
    found, _ = _read(root, train_list=str(tmp_path / "mine.txt"))
    assert [(record.id, record.split) for record in found] == [("b", "train"), ("c", "val")]
    with pytest.raises(FileNotFoundError, match=r"train-list.*train, val"):
        _read(root, train_list="train_aug")


def test_what_makes_the_whole_wrong_stops(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder JPEGImages"):
        _read(tmp_path)
    root = write_voc(tmp_path, {"a": ["cat"], "b": ["dog"]}, {"v": ["cat"]})
    write_list(root, "val", ["v", "b"])
    with pytest.raises(
        ValueError, match=r"1 photos are in the training list and in the val.*\(b\)"
    ):
        _read(root)
    write_list(root, "val", [])
    with pytest.raises(ValueError, match=r"val\.txt names no photo"):
        _read(root)


def test_files_are_lists_xml_and_listed_photos_and_never_masks(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"a": ["cat"]}, {"v": ["car"]})
    write_photo(root / "JPEGImages" / "unlisted.jpg")
    write_photo(root / "SegmentationClass" / "a.png")
    assert sorted(voc.files(Source(root=root))) == [
        "Annotations/a.xml",
        "Annotations/v.xml",
        "JPEGImages/a.jpg",
        "JPEGImages/v.jpg",
        "train list",
        "val list",
    ]


def test_tags_of_the_real_photos_equal_the_reference(shared: Path) -> None:
    root = shared / "voc-mini" / "VOC2012"
    expected = json.loads((shared / "voc-mini" / "image_labels_from_xml.json").read_text())
    found, problems = _read(root, train_list="train_weak")
    assert Counter(record.split for record in found) == {"train": 435, "val": 160}
    # Four of the 439 come from SBD and have no XML of their own.
    aug_only = (root / "ImageSets" / "Segmentation" / "aug_only.txt").read_text().split()
    assert [(one.problem, one.id) for one in problems] == [("xml-missing", i) for i in aug_only]
    for record in found:
        assert set(record.tags or ()) == set(expected[record.id]["all"]), record.id


def test_the_standard_tag_list_gives_the_same_tags_by_name(shared: Path) -> None:
    root = shared / "voc-mini" / "VOC2012"
    tags = str(shared / "voc12-lists" / "image_labels_12031.npz")
    from_xml = {record.id: record.tags for record in _read(root, train_list="train_weak")[0]}
    from_list, problems = _read(root, train_list="train_weak", tags=tags)
    assert not problems
    listed = {record.id: record.tags for record in from_list if record.tags is not None}
    assert len(listed) == 315 + 160  # the list has no tags for the photos without masks
    for identity in listed.keys() & from_xml.keys():
        assert set(listed[identity]) == set(from_xml[identity] or ()), identity


def test_checksums_of_the_standard_lists(shared: Path) -> None:
    lists = shared / "voc12-lists"
    splits = {name: (lists / f"{name}.txt").read_text().split() for name in ("train_aug", "val")}
    with np.load(lists / "image_labels_12031.npz", allow_pickle=False) as file:
        positives = dict(
            zip(file["ids"].tolist(), file["labels"].sum(axis=1).tolist(), strict=True)
        )
    counts = {name: (len(ids), sum(map(positives.get, ids))) for name, ids in splits.items()}
    assert counts == {"train_aug": (10_582, 16_458), "val": (1_449, 2_147)}
