"""Where COCO's files lie: instances files, photos of several years, and which photos are the same.

`annotations/instances_train2014.json` belongs to the photos in `train2014/` (or
`images/train2014/`). Exports of labelling tools with `train/_annotations.coco.json` beside the
photos are found too.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.records import Found, Source, Split, find_photos

ANNOTATIONS = "annotations"
YEARS = ("2014", "2017", "")
"""An earlier year is preferred: 2014 is the field's protocol. Tools leave the year out."""
KINDS = ("train", "val", "valid")
NUMBER = re.compile(r"(?:COCO_[a-z]+20\d\d_)?(\d{12})")
LIST = ".txt"


def number(identity: str) -> str:
    """The twelve digits that a photo has in every year; any other name stands for itself.

    "COCO_val2014_000000000042" and "000000000042" of train2017 are one photo.
    """
    match = NUMBER.fullmatch(identity)
    return match[1] if match else identity


def no_shared_number(train: Sequence[str], val: Sequence[str]) -> None:
    """Raise `ValueError` where a photo is in both splits, under whichever year's name."""
    trained = {number(identity): identity for identity in train}
    both = sorted((trained[number(one)], one) for one in val if number(one) in trained)
    if both:
        one, other = both[0]
        shown = one if one == other else f"{one} is {other}"
        raise ValueError(
            f"{len(both)} photos are in the training split and in the val split ({shown}): take "
            "both splits from one year (train2017 holds most of val2014), or take them off one"
        )


def instances_file(root: Path, split: str) -> Path | None:
    """The instances file of a split such as "train2014"; None where there is none."""
    if "/" in split or "\\" in split:
        return None
    names = (
        f"{ANNOTATIONS}/instances_{split}.json",
        f"{ANNOTATIONS}/{split}.json",
        f"{split}/_annotations.coco.json",
    )
    return next((path for path in (root / name for name in names) if path.is_file()), None)


def instances_files(root: Path) -> dict[str, Path]:
    """The instances files of the first year that has any, by split."""
    for year in YEARS:
        found = {kind + year: instances_file(root, kind + year) for kind in KINDS}
        if any(found.values()):
            return {split: path for split, path in found.items() if path is not None}
    return {}


def split_files(source: Source) -> dict[Split, Path]:
    """The instances file or text list of each split: as set, else of the first year there is.

    Raises `FileNotFoundError` naming what was looked for.
    """
    train = source.train_list or _first(source.root)
    found: dict[Split, Path] = {"train": _split_file(source.root, train, "train")}
    if source.val_list is not None:
        found["val"] = _split_file(source.root, source.val_list, "val")
    elif found["train"].suffix != LIST:
        beside = [train.replace("train", kind, 1) for kind in KINDS[1:]]
        paths = (instances_file(source.root, name) for name in beside if name != train)
        path = next((path for path in paths if path is not None), None)
        found |= {} if path is None else {"val": path}
    return found


def photo_folders(source: Source) -> Mapping[str, Found]:
    """The photos by folder below the root: as set, else every folder that is called like a split.

    Raises `FileNotFoundError` where there is none.
    """
    root = source.root
    if source.photos is not None:
        folders = [source.photos.strip("/")]
    else:
        named = [name for name in (source.train_list, source.val_list) if name]
        splits = dict.fromkeys([*named, *(kind + year for year in YEARS for kind in KINDS)])
        places = [place for split in splits for place in (split, f"images/{split}")]
        folders = [place for place in places if _holds(root, place)]
        folders = folders or [place for place in ("images", "JPEGImages") if _holds(root, place)]
    if not folders or not all((root / folder).is_dir() for folder in folders):
        raise FileNotFoundError(
            f"{root} has no folder of photos such as train2014: set --dataset.root, or "
            "--dataset.photos to a folder in it"
        )
    return {folder: find_photos(root, folder) for folder in folders}


class Shelf:
    """Where each photo lies: under its own name, else under the name of another year."""

    def __init__(self, folders: Mapping[str, Found]) -> None:
        self._own: dict[str, tuple[str, list[str]]] = {}
        self._any: dict[str, tuple[str, list[str]]] = {}
        for folder, found in folders.items():
            for identity, names in found.files.items():
                self._own.setdefault(identity, (folder, names))
                self._any.setdefault(number(identity), (folder, names))

    def find(self, identity: str) -> tuple[str, list[str]] | None:
        """Folder below the root and the photo's files in it, best first; None without photo."""
        return self._own.get(identity) or self._any.get(number(identity))


def _first(root: Path) -> str:
    found = next((name for name in instances_files(root) if name.startswith("train")), None)
    if found is None:
        raise FileNotFoundError(
            f"{root / ANNOTATIONS} has no instances_train2014.json or instances_train2017.json: "
            "set --dataset.root to the folder that holds annotations and photos, or "
            "--dataset.train-list to a list"
        )
    return found


def _split_file(root: Path, name: str, split: str) -> Path:
    path = instances_file(root, name)
    if path is not None:
        return path
    for path in (root / name, Path(name)):
        if path.is_file() and path.suffix in (LIST, ".json"):
            return path
    have = ", ".join(instances_files(root)) or "there are none"
    raise FileNotFoundError(
        f"no split {name!r} below {root}: --dataset.{split}-list takes the name of an instances "
        f"file ({have}) or the path of a text list (.txt)"
    )


def _holds(root: Path, folder: str) -> bool:
    return not folder.startswith("/") and ".." not in folder and (root / folder).is_dir()
