"""Which masks are there to score with? The only door to masks drawn by people.

Only `inspect`, `evaluate`, `report` and the declared upper bound read this artifact. Without masks
the stage succeeds with an empty list, and those stages report what can be said without.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from data.records import (
    Mask,
    Photo,
    Problem,
    Report,
    Split,
    find_photos,
    ignore,
    list_ids,
    read_list,
)
from knowledge.classes import ClassTable
from pipeline.context import Context
from pipeline.key import Place
from pipeline.parallel import map_unordered

VERSION = 1
SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


class Config(BaseModel, frozen=True, extra="forbid"):
    """Where the masks are and which photos are scored with them."""

    root: Annotated[Path | None, Place()] = Field(
        None,
        description="folder of masks named like the photos; default: SegmentationClass in the "
        "data set's folder, where there is one (demo: its own masks)",
    )
    lists: Annotated[Path | None, Place()] = Field(
        None,
        description="folder of the lists below; default: ImageSets/Segmentation in the data set's "
        "folder",
    )
    train_list: Annotated[str | None, Place()] = Field(
        None,
        description="training photos whose pseudo-labels are scored: name of a list or path; "
        "default: all that have a mask",
    )
    val_list: Annotated[str | None, Place()] = Field(
        None, description="val photos that the network is scored on; default: all with a mask"
    )
    ids: Literal["labels", "categories"] = Field(
        "labels",
        description="numbers in the mask files: labels 1..C in table order, or the data set's own "
        "category ids (COCO: 1..90)",
    )


def beside(config: Config, root: Path | None) -> Config:
    """`config` with its places filled in from the data set's `root`, where they are not set.

    `masks.root` becomes `SegmentationClass` only where that folder exists: a data set without masks
    has none to score with, and that is no error.
    """
    if root is None:
        return config
    places: dict[str, Path] = {}
    if config.root is None and (root / "SegmentationClass").is_dir():
        places["root"] = root / "SegmentationClass"
    if config.lists is None and (root / "ImageSets" / "Segmentation").is_dir():
        places["lists"] = root / "ImageSets" / "Segmentation"
    return config.model_copy(update=places)


def sources(config: Config) -> dict[str, Path]:
    """Lists and mask files: their content is part of the key.

    Without masks no list has to be there, for none is read.
    """
    if config.root is None:
        wanted = _wanted(config).items()
        places = {split: _place(config, name) for split, name in wanted}
        return {f"{split} list": path for split, path in places.items() if path is not None}
    root = _set_root(config.root)
    found = {f"{split} list": path for split, path in _lists(config).items()}
    return found | {name: root / name for name in _files(root, ignore).values()}


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write masks.jsonl, classes.json and problems.jsonl.

    Raises `FileNotFoundError` for a folder or list that is set and not there, and `ValueError`
    where the ids of the masks cannot be those of the class table.
    """
    from data.manifest import Manifest, write_classes, write_problems
    from data.masks import check_mask, write_masks

    if context.rank:
        return
    manifest = Manifest.of(inputs, context.places)
    problems: list[Problem] = []
    root = _root(config, inputs)
    files = {} if root is None else _files(root, problems.append)
    photos = _scored(config, manifest.photos, files, problems) if files else []
    by_category = config.ids == "categories"
    found: list[Mask] = []
    if root is not None and photos:
        check = partial(check_mask, root, manifest.classes, by_category)
        pairs = [(photo, files[photo.id]) for photo in photos]
        outcomes = map_unordered(check, pairs, workers=context.workers, name=_name)
        for mask, listed in context.track(outcomes, total=len(pairs), unit="masks"):
            problems += listed
            found += [] if mask is None else [mask]
    _check_ids(manifest.classes, problems, by_category)
    write_classes(out, manifest.classes)
    write_masks(out, sorted(found, key=lambda mask: mask.id), by_category=by_category)
    write_problems(out, problems)
    train = sum(mask.split == "train" for mask in found)
    context.note(f"{train} masks of training photos, {len(found) - train} of val, for scoring only")


def _root(config: Config, inputs: Mapping[str, Path]) -> Path | None:
    """The folder of masks; None where there is none and none was asked for."""
    if config.root is not None:
        return _set_root(config.root)
    drawn = inputs["index"] / "masks"
    return drawn if drawn.is_dir() else None


def _set_root(root: Path) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder: set --masks.root to the folder of masks or leave it out to "
            "work without masks"
        )
    return root


def _files(root: Path, report: Report) -> dict[str, str]:
    """Mask file below `root` by photo id."""
    found = find_photos(root, "", suffixes=SUFFIXES)
    for problem in found.problems:
        report(problem)
    return {identity: names[0] for identity, names in found.files.items()}


def _lists(config: Config) -> dict[Split, Path]:
    return {split: _list(config, name, split) for split, name in _wanted(config).items()}


def _wanted(config: Config) -> dict[Split, str]:
    lists: dict[Split, str | None] = {"train": config.train_list, "val": config.val_list}
    return {split: name for split, name in lists.items() if name}


def _place(config: Config, name: str) -> Path | None:
    near = () if config.lists is None else (config.lists / f"{name}.txt", config.lists / name)
    return next((path for path in (*near, Path(name)) if path.is_file()), None)


def _list(config: Config, name: str, split: Split) -> Path:
    path = _place(config, name)
    if path is not None:
        return path
    where = "" if config.lists is None else f" in {config.lists}"
    raise FileNotFoundError(
        f"no list {name!r}{where}: --masks.{split}-list takes the name of a list there or a path"
    )


def _scored(
    config: Config, photos: Sequence[Photo], files: Mapping[str, str], problems: list[Problem]
) -> list[Photo]:
    """The photos that are scored and have a mask file; listed ones without go to `problems`."""
    listed = {
        split: set(list_ids(read_list(path), path.name, problems.append))
        for split, path in _lists(config).items()
    }
    chosen = []
    for photo in photos:
        ids = listed.get(photo.split)
        if ids is not None and photo.id not in ids:
            continue
        if photo.id in files:
            chosen.append(photo)
        elif ids is not None or photo.split == "val":
            reason = f"{photo.id!r} has no mask, so it is not scored: add one or take it off"
            problems.append(Problem(photo.id, photo.id, "mask-missing", reason, used=False))
    known = {(photo.split, photo.id) for photo in photos}
    for split, ids in listed.items():
        for identity in sorted(ids - {name for where, name in known if where == split}):
            reason = f"the list for {split} masks names {identity!r}, which is no {split} photo"
            problems.append(Problem(identity, identity, "not-indexed", reason, used=False))
    return chosen


def _check_ids(classes: ClassTable, problems: Sequence[Problem], by_category: bool) -> None:
    """Raise `ValueError` where one wrong id means that all masks are numbered otherwise."""
    wrong = [problem for problem in problems if problem.problem == "ids"]
    own_numbers = any(entry.category is not None for entry in classes.classes)
    if wrong and own_numbers and not by_category:
        raise ValueError(
            f"{wrong[0].reason}. The data set numbers its classes with gaps, and {len(wrong)} "
            "masks hold such numbers: set --masks.ids categories"
        )


def _name(pair: tuple[Photo, str]) -> str:
    return pair[1]
