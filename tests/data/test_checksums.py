"""The counts of VOC and COCO: a copy that differs is told what is expected, a part is no copy."""

import numpy as np
import pytest

from data.checksums import (
    ALL_BACKGROUND,
    AUG_CLASSES,
    LABELLED,
    VOC,
    check_coco,
    check_instances,
    check_pixels,
    check_voc,
    kind_of,
)
from knowledge.classes import VOC as VOC_TABLE

IDS = [f"2008_{n:06d}" for n in range(20_000)]


def test_the_counts_by_class_are_those_of_all_tags() -> None:
    assert tuple(name for name, _ in AUG_CLASSES) == VOC_TABLE.names
    assert sum(count for _, count in AUG_CLASSES) == VOC["train_aug"].tags == 16458


def test_lists_of_the_known_length_agree_and_others_say_what_is_expected() -> None:
    lists = {"train": IDS[:1464], "val": IDS[15_000:16_448], "train_aug": IDS[:10_582]}
    by_code = {f.code: f for f in check_voc(lists, {})}
    assert by_code["train-photos"].level == "ok"
    assert by_code["val-photos"].level == "warning"
    assert (by_code["val-photos"].found, by_code["val-photos"].expected) == (1448, 1449)
    assert "1,448 found, 1,449 expected" in by_code["val-photos"].text
    assert by_code["train-in-train_aug"].level == by_code["val-and-train_aug"].level == "ok"


def test_train_outside_train_aug_and_val_inside_are_found() -> None:
    lists = {"train": IDS[100:110], "val": IDS[:7], "train_aug": IDS[:100]}
    by_code = {f.code: f for f in check_voc(lists, {})}
    assert by_code["train-in-train_aug"].found == 10
    assert by_code["val-and-train_aug"].found == 7
    assert by_code["val-and-train_aug"].level == "warning"
    assert "take them off" in by_code["val-and-train_aug"].text


def test_other_tags_than_the_published_ones_are_found() -> None:
    ids = IDS[:1464]
    right = {one: ("dog",) * (2 if place < 707 else 1) for place, one in enumerate(ids)}
    assert {f.code: f.level for f in check_voc({"train": ids}, right)}["train-tags"] == "ok"
    wrong = {**right, ids[0]: ("dog",)}
    tags = {f.code: f for f in check_voc({"train": ids}, wrong)}["train-tags"]
    assert (tags.level, tags.found, tags.expected) == ("warning", 2170, 2171)
    part = {f.code for f in check_voc({"train": ids[:9]}, right)}
    assert part == {"train-photos"}  # tags of a part are no others


@pytest.mark.parametrize(("photos", "level"), [(82_081, "ok"), (82_783, "ok"), (82_080, "warning")])
def test_coco_lists_hold_all_photos_or_those_with_objects(photos: int, level: str) -> None:
    ids = [f"COCO_train2014_{n:012d}" for n in range(photos)]
    (found,) = check_coco({"train2014": ids}, {})
    assert found.level == level


def test_instances_files_of_both_years() -> None:
    assert {f.level for f in check_instances("val2017", 5000, 4952)} == {"ok"}
    assert {f.level for f in check_instances("train2014", 82_783, 82_081)} == {"ok"}
    assert {f.level for f in check_instances("val2014", 40_503, 40_137)} == {"ok", "warning"}
    assert list(check_instances("train", 10, 10)) == []


def test_pixels_of_vocs_masks() -> None:
    counts = np.zeros(256, np.int64)
    counts[0] = round(ALL_BACKGROUND * 21 * LABELLED)
    counts[15] = LABELLED - counts[0]
    counts[255] = 9_999_999  # ignored
    assert {f.level for f in check_pixels(counts, 1464)} == {"ok"}
    counts[15] += 1
    found = {f.code: f.level for f in check_pixels(counts, 1463)}
    assert found == {
        "masks-photos": "warning",
        "masks-pixels": "warning",
        "masks-background": "ok",
    }


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["2007_000032", "2012_004331"], "voc"),
        (["COCO_val2014_000000000042", "000000000009"], "coco"),
        (["2007_000032", "IMG_1"], None),
        (["2013_000032"], None),
        ([], None),
    ],
)
def test_ids_tell_whose_photos_they_are(ids: list[str], kind: str | None) -> None:
    assert kind_of(ids) == kind
