"""SBD's .mat files become SegmentationClassAug; VOC's masks win, VOC's val stays out."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from data import sbd
from data.labels import read_label
from knowledge.classes import VOC
from tests.datasets import write_list, write_mask

LABEL = np.zeros((6, 8), np.uint8)
LABEL[1:4, 2:5] = 12
OF_VOC = np.where(LABEL > 0, 255, 3).astype(np.uint8)


def write_mat(path: Path, label: np.ndarray) -> Path:
    """A file as SBD ships them: GTcls with Boundaries, Segmentation and CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    for place in range(20):
        boundaries[place, 0] = np.zeros((2, 2), np.uint8)
    present = np.setdiff1d(np.unique(label), [0]).astype(np.uint8)
    names = {"Boundaries": boundaries, "Segmentation": label, "CategoriesPresent": present}
    savemat(path, {"GTcls": names})
    return path


def write_sbd(root: Path) -> tuple[Path, Path]:
    """SBD with a, b, v; VOC with train a, val v, whose masks hold 255; returns both folders."""
    annotations, voc = root / "benchmark_RELEASE" / "dataset", root / "VOC2012"
    for name in "abv":
        write_mat(annotations / "cls" / f"{name}.mat", LABEL)
    (annotations / "train.txt").write_text("a\nb\n")
    (annotations / "val.txt").write_text("v\n")
    for name in "av":
        write_mask(voc / "SegmentationClass" / f"{name}.png", OF_VOC, VOC)
    write_list(voc, "train", ["a"])
    write_list(voc, "val", ["v"])
    return annotations, voc


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_a_mat_file_gives_its_labels(tmp_path: Path, kind: type) -> None:
    path = write_mat(tmp_path / "2008_000002.mat", LABEL.astype(kind))
    label = sbd.read_mat(path)
    assert label.dtype == np.uint8
    assert (label == LABEL).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"404 not found", "has no GTcls"),
        (b"", "has no GTcls"),
        ({"GTinst": {"Segmentation": LABEL}}, "has no GTcls"),
        ({"GTcls": {"Boundaries": LABEL}}, "has no GTcls"),
        ({"GTcls": LABEL}, "has no GTcls"),
        ({"GTcls": {"Segmentation": LABEL + 9}}, "besides 0..20"),
        ({"GTcls": {"Segmentation": LABEL - 0.5}}, "besides 0..20"),
        ({"GTcls": {"Segmentation": "a person"}}, "no picture"),
    ],
)
def test_a_mat_file_of_another_kind_is_named(
    tmp_path: Path, content: bytes | dict[str, object], reason: str
) -> None:
    path = tmp_path / "2008_000002.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(ValueError, match=r"2008_000002\.mat") as caught:
        sbd.read_mat(path)
    assert reason in str(caught.value)
    with pytest.raises(FileNotFoundError):
        sbd.read_mat(tmp_path / "gone.mat")


def test_masks_of_voc_win_and_val_is_not_trained_on(tmp_path: Path) -> None:
    annotations, voc = write_sbd(tmp_path)
    assert sbd.find_sbd(tmp_path) == sbd.find_sbd(annotations) == annotations
    assert sbd.train_aug(annotations, voc) == ["a", "b"]
    found = sbd.sources(annotations, voc)
    assert [(one.id, one.from_voc) for one in found] == [("a", True), ("b", False), ("v", True)]
    for source in found:
        sbd.write_mask(tmp_path / "out", source)
    assert (read_label(tmp_path / "out" / "a.png") == OF_VOC).all()
    assert (read_label(tmp_path / "out" / "b.png") == LABEL).all()
    assert sbd.write_list(voc, ["a", "b"]).read_text() == "a\nb\n"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    annotations, voc = write_sbd(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder cls"):
        sbd.find_sbd(voc)
    (annotations / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt is missing"):
        sbd.train_aug(annotations, voc)
    (voc / "SegmentationClass").rename(voc / "gone")
    with pytest.raises(FileNotFoundError, match="SegmentationClass holds no masks"):
        sbd.sources(annotations, voc)


def test_the_difference_to_an_archive(tmp_path: Path) -> None:
    other = LABEL.copy()
    other[0, :4] = 3
    other[5, :2] = 255
    for folder, label in (("ours", LABEL), ("theirs", other)):
        write_mask(tmp_path / folder / "a.png", label, VOC)
    write_mask(tmp_path / "ours" / "b.png", LABEL, VOC)
    write_mask(tmp_path / "ours" / "c.png", LABEL, VOC)
    write_mask(tmp_path / "theirs" / "c.png", LABEL[:-1], VOC)
    found = [sbd.difference(tmp_path / "ours", tmp_path / "theirs", one) for one in "abc"]
    assert found[0] == ("a", False, 4 / 48, 2 / 48)
    assert [one.missing for one in found] == [False, True, True]


def test_train_aug_of_the_real_lists(shared: Path, tmp_path: Path) -> None:
    """VOC's lists, and SBD's made of train_aug and val, give train_aug back: 10,582 photos."""
    lists = shared / "voc12-lists"
    ids = {name: (lists / f"{name}.txt").read_text().split() for name in ("train_aug", "val")}
    voc, annotations = tmp_path / "voc", tmp_path / "sbd"
    for name in ("train", "val"):
        write_list(voc, name, (lists / f"{name}.txt").read_text().split())
    annotations.mkdir()
    (annotations / "train.txt").write_text("\n".join(ids["train_aug"][2000:]))
    (annotations / "val.txt").write_text("\n".join([*ids["train_aug"][:2500], *ids["val"]]))
    found = sbd.train_aug(annotations, voc)
    assert len(found) == sbd.TRAIN_AUG
    assert found == sorted(ids["train_aug"])
