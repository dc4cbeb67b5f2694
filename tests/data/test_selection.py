"""Which photos take part, and when the whole is of no use."""

import pytest

from data.records import Photo, Problem, Record
from data.selection import Untagged, check_whole, known_tags, one_of_a_kind
from knowledge.classes import ClassTable

CLASSES = ClassTable.of_names("own", ["cat", "dog"])


def _tags(
    tags: tuple[str, ...] | None, untagged: Untagged = "skip"
) -> tuple[tuple[str, ...] | None, list[tuple[str, bool]]]:
    problems: list[Problem] = []
    record = Record("a", "a.jpg", tags, "train")
    known = known_tags(record, CLASSES, untagged=untagged, report=problems.append)
    return known, [(one.problem, one.used) for one in problems]


def test_tags_come_in_table_order_each_once() -> None:
    assert _tags(("dog", "cat", " dog ")) == (("cat", "dog"), [])


def test_a_tag_that_is_no_class_is_listed_and_the_others_kept() -> None:
    assert _tags(("dog", "giraffe")) == (("dog",), [("unknown-tag", True)])
    assert _tags(("giraffe",)) == (None, [("unknown-tag", False), ("no-tag", False)])


@pytest.mark.parametrize("tags", [None, ()])
def test_a_photo_without_tags_is_left_out_or_counts_as_negative(tags: tuple[()] | None) -> None:
    assert _tags(tags) == (None, [("no-tag", False)])
    assert _tags(tags, "negative") == ((), [("no-tag", True)])


def _photo(identity: str, sha: str, *tags: str, split: str = "train") -> Photo:
    return Photo(identity, f"{identity}.jpg", (2, 2), tags, split, sha)


def _unique(photos: list[Photo], *, merge: bool) -> tuple[list[Photo], list[tuple[str, bool]]]:
    problems: list[Problem] = []
    chosen = one_of_a_kind(photos, CLASSES, merge=merge, report=problems.append)
    assert all(one.problem == "same-photo" for one in problems)
    return chosen, [(one.path, one.used) for one in problems]


def test_a_photo_in_two_class_folders_is_one_photo_with_both_tags() -> None:
    photos = [_photo("dog/x", "1", "dog"), _photo("cat/y", "1", "cat"), _photo("cat/z", "2", "cat")]
    chosen, problems = _unique(photos, merge=True)
    assert [(photo.id, photo.tags) for photo in chosen] == [
        ("cat/y", ("cat", "dog")),
        ("cat/z", ("cat",)),
    ]
    assert problems == [("dog/x.jpg", True)]


def test_one_copy_in_val_takes_them_all_to_val() -> None:
    photos = [_photo("a", "1", "cat"), _photo("b", "1", "dog", split="val")]
    chosen, _ = _unique(photos, merge=True)
    assert [(photo.id, photo.split, set(photo.tags)) for photo in chosen] == [
        ("b", "val", {"cat", "dog"})
    ]


def test_a_training_photo_with_the_bytes_of_a_val_photo_is_left_out() -> None:
    photos = [
        _photo("a", "1", "cat"),
        _photo("b", "1", "cat", split="val"),
        _photo("c", "2", "cat"),
    ]
    chosen, problems = _unique(photos, merge=False)
    assert [photo.id for photo in chosen] == ["b", "c"]
    assert problems == [("a.jpg", False), ("b.jpg", True)]


def test_copies_within_a_split_are_only_listed() -> None:
    chosen, problems = _unique([_photo("a", "1", "cat"), _photo("b", "1", "dog")], merge=False)
    assert [photo.id for photo in chosen] == ["a", "b"]
    assert problems == [("a.jpg", True), ("b.jpg", True)]


def test_without_a_training_photo_or_a_tag_the_run_stops_and_says_why() -> None:
    why = [Problem("x.jpg", "x", "damaged", "x.jpg cannot be decoded", used=False)]
    with pytest.raises(ValueError, match=r"no usable training photo \(1 x damaged\).*x\.jpg"):
        check_whole([_photo("a", "1", "cat", split="val")], CLASSES, why, why.append)
    with pytest.raises(ValueError, match="no class has a training photo: the lists"):
        check_whole([_photo("a", "1")], CLASSES, [], why.append)


def test_a_class_without_training_photo_is_a_note() -> None:
    noted: list[Problem] = []
    photos = [_photo("a", "1", "cat"), _photo("b", "2", "dog", split="val")]
    check_whole(photos, CLASSES, [], noted.append)
    codes = [(one.problem, one.used) for one in noted]
    assert codes == [("class-without-photo", True), ("few-photos", True)]
    assert "'dog'" in noted[0].reason


@pytest.mark.parametrize(
    ("train", "val", "few"), [(10, 2, False), (9, 2, True), (10, 1, True), (10, 0, False)]
)
def test_so_few_photos_that_scores_mean_nothing_are_noted(train: int, val: int, few: bool) -> None:
    names = [("cat", "dog")[place % 2] for place in range(train + val)]
    photos = [
        _photo(f"p{place}", str(place), name, split="train" if place < train else "val")
        for place, name in enumerate(names)
    ]
    noted: list[Problem] = []
    check_whole(photos, CLASSES, [], noted.append)
    assert [one.problem for one in noted] == (["few-photos"] if few else [])
    assert all(f"{train} photos to train on and {val} to score" in one.reason for one in noted)
