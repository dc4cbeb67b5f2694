"""The instances file element by element: the same as a full parse, in the memory of one element."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import coco_json
from data.coco_json import elements, read_boxes, read_categories, read_element
from tests.coco_files import CATEGORIES, thing, write_coco

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
DOCUMENTS = st.dictionaries(st.sampled_from("abcdé"), st.lists(VALUES) | VALUES)


@settings(max_examples=60)
@given(
    document=DOCUMENTS,
    indent=st.none() | st.just(2),
    ascii=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_elements_equal_a_full_parse(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, object],
    indent: int | None,
    ascii: bool,
    chunk: int,
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(
        json.dumps(document, indent=indent, ensure_ascii=ascii), "utf-8", errors="surrogatepass"
    )
    wanted = {name: value for name, value in document.items() if isinstance(value, list)}
    try:
        expected = json.loads(path.read_bytes())
    except UnicodeDecodeError:  # a lone surrogate: no UTF-8
        return
    found: dict[str, list[object]] = {name: [] for name in wanted}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_json, "CHUNK", chunk)
        for element in elements(path, "abcdé"):
            found[element.array].append(element.value)
            assert read_element(path, element.start, element.length) == element.value
    assert found == {name: expected[name] for name in wanted}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends too early"),
        ("[]", "expected '{'"),
        ('{"images": [{"id": 1},]}', "comma"),
        ('{"images": [{"id": 1} {"id": 2}]}', "expected ','"),
        ('{"images": [{"id": 1', "Expecting ',' delimiter"),
        ('{"images": [{"id": 1}]', "ends too early"),
        ('{"images": [' + "[" * 100_000, "byte"),
        ("<html>404</html>", "expected '{'"),
    ],
)
def test_what_is_no_json_is_named_with_its_byte(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"instances\.json is no JSON of COCO's kind") as caught:
        list(elements(path, ("images",)))
    assert reason in str(caught.value)


def test_an_element_that_never_ends_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_json, "MOST_BYTES", 1 << 16)
    monkeypatch.setattr(coco_json, "CHUNK", 1 << 10)
    path = tmp_path / "instances.json"
    path.write_text('{"images": ["' + "a" * (1 << 20))
    with pytest.raises(ValueError, match="more than 0 MB, or is no JSON"):
        list(elements(path, ("images",)))


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MB of outlines in chunks of 64 kB: what stays is the categories of the photos."""
    monkeypatch.setattr(coco_json, "CHUNK", 1 << 16)
    path = tmp_path / "instances.json"
    outline = json.dumps([[1.25] * 400])
    with path.open("w") as file:
        file.write('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [')
        one = f'{{"image_id": 1, "category_id": 90, "segmentation": {outline}}}'
        file.write(",".join([one] * 1_600))
        file.write('], "categories": [{"id": 90, "name": "toothbrush"}]}')
    assert path.stat().st_size > 3_800_000
    tracemalloc.start()
    found = read_boxes(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tags == {1: {90}}
    assert peak < 1_000_000


def test_crowds_count_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "train2014", {"a": [thing(18), thing(1, crowd=True)], "b": []})
    assert read_boxes(path).tags == {1: {1, 18}}
    assert read_boxes(path, crowds=False).tags == {1: {18}}
    assert read_categories(path) == CATEGORIES
    assert read_boxes(path).shots[2] == ("b.jpg", (24, 32))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"images": [{"id": 1}]}, "file_name"),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]},
            "category_id",
        ),
        ({"annotations": [[]]}, "'annotations' at byte 17"),
        ({"categories": [{"id": "one", "name": "cat"}]}, "one"),
        ({"images": [{"id": True, "file_name": "a"}]}, "no whole number"),
        ({"images": [{"id": 1, "file_name": "a", "width": float("inf")}]}, "no number of pixels"),
        ({"images": [{"id": 1, "file_name": "a", "height": float("nan")}]}, "no number of pixels"),
        ({"annotations": []}, "lists no images"),
        ({"images": [{"id": 1, "file_name": "a"}]}, "lists no categories"),
    ],
)
def test_what_lacks_its_fields_is_named(
    tmp_path: Path, document: dict[str, object], reason: str
) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"instances\.json") as caught:
        read_boxes(path)
    assert reason in str(caught.value)


def test_the_real_file(shared: Path) -> None:
    path = shared / "coco-tiny" / "annotations" / "instances_train2017.json"
    whole = json.loads(path.read_text())
    found = list(elements(path, ("annotations",)))
    assert [element.value for element in found] == whole["annotations"]
    boxes = read_boxes(path)
    assert (len(boxes.shots), len(boxes.tags), len(boxes.categories)) == (50, 49, 80)
