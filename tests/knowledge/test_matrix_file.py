import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from knowledge.classes import COCO, VOC
from knowledge.matrix_file import is_released, read_matrix

NAMES = ("cat", "dog", "sofa")
VALUES = np.array([[0.3, 0.2, 0.1], [0.2, 0.4, 0.0], [0.1, 0.0, 0.5]])


def write(path: Path, names: tuple[str, ...] = NAMES, values: np.ndarray = VALUES) -> Path:
    if path.suffix == ".json":
        document = {"names": names, "matrix": values.tolist()}
        path.write_text(json.dumps(document), encoding="utf-8")
    elif path.suffix == ".csv":
        rows = [",".join(["", *names])]
        rows += [
            ",".join([name, *map(repr, row)])
            for name, row in zip(names, values.tolist(), strict=True)
        ]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    else:
        save_file({"matrix": values}, path, {"names": json.dumps(names)})
    return path


FORMATS = ["m.json", "m.csv", "m.safetensors"]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_taken_by_name_in_the_order_of_the_classes(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    assert np.array_equal(read_matrix(path, NAMES), VALUES)
    turned = read_matrix(path, ("sofa", "cat"))
    assert turned.tolist() == [[0.5, 0.1], [0.1, 0.3]]


@pytest.mark.parametrize("name", FORMATS)
def test_a_class_that_the_file_lacks_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no row for 'horse' \(1 of 2 classes; its own are cat"):
        read_matrix(write(tmp_path / name), ("cat", "horse"))


@pytest.mark.parametrize("name", FORMATS)
def test_impossible_matrices_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for wrong in (-VALUES, VALUES + np.diag([0, 0, np.inf]), VALUES + np.diag([np.nan, 0, 0])):
        write(path, values=wrong)
        with pytest.raises(ValueError, match="finite and at least 0"):
            read_matrix(path, NAMES)
    with pytest.raises(ValueError, match="or a name twice"):
        read_matrix(write(path, ("cat", "cat", "sofa")), ("cat",))


def test_a_matrix_of_another_size_than_its_names(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"names": NAMES, "matrix": [[1, 0], [0, 1]]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"3 names for a matrix of \(2, 2\)"):
        read_matrix(path, NAMES)
    path.write_text(json.dumps({"names": NAMES, "matrix": [[1], [0, 1]]}), encoding="utf-8")
    with pytest.raises(ValueError, match="rows of several lengths"):
        read_matrix(path, NAMES)


def test_the_released_layout_counts_for_exactly_its_own_classes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 20))
    path = tmp_path / "CM_kg_57_info.json"
    document = {"KG_VOC_info": {"S": values.tolist()}, "KG_COCO_info": {"S": np.eye(80).tolist()}}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert np.array_equal(read_matrix(path, VOC.names), values)
    assert np.array_equal(read_matrix(path, COCO.names), np.eye(80))
    with pytest.raises(ValueError, match="with the names of its rows"):
        read_matrix(path, VOC.names[::-1])
    asked = (VOC.names, COCO.names, VOC.names[::-1])
    assert [is_released(path, names) for names in asked] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", "[[1, 0], [0, 1]]"),
        ("m.json", '{"matrix": [[1]]}'),
        ("m.json", "{"),
        ("m.csv", ""),
        ("m.csv", "1,0\n0,1\n"),
        ("m.csv", ",cat,dog\ndog,0,1\ncat,1,0\n"),
        ("m.safetensors", "nothing"),
        ("m.npy", "x"),
    ],
)
def test_files_without_names_or_form_say_what_is_needed(
    name: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=path.name):
        read_matrix(path, ("cat", "dog"))


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(",chaise,\xe9toile\nchaise,0,1\n\xe9toile,1,0\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.csv is no CSV .* save it again as UTF-8"):
        read_matrix(path, ("chaise", "\xe9toile"))


@pytest.mark.parametrize("names", ["cat, dog", '{"cat": 0}'])
def test_tensors_whose_names_are_no_list_are_named(names: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"matrix": np.eye(2)}, path, metadata={"names": names})
    with pytest.raises(ValueError, match=r"m\.safetensors holds no matrix with the names"):
        read_matrix(path, ("cat", "dog"))


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"graph\.matrix: there is no .*absent"):
        read_matrix(tmp_path / "absent.json", NAMES)


def test_published_counts_are_such_a_file(shared: Path) -> None:
    path = shared / "text/cooccurrence_voc07.json"
    values = read_matrix(path, VOC.names)
    assert values[VOC.index("chair"), VOC.index("diningtable")] == 99
    assert np.array_equal(values, values.T)
