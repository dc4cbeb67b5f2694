"""Which photos take part: known tags, no copy in both splits, and a data set that makes sense."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from data.manifest import Photo
from data.records import Problem, Record, Report
from knowledge.classes import ClassTable

FEW = 5
"""Training photos a class below which scores say nothing."""
Untagged = Literal["skip", "negative"]


def known_tags(
    record: Record, classes: ClassTable, *, untagged: Untagged, report: Report
) -> tuple[str, ...] | None:
    """The record's tags that are classes, in table order; None where the photo takes no part.

    Tags that are no class go to `report`, and so does a photo without tags: it is left out, or,
    with `untagged="negative"`, kept as a photo that shows no class.
    """
    known = {name for name in record.tags or () if name in classes}
    for name in record.tags or ():
        if name not in known:
            reason = (
                f"the tag {name!r} is no class of table {classes.name!r}, the photo's other tags "
                "count: correct the tag or add the class"
            )
            report(Problem(record.photo, record.id, "unknown-tag", reason, used=bool(known)))
    if known:
        return tuple(classes.names[place] for place in sorted({classes.index(n) for n in known}))
    used = untagged == "negative"
    way = "it counts as showing no class" if used else "give it one, or set --dataset.untagged"
    reason = f"the photo has no tag that is a class: {way}"
    report(Problem(record.photo, record.id, "no-tag", reason, used=used))
    return () if used else None


def one_of_a_kind(
    photos: Iterable[Photo], classes: ClassTable, *, merge: bool, report: Report
) -> list[Photo]:
    """Deal with photos of the same bytes; returns the photos that take part, sorted by id.

    With `merge` (one folder a class) copies are one photo with the tags of all, in val if any of
    them is. Otherwise copies stay, but a training photo whose copy is in val is left out.
    """
    groups: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda one: one.id):
        groups[photo.sha256].append(photo)
    chosen: list[Photo] = []
    for copies in groups.values():
        if len(copies) == 1:
            chosen += copies
        else:
            chosen += _merged(copies, classes, report) if merge else _apart(copies, report)
    return sorted(chosen, key=lambda one: one.id)


def _merged(copies: Sequence[Photo], classes: ClassTable, report: Report) -> list[Photo]:
    split = "val" if any(photo.split == "val" for photo in copies) else "train"
    first = next(photo for photo in copies if photo.split == split)
    for photo in copies:
        if photo is not first:
            reason = f"the same photo as {first.photo!r}: they are one photo with the tags of both"
            report(Problem(photo.photo, photo.id, "same-photo", reason, used=True))
    places = {classes.index(name) for photo in copies for name in photo.tags}
    return [replace(first, tags=tuple(classes.names[place] for place in sorted(places)))]


def _apart(copies: Sequence[Photo], report: Report) -> list[Photo]:
    val = [photo for photo in copies if photo.split == "val"]
    chosen = []
    for photo in copies:
        other = next(one for one in copies if one is not photo)
        leaks = photo.split == "train" and bool(val)
        if leaks:
            reason = (
                f"the same bytes as the val photo {val[0].photo!r}: training leaves it out; take "
                "it off one of the two lists"
            )
        else:
            reason = f"the same bytes as {other.photo!r}: delete one of the two"
        report(Problem(photo.photo, photo.id, "same-photo", reason, used=not leaks))
        chosen += [] if leaks else [photo]
    return chosen


def check_whole(
    photos: Sequence[Photo], classes: ClassTable, problems: Sequence[Problem], report: Report
) -> None:
    """Raise `ValueError` where no training is possible; list what makes the scores mean little.

    That is a class without a training photo, and fewer than `FEW` training photos or one val photo
    for a class.
    """
    train = [photo for photo in photos if photo.split == "train"]
    counts = Counter(name for photo in train for name in photo.tags)
    if not train or not counts:
        what = "no usable training photo" if not train else "no class has a training photo"
        raise ValueError(f"{what}{_why(problems)}")
    for entry in classes.classes:
        if not counts[entry.name]:
            reason = f"no training photo has the tag {entry.name!r}: nothing is learnt about it"
            report(Problem("", None, "class-without-photo", reason, used=True))
    val = len(photos) - len(train)
    if len(train) < FEW * len(counts) or 0 < val < len(counts):
        reason = (
            f"{len(train)} photos to train on and {val} to score for {len(counts)} classes: scores "
            "of so few photos mean nothing; add photos"
        )
        report(Problem("", None, "few-photos", reason, used=True))


def _why(problems: Sequence[Problem]) -> str:
    unused = [problem for problem in problems if not problem.used]
    if not unused:
        return ": the lists and folders name none; check --dataset.root and the lists"
    counts = Counter(problem.problem for problem in unused).most_common(4)
    listed = ", ".join(f"{count} x {code}" for code, count in counts)
    first = next(problem for problem in unused if problem.problem == counts[0][0])
    return f" ({listed}). The first {counts[0][0]}: {first.path}: {first.reason}"
