"""The index of a data set: which photos there are, where, how large, with what tags.

An index artifact holds `manifest.jsonl` (one photo a line, sorted by id), `classes.json` and
`problems.jsonl`. Paths in it are relative to the data set's root, so that a data set that moves
keeps its index. It knows nothing of masks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from data.files import inside, read_lines, replacing, write_lines
from data.records import Photo, Problem, Split
from knowledge.classes import ClassTable

PHOTOS = "manifest.jsonl"
CLASSES = "classes.json"
PROBLEMS = "problems.jsonl"


@dataclass(frozen=True)
class Manifest:
    """The photos of an index artifact and the class table that their tags refer to."""

    folder: Path
    """Where the photos lie: the data set's root, or the artifact itself for the demo."""
    classes: ClassTable
    photos: tuple[Photo, ...]

    @classmethod
    def read(cls, artifact: Path, root: Path | None) -> "Manifest":
        """Read the index in `artifact`; `root` is the data set's, None where it lies within."""
        classes = ClassTable.parse((artifact / CLASSES).read_text(encoding="utf-8"))
        photos = tuple(_photo(line) for line in read_lines(artifact / PHOTOS))
        return cls(artifact if root is None else root, classes, photos)

    @classmethod
    def of(cls, inputs: Mapping[str, Path], places: Mapping[str, Path]) -> "Manifest":
        """The index among a stage's inputs, with the root that the data set has on this machine."""
        return cls.read(inputs["index"], places.get("dataset.root"))

    def split(self, name: Split) -> tuple[Photo, ...]:
        """The photos of one split, sorted by id."""
        return tuple(photo for photo in self.photos if photo.split == name)

    def path(self, photo: Photo) -> Path:
        """Where the photo's file is; `ValueError` where that leads out of the data set."""
        return inside(self.folder, photo.photo)

    def tag_indices(self, photo: Photo) -> tuple[int, ...]:
        """The photo's classes as 0-based indices into the table, ascending."""
        return tuple(sorted(self._index[name] for name in photo.tags))

    def tag_matrix(self, photos: Sequence[Photo]) -> Bool[np.ndarray, "n c"]:
        """One row a photo, one column a class in table order: does the photo carry the tag?"""
        matrix = np.zeros((len(photos), len(self._index)), dtype=bool)
        for row, photo in enumerate(photos):
            matrix[row, list(self.tag_indices(photo))] = True
        return matrix

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes.names)}


def read_problems(artifact: Path) -> tuple[Problem, ...]:
    """The problems that `index` or `masks` listed in `artifact`."""
    return tuple(Problem(**line) for line in read_lines(artifact / PROBLEMS))


def write_photos(artifact: Path, photos: Iterable[Photo]) -> int:
    """Write manifest.jsonl; `photos` come sorted by id. Returns how many there were."""
    return write_lines(artifact / PHOTOS, (asdict(photo) for photo in photos))


def write_problems(artifact: Path, problems: Iterable[Problem]) -> int:
    """Write problems.jsonl sorted by path and code; returns how many there were."""
    ordered = sorted(problems, key=lambda one: (one.path, one.problem, one.reason))
    return write_lines(artifact / PROBLEMS, (asdict(problem) for problem in ordered))


def write_classes(artifact: Path, classes: ClassTable) -> None:
    """Write classes.json."""
    with replacing(artifact / CLASSES) as temporary:
        temporary.write_text(classes.dump(), encoding="utf-8")


def _photo(line: dict[str, Any]) -> Photo:
    height, width = line.pop("size")
    return Photo(size=(height, width), tags=tuple(line.pop("tags")), **line)
