"""Tag files of every layout give the same tags; names count, never positions."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.records import Problem, Source
from data.tags import TagFile, photo_id, read_names


def _read(path: Path, **settings: object) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    problems: list[Problem] = []
    source = Source(root=path.parent, tags=path.name, **settings)
    return dict(TagFile.read(source, problems.append).tags), problems


EXPECTED = {"007": ("dog", "sofa"), "sub/b": ("cat",), "c": ()}

LAYOUTS = {
    "one cell": "photo,tags\n007.jpg,dog;sofa\nsub/b.png,cat\nc,\n",
    "bars": "007.jpg,dog|sofa\n./sub/b.png,cat\nc.jpg,\n",
    "quoted": 'image,labels\n007,"dog, sofa"\nsub/b,cat\nc,\n',
    "cells": "file,tags\n007.jpg,dog,sofa\nsub/b,cat\nc\n",
    "rows": "id,tag\n007,dog\n007,sofa\n007,dog\nsub/b,cat\nc,\n",
    "tabs": "id\ttag\n007\tdog;sofa\nsub/b\tcat\nc\t\n",
    "semicolons": "id;tags\n007;dog|sofa\nsub\\b.jpg;cat\nc;\n",
    "columns": "id,cat,dog,sofa\n007,0,1,1\nsub/b,1,0,\nc,0,0,0\n",
    "byte order mark": "\ufeffphoto,tags\n007.jpg,dog;sofa\nsub/b.png,cat\n\nc,\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_csv(tmp_path: Path, layout: str) -> None:
    (tmp_path / "tags.csv").write_text(LAYOUTS[layout], encoding="utf-8")
    assert _read(tmp_path / "tags.csv") == (EXPECTED, [])


def test_one_class_may_have_the_only_column(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("photo,dog\na,1\nb,0\n")
    assert _read(path) == ({"a": ("dog",), "b": ()}, [])
    path.write_text("photo,breed\na,collie\nb,1\n")
    assert _read(path) == ({"a": ("collie",), "b": ("1",)}, [])


def test_json_of_names_and_of_numbers_with_gaps(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps({k: list(v) for k, v in EXPECTED.items()}))
    assert _read(tmp_path / "names.json") == (EXPECTED, [])
    (tmp_path / "labels.txt").write_text("0\tnull\n9\tcat\n3\tdog\n40\tsofa\n")
    (tmp_path / "numbers.json").write_text('{"007": [3, 40, 0], "sub/b": [9], "c": []}')
    assert _read(tmp_path / "numbers.json") == (EXPECTED, [])


def test_a_number_without_name_stays_visible(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("1\tdog\n")
    (tmp_path / "tags.json").write_text('{"a": [1, 7]}')
    assert _read(tmp_path / "tags.json")[0] == {"a": ("dog", "7")}


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(["cat", "dog", "sofa", "zebra"]))
def test_npz_is_mapped_by_name_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[str]
) -> None:
    path = tmp_path_factory.mktemp("npz") / "tags.npz"
    labels = np.array([[name in tags for name in order] for tags in EXPECTED.values()], np.uint8)
    np.savez(path, ids=np.array(list(EXPECTED)), labels=labels, names=np.array(order))
    tags, problems = _read(path)
    assert {k: set(v) for k, v in tags.items()} == {k: set(v) for k, v in EXPECTED.items()}
    assert not problems


def test_a_pickled_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "tags.npz", ids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"tags\.npz is no tag list"):
        _read(tmp_path / "tags.npz")


def test_what_only_looks_like_an_npz_is_named(tmp_path: Path) -> None:
    with (tmp_path / "tags.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"tags\.npz is no tag list"):
        _read(tmp_path / "tags.npz")
    np.savez(tmp_path / "tags.npz", ids=np.array("a"), labels=np.ones(1), names=np.array(["cat"]))
    with pytest.raises(ValueError, match=r"tags\.npz: labels are"):
        _read(tmp_path / "tags.npz")
    columns = {"ids": np.arange(999), "labels": np.zeros((999, 2)), "names": np.array(["a", "b"])}
    np.savez_compressed(tmp_path / "tags.npz", **columns)
    whole = (tmp_path / "tags.npz").read_bytes()
    (tmp_path / "tags.npz").write_bytes(whole[:120] + b"\xff" * 40 + whole[160:])
    with pytest.raises(ValueError, match=r"tags\.npz is no tag list"):
        _read(tmp_path / "tags.npz")


def test_rows_that_cannot_be_read_are_listed_and_the_others_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,cat,dog\na,1,0\nb,maybe,0\nc,1\n")
    tags, problems = _read(tmp_path / "a.csv")
    assert tags == {"a": ("cat",)}
    assert [(one.problem, one.id, one.used) for one in problems] == [
        ("tag-row", "b", False),
        ("tag-row", "c", False),
    ]
    (tmp_path / "b.json").write_text('{"a": ["cat"], "b": [{"x": 1}], "c": [true], "d": "dog"}')
    tags, problems = _read(tmp_path / "b.json")
    assert tags == {"a": ("cat",), "d": ("dog",)}
    assert [one.id for one in problems] == ["b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", r"a\.json is no JSON"),
        ("a.json", b"[1]", "holds no object"),
        ("a.csv", b"\xff\xfe\x00a", r"a\.csv is no CSV in UTF-8"),
        ("a.csv", b"photo,tags\n", "holds no tags"),
        ("a.xlsx", b"PK", "tag files are .csv"),
        ("a.npz", b"PK\x03\x04", r"a\.npz is no tag list"),
    ],
)
def test_a_file_broken_as_a_whole_stops(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        _read(tmp_path / name)


def test_a_missing_tag_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--dataset\.tags"):
        _read(tmp_path / "no.csv")


def test_photo_ids_keep_zeros_dots_and_folders() -> None:
    assert [photo_id(name) for name in ("007.jpg", "a.b.JPEG", "./d\\e.png", " x ", "v1.5")] == [
        "007",
        "a.b",
        "d/e",
        "x",
        "v1.5",
    ]


def test_names_one_a_line_or_numbered_with_background_left_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    for text in (
        "background\ncat\ndog\n",
        "cat\n\ndog\n",
        "2\tdog\n0\tnull\n1\tcat\n",
        "1: cat\n2: dog",
    ):
        path.write_text(text)
        table = read_names(path)
        assert table.names == ("cat", "dog")
        assert [entry.category for entry in table.classes] == [None, None]


def test_numbers_with_gaps_are_kept_as_categories(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("1\tcat\n5\tdog\n90\tsofa\n")
    table = read_names(path)
    assert [(e.label, e.category, e.name) for e in table.classes] == [
        (1, None, "cat"),
        (2, 5, "dog"),
        (3, 90, "sofa"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\tcat\n1\tdog\n", "number the classes from 1"),
        ("1\tcat\n1\tdog\n", "one number to two names"),
        ("cat\ncat\n", "twice"),
        ("", "no classes"),
    ],
)
def test_names_that_cannot_be_a_table(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_names(tmp_path / "labels.txt")
    assert "labels.txt" in str(caught.value)
