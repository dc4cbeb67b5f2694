"""What photos, tags and classes are there? Reads every photo once and lists what is wrong.

Tags come from tags only: nothing here opens a mask. The artifact names photos by their path below
the root of the data set, so that a data set that moves keeps its index and all that follows.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from data import coco, folder, voc
from data.records import Photo, Problem, Record, Source
from knowledge.classes import DEMO, ClassTable
from pipeline.context import Context
from pipeline.key import Place
from pipeline.parallel import map_unordered

READERS = {"voc": voc, "coco": coco, "folder": folder}
"""Reader modules by name; "demo" draws its photos instead of finding them."""

VERSION = 1
HANDFUL = 16  # photos that travel to a worker together
KEPT = "examined.jsonl"  # only while the stage runs
LARGE = 1500
"""Side in pixels from which on a photo costs many times what those of VOC and COCO do."""


class Demo(BaseModel, frozen=True, extra="forbid"):
    """The scenes that the reader "demo" draws."""

    photos: int = Field(400, ge=8, description="training photos")
    val: int = Field(80, ge=0, description="photos for scoring the network")
    size: int = Field(128, ge=48, description="longest side in pixels")
    seed: int = Field(0, ge=0, description="seed of the scenes")


class Config(BaseModel, frozen=True, extra="forbid"):
    """Where the data set is, how it is laid out and which of its photos are wanted."""

    reader: Literal["voc", "coco", "folder", "demo"] = Field(
        "demo",
        description="layout: voc = PASCAL VOC devkit, coco = instances files of COCO, folder = "
        "photos with a tag file or one folder a class, demo = scenes drawn by the program",
    )
    root: Annotated[Path | None, Place()] = Field(
        None,
        description="folder of the data set (VOC: that of JPEGImages, COCO: that of annotations)",
    )
    tags: Annotated[str | None, Place()] = Field(
        None,
        description="voc: xml (default) or a tag file; coco: instances (default), lists = class "
        "numbers in the text lists, or a tag file; folder: a tag file (CSV, JSON, npz; default "
        "tags.csv where there is one), folders = one folder a class, or yolo = label files",
    )
    classes: Literal["voc", "coco", "demo"] | None = Field(
        None,
        description="class table; default: voc for VOC, coco where the categories are COCO's 80, "
        "else the names file or all tags",
    )
    names: Annotated[Path | None, Place()] = Field(
        None,
        description="text file of your own classes, one a line or number<TAB>name; "
        "default for folder: labels.txt or classes.txt in the root",
    )
    photos: str | None = Field(
        None,
        description="folder, coco: where the photos lie below the root; "
        "default JPEGImages, images, photos or the root itself. Folders directly below it that are "
        "called SegmentationClass*, and beside a tag file also masks, labels and annotations, in "
        "capitals or not, hold no photos: keep masks in one of these or outside",
    )
    train_list: Annotated[str | None, Place()] = Field(
        None,
        description="list of training photos: name in ImageSets/Segmentation or path; coco: a "
        "split (train2014) or a text list; default: train for VOC, train2014 else train2017 for "
        "COCO, else every photo that is not in val",
    )
    val_list: Annotated[str | None, Place()] = Field(
        None,
        description="list of photos for scoring the network; default: val for VOC, the same year's "
        "val for COCO, if any",
    )
    val_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="folder without lists, coco without val: share of photos kept for val, by id",
    )
    seed: int = Field(0, ge=0, description="seed of that share")
    untagged: Literal["skip", "negative"] = Field(
        "skip", description="photos without a tag: leave out, or count as showing no class"
    )
    crowd: Literal["tag", "skip"] = Field(
        "tag", description="coco: a crowd counts as showing its category, or does not count"
    )
    demo: Demo = Field(Demo(), description="the scenes of the reader demo")

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if self.reader == "demo" and self.root is not None:
            raise ValueError("--dataset.root needs another --dataset.reader: demo has none")
        if self.classes is not None and self.names is not None:
            raise ValueError("set one of --dataset.classes (a table) and --dataset.names (a file)")
        return self


def sources(config: Config) -> dict[str, Path]:
    """Lists, tag files and the photos that they name: their content is part of the key."""
    if config.reader == "demo":
        return {}
    return READERS[config.reader].files(source(config))


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write manifest.jsonl, classes.json and problems.jsonl (demo: also photos/ and masks/).

    Raises `FileNotFoundError` or `ValueError` for what makes the data set useless as a whole.
    """
    from data import manifest, selection

    del inputs
    if context.rank:
        return  # reading photos is one process's work, spread over its workers
    problems: list[Problem] = []
    classes, root, records = _records(config, out, problems)
    tagged = _tagged(config, records, classes, problems)
    photos = _examined(tagged, root, out, context, problems)
    chosen = selection.one_of_a_kind(
        photos, classes, merge=_by_folder(config), report=problems.append
    )
    selection.check_whole(chosen, classes, problems, problems.append)
    manifest.write_classes(out, classes)
    manifest.write_photos(out, chosen)
    manifest.write_problems(out, problems)
    (out / KEPT).unlink(missing_ok=True)
    _say(chosen, problems, context)


