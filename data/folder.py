"""Reader of a folder of photos: tags of a tag file, of YOLO's label files, or one folder a class.

Photos lie in `JPEGImages`, `images` or `photos` below the root, or in the root itself. The splits
come from list files, from folders `train` and `val` (with one folder a class in them, or YOLO's
photos), or from a share of the photos drawn by their ids.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from data import yolo
from data.records import (
    Found,
    Problem,
    Record,
    Report,
    Source,
    Split,
    find_photos,
    ignore,
    list_ids,
    no_overlap,
    read_list,
    same_name,
)
from data.tags import TagFile, names_file, names_path, read_names
from knowledge.classes import TABLES, ClassTable

FOLDERS = ("JPEGImages", "images", "photos")
MASK_FOLDERS = ("segmentationclass*", "masks", "labels", "annotations")
"""Patterns, in lower case, of folders that hold masks; they are not searched for photos."""
LISTS = "ImageSets/Segmentation"
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""With one folder a class in each; what lies beside them (a `test`, say) takes no part."""


def classes(source: Source) -> ClassTable:
    """The named table, the file of names, or else every tag in use in alphabetical order."""
    if source.table is not None:
        return TABLES[source.table]
    if by_labels(source):
        return yolo.table(source)
    names = names_path(source)
    if names is not None:
        return read_names(names)
    if by_folder(source):
        return _of_tags(_class_folders(source))
    tags = TagFile.read(source, ignore).tags.values()
    return _of_tags(sorted({name for row in tags for name in row}))


def files(source: Source) -> dict[str, Path]:
    """Lists, tags and photos, by their path below the root."""
    folder = photo_folder(source)
    found: dict[str, Path] = {}
    photos = _photos(source, folder)
    if by_labels(source):
        found |= yolo.files(source, list(_places(photos, folder).values()))
    elif not by_folder(source):
        found |= TagFile.files(source)
    elif source.table is None:
        found |= names_file(source)
    lists = _lists(source)
    found |= {f"{split} list": path for split, path in lists.items()}
    wanted = _wanted(lists)
    for identity, names in photos.files.items():
        if wanted is None or identity in wanted:
            found |= {path: source.root / path for path in (_join(folder, n) for n in names)}
    return found


def records(source: Source, report: Report) -> Iterator[Record]:
    """The photos, sorted by id, with the tags as they are written.

    Raises `FileNotFoundError` or `ValueError` where the root, the tags or a list is missing or
    empty and where the splits overlap.
    """
    folder = photo_folder(source)
    found = _photos(source, folder)
    for problem in found.problems:
        report(problem)
    if by_labels(source):
        tags = yolo.tags(source, _places(found, folder), report)
    else:
        tags = {} if by_folder(source) else _tags(source, found, folder, report)
    split_of = _splits(source, found, report)
    for identity in sorted(split_of):
        names = found.files[identity]
        for problem in same_name(folder, identity, names):
            report(problem)
        named = _folder_tags(identity) if by_folder(source) else tags.get(identity)
        yield Record(identity, _join(folder, names[0]), named, split_of[identity])


def by_folder(source: Source) -> bool:
    """Whether the folders are the tags: as set, or where there is no `tags.csv` to read."""
    if source.tags is not None:
        return source.tags == "folders"
    return not (source.root / "tags.csv").is_file()


def by_labels(source: Source) -> bool:
    """Whether the tags are those of YOLO's label files."""
    return source.tags == "yolo"


def photo_folder(source: Source) -> str:
    """The folder of photos below the root, posix; "" for the root itself."""
    if not source.root.is_dir():
        raise FileNotFoundError(f"{source.root} is no folder: set --dataset.root to the data set's")
    if source.photos is not None:
        if not (source.root / source.photos).is_dir():
            raise FileNotFoundError(
                f"{source.root} has no folder {source.photos!r}: set --dataset.photos to one in it"
            )
        return source.photos.strip("/")
    return next((name for name in FOLDERS if (source.root / name).is_dir()), "")


def _photos(source: Source, folder: str) -> Found:
    # A class may be called "masks" or "labels"; beside a tag file nothing but masks is.
    skip = MASK_FOLDERS[:1] if by_folder(source) else MASK_FOLDERS
    return find_photos(source.root, folder, skip=skip)


