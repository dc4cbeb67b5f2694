"""What a check found: that all is well, something to know, to see to, or that prevents a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from data.records import Problem

Level = Literal["ok", "note", "warning", "error"]
Topic = Literal["data", "lists", "photos", "masks", "classes", "machine", "forecast"]

LOOK = ("class-without-photo", "few-photos", "palette-order", "unknown-tag", "unknown-category")
"""Problems of what is used all the same that nevertheless ask for a person's eye."""
NAMED = 5
"""Files that a finding names."""


class Finding(NamedTuple):
    """One line of a check."""

    level: Level
    """"error": nothing can be run; "warning": a run works, but lacks or misses something."""
    topic: Topic
    code: str
    """Short name of the fault or of the check, for programs."""
    text: str
    """One sentence; unless all is well, with what to do."""
    expected: int | float | None = None
    found: int | float | None = None
    paths: tuple[str, ...] = ()
    """The first files that it is about."""


def counted(
    code: str,
    what: str,
    found: int | float,
    expected: int | float,
    *,
    topic: Topic = "lists",
    do: str,
) -> Finding:
    """A number beside the one that is known: "ok" where they agree, else a warning with `do`."""
    digits = "," if isinstance(found, int) else ".4f"
    if round(found, 4) == expected:
        text = f"{what}: {found:{digits}}, as in the protocol"
        return Finding("ok", topic, code, text, expected, found)
    text = f"{what}: {found:{digits}} found, {expected:{digits}} expected: {do}"
    return Finding("warning", topic, code, text, expected, found)


def of_problems(topic: Topic, problems: Iterable[Problem]) -> Iterator[Finding]:
    """One finding for each kind of problem, with its count and the first of them in words."""
    groups: Mapping[tuple[str, bool], list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.problem, problem.used].append(problem)
    for (code, used), listed in groups.items():
        first = listed[0]
        times = f"{len(listed)} x " if len(listed) > 1 else ""
        place = f"{first.path}: " if first.path and first.path not in first.reason else ""
        level: Level = "note" if used and code not in LOOK else "warning"
        paths = tuple(dict.fromkeys(one.path for one in listed if one.path))[:NAMED]
        text = f"{times}{code}: {place}{first.reason}"
        yield Finding(level, topic, code, text, found=len(listed), paths=paths)
