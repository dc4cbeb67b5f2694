"""Label PNGs keep every number, carry their palette and refuse numbers that mean nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from data.labels import fitted, ignored, read_grey, read_label, write_grey, write_label
from knowledge.classes import COCO, VOC, ClassTable

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), size=SIZES, count=st.sampled_from([1, 20, 80, 254]))
def test_every_label_comes_back(
    tmp_path: Path, data: st.DataObject, size: tuple[int, int], count: int
) -> None:
    classes = ClassTable.of_names("own", [f"c{place}" for place in range(count)])
    values = st.sampled_from([*range(count + 1), 255])
    label = data.draw(arrays.arrays(np.uint8, size, elements=values))
    write_label(tmp_path / "a.png", label, classes)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), label)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), size=SIZES, count=st.sampled_from([255, 300, 1000]))
def test_every_label_of_16_bits_comes_back(
    tmp_path: Path, data: st.DataObject, size: tuple[int, int], count: int
) -> None:
    classes = ClassTable.of_names("own", [f"c{place}" for place in range(count)])
    values = st.sampled_from([0, 1, 254, 255, count, 32767])
    label = data.draw(arrays.arrays(np.int16, size, elements=values))
    write_label(tmp_path / "a.png", label, classes)
    found = read_label(tmp_path / "a.png")
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, label)
    np.testing.assert_array_equal(ignored(found), label == 32767)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        numbers = np.asarray(image)
    np.testing.assert_array_equal(numbers == 65535, label == 32767)


def test_the_type_of_a_file_follows_the_number_of_classes(tmp_path: Path) -> None:
    bytes_of_255 = np.array([[0, 254, 255]], np.uint8)
    numbers_of_255 = np.array([[0, 254, 32767]], np.int16)
    for count, mode in ((254, "P"), (255, "I;16")):
        classes = ClassTable.of_names("own", [f"c{place}" for place in range(count)])
        for label in (bytes_of_255, numbers_of_255):
            write_label(tmp_path / "a.png", label, classes)
            with Image.open(tmp_path / "a.png") as image:
                assert image.mode == mode
            assert ignored(read_label(tmp_path / "a.png")).tolist() == [[False, False, True]]
            np.testing.assert_array_equal(fitted(label, count), read_label(tmp_path / "a.png"))


def test_numbers_of_16_bits_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    classes = ClassTable.of_names("own", [f"c{place}" for place in range(300)])
    for value in (301, -1):
        with pytest.raises(ValueError, match=f"holds label {value}, but there are 300 .*65535 ig"):
            write_label(tmp_path / "a.png", np.full((2, 2), value, np.int16), classes)
    Image.fromarray(np.array([[0, 1001, 65535]], np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png holds label 1001; a 16-bit file holds 0\.\.1000"):
        read_label(tmp_path / "b.png")


def test_the_file_shows_the_colours_of_the_table(tmp_path: Path) -> None:
    label = np.array([[0, 1, 20, 255]], np.uint8)
    write_label(tmp_path / "a.png", label, VOC)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))[0].tolist()
    assert colours == [[0, 0, 0], [128, 0, 0], [0, 64, 128], [224, 224, 192]]


def test_the_same_label_gives_the_same_bytes(tmp_path: Path) -> None:
    label = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for name in ("a.png", "b.png"):
        write_label(tmp_path / name, label, VOC)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_number_that_is_no_class_is_refused_with_the_usual_reason(tmp_path: Path) -> None:
    for value, table, hint in ((21, VOC, "holds label 21"), (90, COCO, "COCO ids 1-90 vs 1-80")):
        with pytest.raises(ValueError, match=hint):
            write_label(tmp_path / "a.png", np.full((2, 2), value, np.uint8), table)
    assert not (tmp_path / "a.png").exists()


def test_a_grey_label_is_read_as_numbers_and_a_coloured_one_refused(tmp_path: Path) -> None:
    label = np.array([[0, 3, 255]], np.uint8)
    Image.fromarray(label).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_label(tmp_path / "grey.png"), label)
    Image.new("RGB", (3, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png has pixel format RGB"):
        read_label(tmp_path / "rgb.png")


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=arrays.arrays(np.uint8, SIZES))
def test_grey_values_come_back(tmp_path: Path, values: np.ndarray) -> None:
    write_grey(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), values)


def test_a_damaged_file_is_named_and_a_missing_one_stays_missing(tmp_path: Path) -> None:
    write_grey(tmp_path / "a.png", np.zeros((50, 50), np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"b\.png"):
        read_grey(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError):
        read_label(tmp_path / "c.png")
