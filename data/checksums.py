"""The known counts of PASCAL VOC 2012 and COCO, and how a copy of their lists and masks compares.

A count that differs is a warning, for a part of a data set is a data set too; but scores on it
compare with nothing that is published. VOC: the lists and tags that IRN, SEAM, MCTformer, ToCo and
others ship (jiwoon-ahn/irn: voc12/*.txt); COCO: linyq2117/CLIP-ES: coco14/*.txt and the instances
files.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from data.findings import Finding, counted
from data.labels import IGNORE

Tags = Mapping[str, Sequence[str]]
"""Names of classes by photo."""

VOC_ID = re.compile(r"20(07|08|09|10|11|12)_\d{6}")
COCO_ID = re.compile(r"(?:COCO_(?:train|val)(20\d\d)_)?\d{12}")
PART = "a part of the data set is fine, but compares with no published score; else copy it again"


class Known(NamedTuple):
    """What is known of one list."""

    photos: int
    tags: int | None = None
    """Tags of all its photos together."""
    most: int | None = None
    """Tags of one photo at most."""
    by_class: tuple[tuple[str, int], ...] = ()
    """Photos that show a class."""


AUG_CLASSES = (
    *(("aeroplane", 590), ("bicycle", 504), ("bird", 705), ("boat", 468), ("bottle", 714)),
    *(("bus", 393), ("car", 1150), ("cat", 1005), ("chair", 1228), ("cow", 267)),
    *(("diningtable", 613), ("dog", 1188), ("horse", 445), ("motorbike", 492), ("person", 4155)),
    *(("pottedplant", 522), ("sheep", 300), ("sofa", 649), ("train", 503), ("tvmonitor", 567)),
)
VOC: dict[str, Known] = {
    "train": Known(1464, 2171),
    "val": Known(1449, 2147),
    "test": Known(1456),
    "train_aug": Known(10582, 16458, 6, AUG_CLASSES),
}
"""By name of the list; train_aug is VOC's train and SBD, without VOC's val."""
VOC_ALL = Known(12031, 18605)
"""Photos and tags of train_aug and val together."""

COCO_LISTS: dict[str, Known] = {
    "train2014": Known(82081, 235348, 18, (("person", 45061), ("hair drier", 128))),
    "val2014": Known(40137, 113748, 15),
    "train2017": Known(117266),
    "val2017": Known(4952),
}
"""Of the photos with at least one object."""
COCO_FILES = {"train2014": 82783, "val2014": 40504, "train2017": 118287, "val2017": 5000}
"""Photos of the instances files."""

LABELLED = 248_127_236
"""Pixels that are not 255 in the masks of VOC's train list."""
ALL_BACKGROUND = 0.0349
"""mIoU on them of a labelling that says background everywhere (4 digits)."""


def kind_of(ids: Collection[str]) -> str | None:
    """Whose photos these are by their names: "voc", "coco", or None for anybody else's."""
    for kind, pattern in (("voc", VOC_ID), ("coco", COCO_ID)):
        if ids and all(pattern.fullmatch(one) for one in ids):
            return kind
    return None


def check_voc(lists: Mapping[str, Collection[str]], tags: Tags) -> Iterator[Finding]:
    """Compare VOC's lists, by name, and the tags of their photos with what is known.

    Of a list with other photos than the known one, tags say nothing.
    """
    for name, known in VOC.items():
        if name in lists:
            yield counted(
                f"{name}-photos", f"photos of list {name}", len(lists[name]), known.photos, do=PART
            )
            if len(lists[name]) == known.photos and set(lists[name]) <= tags.keys():
                yield from _tagged(name, known, {one: tags[one] for one in lists[name]})
    if {"train", "train_aug"} <= lists.keys():
        outside = len(set(lists["train"]) - set(lists["train_aug"]))
        do = "train_aug holds all of train: take the published list"
        yield counted("train-in-train_aug", "photos of train outside train_aug", outside, 0, do=do)
    if {"val", "train_aug"} <= lists.keys():
        shared = len(set(lists["val"]) & set(lists["train_aug"]))
        do = "who trains on them scores on training photos: take them off train_aug"
        yield counted("val-and-train_aug", "photos in both val and train_aug", shared, 0, do=do)
    if len(tags) >= VOC["train_aug"].photos:
        yield counted("all-photos", "photos with tags", len(tags), VOC_ALL.photos, do=PART)
        yield from _tagged("all", VOC_ALL, tags)


def check_coco(lists: Mapping[str, Collection[str]], tags: Mapping[str, Tags]) -> Iterator[Finding]:
    """Compare COCO's lists, by split and year ("train2014"), and their tags with what is known."""
    for name in (name for name in COCO_LISTS if name in lists):
        known, size = COCO_LISTS[name], len(lists[name])
        whole = COCO_FILES[name]
        expected = whole if size == whole else known.photos
        what = f"photos of list {name}" if size == whole else f"photos of list {name}, with objects"
        yield counted(f"{name}-photos", what, size, expected, do=PART)
        if name in tags and size in (known.photos, whole):
            yield from _tagged(name, known, tags[name])


def check_instances(split: str, photos: int, with_objects: int) -> Iterator[Finding]:
    """Compare the photos of an instances file ("train2014") with what is known."""
    if split in COCO_FILES:
        what = f"photos of instances_{split}.json"
        yield counted(f"{split}-file", what, photos, COCO_FILES[split], do=PART)
        known = COCO_LISTS[split].photos
        yield counted(f"{split}-objects", f"{what} with objects", with_objects, known, do=PART)


def check_pixels(counts: Int64[np.ndarray, " 256"], masks: int) -> Iterator[Finding]:
    """Compare the pixels by label of the masks of VOC's train list with what is known.

    The mIoU of an all-background labelling is the share of the background over 21 classes, for
    every other class has a mask and no prediction.
    """
    labelled = int(counts[:IGNORE].sum())
    trivial = float(counts[0]) / max(labelled, 1) / 21
    do = "these are not VOC's own masks: scores on them compare with no published ones"
    yield counted("masks-photos", "masks of VOC train", masks, 1464, topic="masks", do=do)
    what = "labelled pixels of VOC train's masks"
    yield counted("masks-pixels", what, labelled, LABELLED, topic="masks", do=do)
    what = "mIoU of background everywhere on VOC train"
    yield counted("masks-background", what, trivial, ALL_BACKGROUND, topic="masks", do=do)


def _tagged(name: str, known: Known, tags: Tags) -> Iterator[Finding]:
    do = "the tags are not the published ones: check the annotations or the tag file"
    counts = [len(row) for row in tags.values()]
    if known.tags is not None:
        yield counted(f"{name}-tags", f"tags of list {name}", sum(counts), known.tags, do=do)
    if known.most is not None:
        most = max(counts, default=0)
        yield counted(f"{name}-most", f"most tags of a photo of {name}", most, known.most, do=do)
    if known.by_class:
        yield from _by_class(name, known, tags.values(), do)


def _by_class(name: str, known: Known, rows: Iterable[Sequence[str]], do: str) -> Iterator[Finding]:
    found = Counter(one for row in rows for one in row)
    for label, expected in known.by_class:
        what = f"photos of list {name} with {label}"
        yield counted(f"{name}-{label}", what, found[label], expected, do=do)
