"""The SBD annotations (Hariharan et al., ICCV 2011) as label PNGs: `SegmentationClassAug`.

SBD ships one MATLAB file a photo, `cls/<id>.mat`, with `GTcls.Segmentation`: 0 background, 1..20
the classes of VOC. With VOC's own masks, which win where a photo has both, they are the masks of
the 10,582 photos of `train_aug`, i.e. VOC's train and all of SBD without VOC's val.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from data.files import replacing
from data.labels import check_label, ignored, read_label, write_label
from data.records import ignore, list_ids, read_list
from knowledge.classes import VOC

AUGMENTED = "SegmentationClassAug"
DRAWN = "SegmentationClass"
LISTS = "ImageSets/Segmentation"
TRAIN_AUG = 10_582
"""Photos of the field's train_aug."""


class Source(NamedTuple):
    """Where the mask of one photo comes from."""

    id: str
    path: Path
    from_voc: bool


def find_sbd(root: Path) -> Path:
    """The folder with `cls`, `train.txt` and `val.txt`: `root` itself or `dataset` below it."""
    for below in ("", "dataset", "benchmark_RELEASE/dataset"):
        if (root / below / "cls").is_dir():
            return root / below
    raise FileNotFoundError(
        f"{root} has no folder cls, neither itself nor in dataset/: give the unpacked "
        "benchmark_RELEASE of SBD"
    )


def train_aug(sbd: Path, voc: Path) -> list[str]:
    """The sorted ids of train_aug: VOC's train and SBD's train and val, without VOC's val."""
    train, val = (_ids(voc / LISTS / f"{name}.txt") for name in ("train", "val"))
    both = (_ids(sbd / f"{name}.txt") for name in ("train", "val"))
    return sorted({*train, *(one for ids in both for one in ids)} - set(val))


def sources(sbd: Path, voc: Path) -> list[Source]:
    """A mask for every photo that VOC or SBD has one for, VOC's first, sorted by id."""
    drawn = {path.stem: path for path in (voc / DRAWN).glob("[!.]*.png")}
    ours = {path.stem: path for path in (sbd / "cls").glob("[!.]*.mat")}
    if not drawn or not ours:
        lacking = voc / DRAWN if not drawn else sbd / "cls"
        raise FileNotFoundError(f"{lacking} holds no masks: check both folders")
    ids = sorted({*drawn, *ours})
    return [Source(one, drawn.get(one) or ours[one], one in drawn) for one in ids]


def made_from(found: Sequence[Source]) -> dict[str, Any]:
    """What tells one build from another: number and digest of ids, origins and sizes in bytes."""
    state = hashlib.sha256()
    for one in found:
        state.update(f"{one.id} {one.from_voc} {one.path.stat().st_size}\n".encode())
    return {"source": "SBD and VOC", "masks": len(found), "sha256": state.hexdigest()}


def write_mask(folder: Path, source: Source) -> str:
    """Write one mask as palette PNG to `folder/<id>.png`, unless it is there; returns the id.

    Raises `ValueError` naming the file that cannot be read or holds other values than labels.
    """
    path = folder / f"{source.id}.png"
    if not path.is_file():
        label = read_label(source.path) if source.from_voc else read_mat(source.path)
        write_label(path, label, VOC)
    return source.id


def read_mat(path: Path) -> UInt8[np.ndarray, "h w"]:
    """The labels 0..20 of an SBD file; `ValueError` naming it where it is something else."""
    try:
        with path.open("rb") as file:
            document = loadmat(file, variable_names=["GTcls"])
        found = np.asarray(document["GTcls"]["Segmentation"][0, 0])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, MatReadError) as error:
        raise ValueError(
            f"{path} has no GTcls.Segmentation ({type(error).__name__}: {error}): unpack SBD again"
        ) from error
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.number) or not found.size:
        raise ValueError(f"{path}: GTcls.Segmentation is no picture: unpack SBD again")
    if found.min() < 0 or found.max() > len(VOC) or (found != np.floor(found)).any():
        raise ValueError(f"{path} holds values besides 0..{len(VOC)}: unpack SBD again")
    label = found.astype(np.uint8)
    check_label(label, len(VOC), str(path))
    return label


def check_list(voc: Path, ids: Sequence[str]) -> None:
    """Raise `ValueError` where there is a `train_aug.txt` of other photos: it is not replaced."""
    path = voc / LISTS / "train_aug.txt"
    if path.is_file() and sorted(_ids(path)) != sorted(ids):
        raise ValueError(
            f"{path} names other photos than these SBD and VOC give ({len(ids)}): move it elsewhere"
        )


def write_list(voc: Path, ids: Sequence[str]) -> Path:
    """Write `ImageSets/Segmentation/train_aug.txt`; returns its path."""
    path = voc / LISTS / "train_aug.txt"
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{one}\n" for one in ids), encoding="utf-8")
    return path


class Difference(NamedTuple):
    """How the mask of one photo differs from that of an archive; shares of pixels, 0 to 1."""

    id: str
    missing: bool
    """The archive lacks it, or has it in another size."""
    labels: float
    """Other label where neither ignores."""
    ignored: float
    """Ignored in one of the two only."""


def difference(folder: Path, archive: Path, identity: str) -> Difference:
    """Compare `<id>.png` of two folders. Raises `ValueError` naming a file that is no label."""
    other = archive / f"{identity}.png"
    ours = read_label(folder / f"{identity}.png")
    theirs = read_label(other) if other.is_file() else None
    if theirs is None or theirs.shape != ours.shape:
        return Difference(identity, True, 0.0, 0.0)
    blank = ignored(ours) != ignored(theirs)
    labels = (ours != theirs) & ~blank
    return Difference(identity, False, float(labels.mean()), float(blank.mean()))


def _ids(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it tells which photos belong to the split")
    return list_ids(read_list(path), path.name, ignore)