def source(config: Config) -> Source:
    """What readers are told. Raises ValueError or FileNotFoundError without a folder to read."""
    if config.root is None:
        raise ValueError(f"reader {config.reader} needs --dataset.root: the data set's folder")
    if not config.root.is_dir():
        raise FileNotFoundError(f"{config.root} is no folder: set --dataset.root to the data set's")
    return Source(
        root=config.root,
        table=config.classes,
        names=config.names,
        tags=config.tags,
        train_list=config.train_list,
        val_list=config.val_list,
        photos=config.photos,
        val_fraction=config.val_fraction,
        seed=config.seed,
        crowds=config.crowd == "tag",
    )


def _records(
    config: Config, out: Path, problems: list[Problem]
) -> tuple[ClassTable, Path, Iterator[Record]]:
    if config.reader == "demo":
        from data import demo

        drawn = demo.write_scenes(out, **config.demo.model_dump())
        return DEMO, out, iter(drawn)
    reader, given = READERS[config.reader], source(config)
    return reader.classes(given), given.root, reader.records(given, problems.append)


def _by_folder(config: Config) -> bool:
    return config.reader == "folder" and folder.by_folder(source(config))


def _tagged(
    config: Config, records: Iterator[Record], classes: ClassTable, problems: list[Problem]
) -> list[Record]:
    """The records that take part, with their tags as class names in table order."""
    from data.selection import known_tags

    chosen = []
    for record in records:
        tags = known_tags(record, classes, untagged=config.untagged, report=problems.append)
        if tags is not None:
            chosen.append(record._replace(tags=tags))
    return chosen


def _examined(
    records: Sequence[Record], root: Path, out: Path, context: Context, problems: list[Problem]
) -> Iterator[Photo]:
    """Decode every photo once, on all workers, and continue where a killed run stopped."""
    from data import examined

    done = {outcome.photo: outcome for outcome in examined.kept(out / KEPT)}
    missing = [record.photo for record in records if record.photo not in done]
    handfuls = [tuple(missing[at : at + HANDFUL]) for at in range(0, len(missing), HANDFUL)]
    several = partial(examined.examine_several, root)
    outcomes = chain.from_iterable(map_unordered(several, handfuls, workers=context.workers))
    tracked = context.track(outcomes, total=len(records), done=len(records) - len(missing))
    for outcome in examined.keep(out / KEPT, tracked):
        done[outcome.photo] = outcome
    for record in records:
        outcome = done[record.photo]
        problems += outcome.problems(record.id)
        if not outcome.code:
            yield Photo(
                id=record.id,
                photo=record.photo,
                size=outcome.size,
                tags=record.tags or (),
                split=record.split,
                sha256=outcome.sha256,
            )


def _say(photos: Sequence[Photo], problems: Sequence[Problem], context: Context) -> None:
    train = sum(photo.split == "train" for photo in photos)
    left_out = sum(not problem.used for problem in problems)
    context.note(
        f"{train} photos to train on, {len(photos) - train} to score; "
        f"{left_out} problems leave something out, {len(problems) - left_out} are only listed"
    )
    large = sum(max(photo.size) > LARGE for photo in photos)
    if large:
        context.note(
            f"photos longer than {LARGE} pixels: {large}; time and memory grow with their area, so "
            "shrink them to about 500 pixels first"
        )
