"""Checks of data: layouts, lists, sizes, agreement of masks and tags, order of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.doctor import (
    check_graph_file,
    check_instances_files,
    check_lists,
    check_masks,
    check_photos,
    layout,
    lists_only,
)
from data.findings import of_problems
from data.manifest import Manifest
from data.masks import MaskIndex
from data.records import Mask, Photo, Problem, Source
from knowledge.classes import COCO, VOC
from tests.broken import healthy
from tests.coco_files import thing, write_coco
from tests.datasets import write_list, write_photo


def photo(name: str, tags: tuple[str, ...], split: str = "train", size=(300, 400)) -> Photo:
    return Photo(name, f"{name}.jpg", size, tags, split, "0" * 64)


def mask(name: str, *labels: int) -> Mask:
    return Mask(name, f"{name}.png", "train", (300, 400), "0" * 64, labels)


def test_layouts_are_told_by_folders(tmp_path: Path) -> None:
    assert layout(healthy(tmp_path / "voc")) == "voc"
    write_coco(tmp_path / "coco", "train2017", {"000000000009": [thing(1)]})
    assert layout(tmp_path / "coco") == "coco"
    write_photo(tmp_path / "own" / "dog" / "a.jpg")
    assert layout(tmp_path / "own") == "folder"
    assert not any(lists_only(tmp_path / name) for name in ("voc", "coco", "own"))


def test_a_folder_of_lists_is_told_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("COCO_val2014_000000000042 15\n")
    assert (layout(tmp_path), lists_only(tmp_path)) == ("coco", True)
    (tmp_path / "val.txt").write_text("my dog.jpg\n")
    assert (layout(tmp_path), lists_only(tmp_path)) == ("folder", False)
    (tmp_path / "val.txt").write_text("/JPEGImages/2007_000032.jpg /SegmentationClassAug/x.png\n")
    assert (layout(tmp_path), lists_only(tmp_path)) == ("voc", True)
    write_photo(tmp_path / "2007_000032.jpg")
    assert not lists_only(tmp_path)


def test_lists_of_coco_say_which_lines_are_wrong_and_what_is_in_both(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("COCO_train2014_000000000009 0 85\n000000000042 1\n")
    (tmp_path / "val.txt").write_text("COCO_val2014_000000000042 1\n")
    by_code = {f.code: f for f in check_lists(Source(tmp_path), None)}
    assert "class numbers run 0..79" in by_code["tag-row"].text
    assert by_code["train-and-val"].found == 1
    assert by_code["train-and-val"].level == "warning"
    assert by_code["val2014-photos"].expected == 40_137


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"2007_000032\n\xff\xfe\n")
    (found,) = check_lists(Source(tmp_path), None)
    assert (found.level, found.paths) == ("warning", ("train.txt",))
    assert "save the list as UTF-8" in found.text


def test_tags_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    write_list(tmp_path, "train", ["2007_000032"])
    found = {f.code: f for f in check_lists(Source(tmp_path, tags="gone.csv"), None)}
    assert found["tags"].level == "warning"
    assert "no tag file 'gone.csv'" in found["tags"].text
    assert "train-photos" in found
    assert "tags" not in {f.code for f in check_lists(Source(tmp_path, tags="folders"), None)}


def test_lists_of_somebody_else_are_not_measured_by_voc(tmp_path: Path) -> None:
    write_list(tmp_path, "train", ["a", "b"])
    assert list(check_lists(Source(tmp_path), None)) == []


def test_instances_files_are_counted(tmp_path: Path) -> None:
    write_coco(tmp_path, "val2017", {"000000000009": [thing(1)], "000000000025": []})
    found = {f.code: (f.found, f.expected) for f in check_instances_files(tmp_path)}
    assert found == {"val2017-file": (2, 5000), "val2017-objects": (1, 4952)}


def test_sizes_that_are_too_large_or_too_small(tmp_path: Path) -> None:
    photos = (photo("a", ("dog",), size=(3000, 4000)), photo("b", ("dog",), size=(20, 30)))
    found = {f.code: f for f in check_photos(Manifest(tmp_path, VOC, photos), [])}
    assert "shrink" in found["large"].text
    assert found["small"].found == 1
    assert "val-list" in found["no-val"].text
    assert found["photos"].text.startswith("2 photos to train on, 0 to score, 20 classes")


@pytest.mark.parametrize(
    ("labels", "code", "untagged"),
    [((12,), "tags-and-masks", 0), ((12, 15), "tags-and-masks", 1), ((3,), "class-order", 2)],
)
def test_masks_and_tags_are_set_beside_each_other(
    tmp_path: Path, labels: tuple[int, ...], code: str, untagged: int
) -> None:
    photos = (photo("a", ("dog",)), photo("b", ("dog",)))
    others = (12,) if code == "tags-and-masks" else labels
    masks = MaskIndex(tmp_path, VOC, (mask("a", *labels), mask("b", *others)), False)
    found = {f.code: f for f in check_masks(Manifest(tmp_path, VOC, photos), masks, [])}
    assert found[code].found == untagged
    assert found[code].level == ("warning" if code == "class-order" else "note")


def test_without_masks_that_is_said_and_is_no_fault(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, VOC, (photo("a", ("dog",)),))
    (found,) = check_masks(manifest, MaskIndex(tmp_path, VOC, (), False), [])
    assert (found.level, found.code) == ("note", "no-masks")


def test_graph_files_are_compared_by_name(tmp_path: Path) -> None:
    for suffix, names in (("json", COCO.names), ("safetensors", COCO.names[::-1])):
        path = tmp_path / f"graph.{suffix}"
        if suffix == "json":
            path.write_text(json.dumps({"classes": list(names)}))
        else:
            rows = np.zeros((80, 4), np.float32)
            save_file({"embeddings": rows}, path, metadata={"names": json.dumps(names)})
        found = check_graph_file(COCO, path)
        assert found.level == ("ok" if suffix == "json" else "note")
    lacking = check_graph_file(VOC, tmp_path / "graph.json")  # COCO says airplane, VOC aeroplane
    assert lacking.level == "error"
    assert "'aeroplane'" in lacking.text
    twice = tmp_path / "twice.json"
    twice.write_text(json.dumps({"classes": [*VOC.names, VOC.names[0]]}))
    assert check_graph_file(VOC, twice).level == "ok"
    for text in ('{"classes": 5}', '{"classes": null}', "[]", "7"):
        twice.write_text(text)
        assert check_graph_file(VOC, twice).code == "graph-file"
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    assert check_graph_file(VOC, tmp_path / "bad.safetensors").code == "graph-file"


def test_matrices_are_compared_by_name_too(tmp_path: Path) -> None:
    released = tmp_path / "CM_kg_57_info.json"
    released.write_text(json.dumps({"KG_VOC_info": {"S": []}}))
    assert check_graph_file(VOC, released).level == "ok"
    assert check_graph_file(COCO, released).code == "graph-file"
    table = tmp_path / "own.csv"
    names = VOC.names[::-1]
    rows = [",".join(["", *names]), *(",".join([name, *["0"] * 20]) for name in names)]
    table.write_text("\n".join(rows))
    assert check_graph_file(VOC, table).level == "note"
    assert check_graph_file(COCO, table).code == "class-missing"
    table.write_text("1,2\n3,4\n")
    assert check_graph_file(VOC, table).code == "graph-file"


def test_the_shared_vectors_of_coco_are_in_another_order(shared: Path) -> None:
    text = shared / "text"
    other = check_graph_file(COCO, text / "glove300_coco80_alphabetical.safetensors")
    assert (other.level, other.code) == ("note", "class-order")
    assert "'airplane'" in other.text
    assert check_graph_file(VOC, text / "glove300_voc20.safetensors").level == "ok"


def test_problems_are_counted_by_kind_and_the_first_is_named() -> None:
    problems = [
        Problem(f"{n}.jpg", str(n), "damaged", "cannot be decoded: fetch it again", used=False)
        for n in range(9)
    ]
    problems.append(Problem("x.jpg", "x", "grey", "the photo is grey", used=True))
    damaged, grey = of_problems("photos", problems)
    assert damaged.text == "9 x damaged: 0.jpg: cannot be decoded: fetch it again"
    assert (damaged.level, damaged.found, len(damaged.paths)) == ("warning", 9, 5)
    assert (grey.level, grey.found) == ("note", 1)
