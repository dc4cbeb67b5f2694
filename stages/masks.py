"""Which masks are there to score with? The only door to masks drawn by people.

They are files beside the photos, or drawn here from the outlines of COCO's instances files.

Only `inspect`, `evaluate`, `report` and the declared upper bound read this artifact. Without masks
the stage succeeds with an empty list, and those stages report what can be said without.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field

from data.coco_layout import instances_files, number
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

if TYPE_CHECKING:
    from data.manifest import Manifest

VERSION = 2
SUFFIXES = (".png", ".bmp", ".tif", ".tiff")

Pairs = tuple[Path | None, list[tuple[Photo, str]], dict[str, object]]
"""Folder of masks, scored photos with their file in it, and how the masks were made."""


class Config(BaseModel, frozen=True, extra="forbid"):
    """Where the masks are and which photos are scored with them."""

    source: Literal["files", "instances"] = Field(
        "files",
        description="files = a folder of masks, instances = drawn from the outlines of COCO's "
        "instances files, 255 = ignore",
    )
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
    instances: Annotated[Path | None, Place()] = Field(
        None,
        description="instances: the file, or the folder of COCO that holds annotations; default: "
        "the data set's folder. Of several years there, the first (2014)",
    )
    overlap: Literal["later", "smaller"] = Field(
        "later",
        description="instances: what lies on top, the object listed later (the field's way) or "
        "the smaller one",
    )
    crowd: Literal["ignore", "class", "skip"] = Field(
        "ignore",
        description="instances: a crowd is 255 below all objects, an object, or left out",
    )


def beside(config: Config, root: Path | None) -> Config:
    """`config` with its places filled in from the data set's `root`, where they are not set.

    `masks.root` becomes `SegmentationClass` only where that folder exists: a data set without masks
    has none to score with, and that is no error.
    """
    if root is None:
        return config
    places: dict[str, Path] = {}
    if config.source == "instances":
        places |= {} if config.instances or not instances_files(root) else {"instances": root}
    elif config.root is None and (root / "SegmentationClass").is_dir():
        places["root"] = root / "SegmentationClass"
    if config.lists is None and (root / "ImageSets" / "Segmentation").is_dir():
        places["lists"] = root / "ImageSets" / "Segmentation"
    return config.model_copy(update=places)


def known(config: Config) -> bool:
    """Whether there is a place that masks come from; ask for the outcome of `beside`."""
    return (config.root if config.source == "files" else config.instances) is not None


def sources(config: Config) -> dict[str, Path]:
    """Lists and files of masks or outlines: their content is part of the key.

    Without masks no list has to be there, for none is read.
    """
    if not known(config):
        wanted = _wanted(config).items()
        places = {split: _place(config, name) for split, name in wanted}
        return {f"{split} list": path for split, path in places.items() if path is not None}
    found = {f"{split} list": path for split, path in _lists(config).items()}
    if config.source == "instances" and config.instances is not None:
        found |= {path.name: path for path in _instances(config.instances)}
    elif config.root is not None:
        root = _set_root(config.root)
        found |= {name: root / name for name in _files(root, ignore).values()}
    return found


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write masks.jsonl, policy.json, classes.json and problems.jsonl; drawn masks below masks/.

    Raises `FileNotFoundError` for a folder or list that is set and not there, and `ValueError`
    where the ids of the masks cannot be those of the class table.
    """
    from data.manifest import Manifest, write_classes, write_problems
    from data.masks import check_mask, write_masks, write_policy

    if context.rank:
        return
    manifest = Manifest.of(inputs, context.places)
    problems: list[Problem] = []
    if config.source == "instances":
        root, pairs, made = _drawn(config, manifest, out, context, problems)
    else:
        root, pairs, made = _found(config, manifest, inputs, problems)
    by_category = config.ids == "categories" and config.source == "files"
    found: list[Mask] = []
    if root is not None and pairs:
        check = partial(check_mask, root, manifest.classes, by_category)
        outcomes = map_unordered(check, pairs, workers=context.workers, name=_name)
        for mask, listed in context.track(outcomes, total=len(pairs), unit="masks"):
            problems += listed
            found += [] if mask is None else [mask]
    _check_ids(manifest.classes, problems, by_category)
    found.sort(key=lambda mask: mask.id)
    write_classes(out, manifest.classes)
    write_masks(out, found, by_category=by_category)
    write_policy(out, found, made)
    write_problems(out, problems)
    train = sum(mask.split == "train" for mask in found)
    context.note(f"{train} masks of training photos, {len(found) - train} of val, for scoring only")


def _found(
    config: Config, manifest: "Manifest", inputs: Mapping[str, Path], problems: list[Problem]
) -> Pairs:
    """The mask files of the scored photos."""
    root = _root(config, inputs)
    files = {} if root is None else _files(root, problems.append)
    photos = _scored(config, manifest.photos, files, problems) if files else []
    return root, [(one, files[one.id]) for one in photos], {"source": "files", "ids": config.ids}


def _drawn(
    config: Config, manifest: "Manifest", out: Path, context: Context, problems: list[Problem]
) -> Pairs:
    """Draw the masks of the scored photos that an instances file lists, those that are missing."""
    from data import coco_masks, masks
    from stages.drawn_masks import draw_masks

    made: dict[str, object] = {**config.model_dump(include={"source", "overlap", "crowd"})}
    if config.instances is None:
        return None, [], made
    paths = _instances(config.instances)
    numbers = {number(photo.id) for photo in manifest.photos}
    outlines = coco_masks.find_outlines(paths, numbers, manifest.classes)
    files = {one.id: f"{one.id}.png" for one in manifest.photos if number(one.id) in outlines}
    photos = _scored(config, manifest.photos, files, problems)
    policy = coco_masks.Policy(config.overlap, config.crowd)
    folder = out / masks.DRAWN
    items = [(photo, outlines[number(photo.id)]) for photo in photos]
    undrawn = draw_masks(folder, policy, manifest.classes, items=items, context=context)
    problems += undrawn
    left_out = {problem.id for problem in undrawn}
    made["files"] = [path.name for path in paths]
    return folder, [(one, files[one.id]) for one in photos if one.id not in left_out], made


def _instances(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found = list(instances_files(place).values())
    if not found:
        raise FileNotFoundError(
            f"{place} has no annotations/instances_train2014.json or the like: set "
            "--masks.instances to an instances file or to COCO's folder"
        )
    return found


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
