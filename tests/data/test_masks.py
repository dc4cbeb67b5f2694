"""Masks of every kind give labels 0, 1..C and 255, or are refused with the way out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from data.manifest import write_classes
from data.masks import BadMask, MaskIndex, check_mask, mask_folder, read_mask, write_masks
from data.records import Mask, Photo
from knowledge.classes import COCO, VOC, ClassTable
from tests.datasets import write_mask

LABEL = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
PHOTO = Photo("a", "a.jpg", (2, 3), ("cat",), "train", "0" * 64)


def _code(path: Path, classes: ClassTable = VOC, **options: bool) -> tuple[str, str]:
    with pytest.raises(BadMask) as caught:
        read_mask(path, classes, **options)
    assert path.name in str(caught.value)
    return caught.value.code, str(caught.value)


def test_a_palette_mask_gives_its_numbers(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", LABEL, VOC)
    label, notes = read_mask(path, VOC)
    np.testing.assert_array_equal(label, LABEL)
    assert notes == ()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_a_grey_mask_gives_its_numbers(tmp_path: Path, kind: type) -> None:
    suffix = "tif" if kind is np.int32 else "png"
    Image.fromarray(LABEL.astype(kind)).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"a.{suffix}", VOC)[0], LABEL)


MANY = ClassTable.of_names("many", [f"c{place}" for place in range(300)])


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_255_is_a_class_in_masks_of_16_bits_of_more_classes(tmp_path: Path, kind: type) -> None:
    suffix = "tif" if kind is np.int32 else "png"
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.array([[0, 255, 300, 65535]], kind)).save(path)
    label, notes = read_mask(path, MANY)
    assert (label.dtype, label.tolist(), notes) == (np.int16, [[0, 255, 300, 32767]], ())
    Image.fromarray(np.array([[0, 301]], kind)).save(path)
    assert "holds label 301" in _code(path, MANY)[1]


def test_255_is_ignored_in_masks_of_bytes_and_of_few_classes(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 254, 255]], np.uint8)).save(tmp_path / "a.png")
    label, _ = read_mask(tmp_path / "a.png", MANY)
    assert (label.dtype, label.tolist()) == (np.int16, [[0, 254, 32767]])
    Image.fromarray(np.array([[0, 20, 255, 65535]], np.uint16)).save(tmp_path / "b.png")
    label, _ = read_mask(tmp_path / "b.png", VOC)
    assert (label.dtype, label.tolist()) == (np.uint8, [[0, 20, 255, 255]])


def test_colours_of_more_classes_than_a_palette_holds(tmp_path: Path) -> None:
    colours = [MANY.colours[255], MANY.colours[300], (0, 0, 0), MANY.ignore_colour]
    Image.fromarray(np.array([colours], np.uint8)).save(tmp_path / "a.png")
    label, notes = read_mask(tmp_path / "a.png", MANY)
    assert (label.tolist(), notes) == ([[255, 300, 0, 32767]], ("coloured",))


def test_category_ids_beyond_a_byte(tmp_path: Path) -> None:
    rows = [entry._replace(category=2 * entry.label) for entry in MANY.classes]
    table = ClassTable("gaps", tuple(rows))
    Image.fromarray(np.array([[0, 2, 510, 600, 65535]], np.uint16)).save(tmp_path / "a.png")
    label, _ = read_mask(tmp_path / "a.png", table, by_category=True)
    assert label.tolist() == [[0, 1, 255, 300, 32767]]
    for wrong in (3, 602):
        Image.fromarray(np.array([[0, wrong]], np.uint16)).save(tmp_path / "b.png")
        assert _code(tmp_path / "b.png", table, by_category=True)[0] == "ids"


def test_a_two_colour_mask_is_background_and_the_first_class(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", VOC)[0].tolist() == [[1, 0]]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    label=arrays.arrays(np.uint8, (4, 5), elements=st.sampled_from([*range(21), 255])),
    mode=st.sampled_from(["RGB", "RGBA"]),
)
def test_a_mask_painted_in_the_colours_of_the_table_is_decoded(
    tmp_path: Path, label: np.ndarray, mode: str
) -> None:
    write_mask(tmp_path / "a.png", label, VOC)
    with Image.open(tmp_path / "a.png") as image:
        image.convert(mode).save(tmp_path / "b.png")
    found, notes = read_mask(tmp_path / "b.png", VOC)
    np.testing.assert_array_equal(found, label)
    assert notes == ("coloured",)


def test_a_colour_that_no_class_has(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3), (1, 2, 3)).save(tmp_path / "a.png")
    code, message = _code(tmp_path / "a.png")
    assert code == "colours"
    assert "#010203" in message


def test_numbers_above_the_class_count(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", np.array([[0, 21]], np.uint8), VOC)
    assert _code(path) == (
        "ids",
        "a.png holds label 21, but there are 20 classes (0 background, 1..20, 255 ignore): number "
        "the classes 1..C in the order of the class table",
    )
    path = write_mask(tmp_path / "b.png", np.array([[0, 90]], np.uint8), COCO)
    code, message = _code(path, COCO)
    assert code == "ids"
    assert "COCO ids 1-90 vs 1-80" in message
    Image.fromarray(np.array([[0, 1000]], np.uint16)).save(tmp_path / "c.png")
    assert _code(tmp_path / "c.png")[0] == "ids"


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=st.lists(st.integers(0, 79), min_size=1, max_size=20))
def test_category_ids_with_gaps_become_labels(tmp_path: Path, places: list[int]) -> None:
    entries = [COCO.classes[place] for place in places]
    ids = np.array([[e.category or e.label for e in entries] + [0, 255]], np.uint8)
    path = write_mask(tmp_path / "a.png", ids, COCO)
    label, _ = read_mask(path, COCO, by_category=True)
    assert label[0].tolist() == [*(entry.label for entry in entries), 0, 255]


def test_a_category_in_a_gap_is_refused(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", np.array([[12]], np.uint8), COCO)
    assert _code(path, COCO, by_category=True)[0] == "ids"


def test_a_palette_in_another_order_is_pointed_out(tmp_path: Path) -> None:
    colours = VOC.palette()
    colours[3:6], colours[6:9] = colours[6:9], colours[3:6]
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette(colours)
    image.save(tmp_path / "a.png")
    label, notes = read_mask(tmp_path / "a.png", VOC)
    assert label.tolist() == [[0, 1, 2]]
    assert notes == ("palette-order",)
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).quantize(3).save(tmp_path / "grey.png")
    assert read_mask(tmp_path / "grey.png", VOC)[1] == ()


def test_damaged_and_odd_files(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.zeros((99, 99), np.uint8), VOC)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:70])
    (tmp_path / "c.png").write_bytes(b"")
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "d.tif")
    assert [_code(tmp_path / name)[0] for name in ("b.png", "c.png", "d.tif")] == [
        "damaged",
        "damaged",
        "mode",
    ]


def test_one_check_gives_a_mask_or_a_problem_never_a_traceback(tmp_path: Path) -> None:
    write_mask(tmp_path / "good.png", LABEL, VOC)
    write_mask(tmp_path / "size.png", LABEL[:, :2].copy(), VOC)
    write_mask(tmp_path / "turned.png", np.ascontiguousarray(LABEL.T), VOC)
    mask, problems = check_mask(tmp_path, VOC, False, (PHOTO, "good.png"))
    assert mask is not None
    assert (mask.id, mask.path, mask.labels) == ("a", "good.png", (1, 15, 20))
    assert problems == []
    for name, code in (("size.png", "size"), ("turned.png", "size"), ("no.png", "unreadable")):
        mask, problems = check_mask(tmp_path, VOC, False, (PHOTO, name))
        assert mask is None
        assert [(one.path, one.problem, one.used) for one in problems] == [(name, code, False)]
        assert str(tmp_path) not in problems[0].reason


def test_the_index_of_masks_comes_back(tmp_path: Path) -> None:
    root, artifact = tmp_path / "masks", tmp_path / "artifact"
    write_mask(root / "a.png", LABEL, VOC)
    artifact.mkdir()
    masks = [Mask("a", "a.png", "train", (2, 3), "0" * 64, (1, 15, 20))]
    write_classes(artifact, VOC)
    for by_category in (True, False):
        write_masks(artifact, masks * 2, by_category=by_category)
        found = MaskIndex.of({"masks": artifact}, {"masks.root": root})
        assert found.masks == tuple(masks * 2)
        assert found.by_category is by_category
    write_masks(artifact, masks, by_category=False)
    found = MaskIndex.of({"masks": artifact}, {"masks.root": root})
    assert found.ids == ("a",)
    assert found.split("train") == tuple(masks)
    assert found.path("a") == root / "a.png"
    assert found.path("b") is None
    np.testing.assert_array_equal(found.read(PHOTO), LABEL)


def test_where_the_masks_lie_on_this_machine(tmp_path: Path) -> None:
    index, root = tmp_path / "index", tmp_path / "root"
    assert mask_folder({}, {"masks.root": root, "dataset.root": index}) == root
    assert mask_folder({}, {"dataset.root": root}) == root / "SegmentationClass"
    assert mask_folder({"index": index}, {}) == index / "masks"