def _tags(source: Source, found: Found, folder: str, report: Report) -> dict[str, tuple[str, ...]]:
    """The tag file's tags by id; a file may name photos below the root or the photo folder."""
    file = TagFile.read(source, report)
    tags = {_below(folder, name, found): row for name, row in file.tags.items()}
    for name in sorted(set(tags) - set(found.files)):
        reason = f"{file.name} has tags for {name!r}, but there is no such photo: add it"
        report(Problem(name, name, "tags-without-photo", reason, used=False))
    return tags


def _places(found: Found, folder: str) -> dict[str, str]:
    """Path below the root by id."""
    return {identity: _join(folder, names[0]) for identity, names in found.files.items()}


def _below(folder: str, name: str, found: Found) -> str:
    return name if name in found.files or not folder else name.removeprefix(f"{folder}/")


def _class_folders(source: Source) -> list[str]:
    found = _photos(source, photo_folder(source))
    taking_part = _by_split_folder(found) or found.files
    return sorted({name for identity in taking_part for name in _folder_tags(identity) or ()})


def _folder_tags(identity: str) -> tuple[str, ...] | None:
    """The class folder of an id: "dog/rex" and "train/dog/rex" are dogs, "rex" has no tag."""
    parts = identity.split("/")
    if parts[0] in SPLIT_FOLDERS and len(parts) > 2:
        parts = parts[1:]
    return (parts[0],) if len(parts) > 1 else None


def _of_tags(names: list[str]) -> ClassTable:
    if not names:
        raise ValueError(
            "no tags found: give --dataset.tags a CSV or JSON file, or sort the photos into one "
            "folder a class"
        )
    return ClassTable.of_names("own", names)


def _splits(source: Source, found: Found, report: Report) -> dict[str, Split]:
    lists = _lists(source)
    listed = {
        split: _present(list_ids(read_list(path), path.name, report), path.name, found, report)
        for split, path in lists.items()
    }
    if "train" in listed:
        no_overlap(listed["train"], listed.get("val", []))
        return {name: split for split, ids in listed.items() for name in ids}
    if "val" in listed:
        val = set(listed["val"])
        return {name: "val" if name in val else "train" for name in found.files}
    folders = 2 if by_folder(source) else 1 if by_labels(source) else 0
    if folders and (parted := _by_split_folder(found, folders)):
        for name in sorted(set(found.files) - set(parted)):
            reason = f"{name!r} is in no folder of train or val: move it into one"
            report(Problem(name, name, "outside-splits", reason, used=False))
        return parted
    share = source.val_fraction
    return {name: "val" if draw(name, source.seed) < share else "train" for name in found.files}


def _by_split_folder(found: Found, folders: int = 2) -> dict[str, Split]:
    """The split of each photo in `train` or `val`, in so many folders; empty without both."""
    tops = {name: name.split("/")[0] for name in found.files if name.count("/") >= folders}
    parted = {name: SPLIT_FOLDERS[top] for name, top in tops.items() if top in SPLIT_FOLDERS}
    return parted if len(set(parted.values())) == 2 else {}


def draw(identity: str, seed: int) -> float:
    """A number in [0, 1) that depends on the photo's id and the seed alone."""
    drawn = hashlib.sha256(f"{seed}:{identity}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64


def _present(ids: list[str], label: str, found: Found, report: Report) -> list[str]:
    """The listed ids that have a photo; the others go to `report`."""
    for identity in ids:
        if identity not in found.files:
            reason = f"{label} names {identity!r}, but there is no such photo: add it"
            report(Problem(identity, identity, "missing", reason, used=False))
    return [identity for identity in ids if identity in found.files]


def _lists(source: Source) -> dict[Split, Path]:
    wanted: dict[Split, str | None] = {"train": source.train_list, "val": source.val_list}
    return {split: _list(source, name, split) for split, name in wanted.items() if name}


def _list(source: Source, name: str, split: Split) -> Path:
    below = (name, f"{name}.txt", f"{LISTS}/{name}.txt")
    for path in (*(source.root / one for one in below), Path(name)):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no list {name!r} for {split} below {source.root}: --dataset.{split}-list takes the path "
        f"of a text file with one photo id a line"
    )


def _wanted(lists: dict[Split, Path]) -> set[str] | None:
    if "train" not in lists:
        return None
    return {name for p in lists.values() for name in list_ids(read_list(p), p.name, ignore)}


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
