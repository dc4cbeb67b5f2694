"""COCO's `instances_*.json`, read element by element: 450 MB of JSON in a few MB of memory.

The file is one object whose arrays `images`, `annotations` and `categories` come in any order. Who
reads tags takes ids and categories only; outlines are for `data.coco_masks`, which asks for the
place of each annotation in the file and reads it again when a mask is drawn.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 1 << 20  # bytes read at a time
MOST_BYTES = 64 << 20  # of one element; the largest of COCO's have some 300 kB
SPACE = " \t\r\n"
LONGEST = 100  # characters of a number's rest that are looked at
NUMERIC = "0123456789.eE+-"


class Element(NamedTuple):
    """One element of a top-level array, and where in the file its bytes are."""

    array: str
    value: Any
    start: int
    length: int


class Shot(NamedTuple):
    """A photo as the file lists it; its size is that of the photo, upright."""

    name: str
    """`file_name`: posix path below the split's folder of photos."""
    size: tuple[int, int]
    """(height, width) in pixels; (0, 0) where the file does not say."""


@dataclass
class Boxes:
    """What a file says about its photos, their outlines left out."""

    shots: dict[int, Shot] = field(default_factory=dict)
    """By the file's own number of the photo."""
    categories: dict[int, str] = field(default_factory=dict)
    """Names of the classes by category id (COCO: 80 ids out of 1..90)."""
    tags: dict[int, set[int]] = field(default_factory=dict)
    """Category ids of a photo's objects by its number; none for a photo without objects."""


def read_boxes(path: Path, *, crowds: bool = True) -> Boxes:
    """Photos, categories and which category each photo shows.

    `crowds`: whether a crowd ("iscrowd") counts as showing its category. Of an annotation only
    `image_id`, `category_id` and `iscrowd` are looked at. Raises `ValueError` naming the file.
    """
    found = Boxes()
    arrays = ("images", "categories", "annotations")
    for element in elements(path, arrays):
        try:
            _add(found, element, crowds=crowds)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise broken(path, element, error) from error
    if not found.shots or not found.categories:
        raise ValueError(
            f"{path} lists no {'categories' if found.shots else 'images'}: expected COCO's "
            f"instances file, an object with {', '.join(arrays)}"
        )
    return found


def read_categories(path: Path) -> dict[int, str]:
    """Names of the classes by category id. Raises `ValueError` naming the file."""
    found = Boxes()
    for element in elements(path, ("categories",)):
        try:
            _add(found, element, crowds=True)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise broken(path, element, error) from error
    return found.categories


def has_boxes(path: Path) -> bool:
    """Whether a JSON file is of COCO's kind: an object with a list `images` of described photos."""
    try:
        first = next(elements(path, ("images",)), None)
    except ValueError:
        return False
    return first is not None and isinstance(first.value, dict) and "file_name" in first.value


def shot_of(value: Any) -> tuple[int, Shot]:
    """Number and description of a photo from an element of `images`."""
    size = (_side(value.get("height")), _side(value.get("width")))
    return whole(value["id"]), Shot(str(value["file_name"]), size)


def _side(value: Any) -> int:
    """Pixels; 0 where the file gives none. Raises `ValueError` for what no photo has."""
    if isinstance(value, float) and not value.is_integer():  # NaN and Infinity among them
        raise ValueError(f"{value!r} is no number of pixels")
    return int(value or 0)


def whole(value: object) -> int:
    """`value` as a whole number. Raises `ValueError` where it is something else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)  # some tools write ids as text


def broken(path: Path, element: Element, error: Exception) -> ValueError:
    """The error of an element that lacks something, with its place in the file."""
    return ValueError(
        f"{path}: the element of {element.array!r} at byte {element.start} cannot be used "
        f"({type(error).__name__}: {error}): export the file again"
    )


def elements(path: Path, arrays: Collection[str]) -> Iterator[Element]:
    """Yield the elements of the named top-level arrays in the order of the file.

    Memory is that of one element and a chunk. Raises `FileNotFoundError`, or `ValueError` naming
    the file and the byte from which on it is no JSON.
    """
    with path.open("rb") as file:
        text = _Text(path, file)
        text.expect("{")
        while text.peek() != "}":
            name, _, _ = text.value()
            text.expect(":")
            if text.peek() != "[":
                text.value()
            else:
                text.expect("[")
                while text.peek() != "]":
                    value, start, length = text.value()
                    if name in arrays:
                        yield Element(str(name), value, start, length)
                    text.separator("]")
                text.expect("]")
            text.separator("}")


def read_element(path: Path, start: int, length: int) -> Any:
    """The element whose bytes are at `start`, as `elements` told."""
    with path.open("rb") as file:
        file.seek(start)
        return json.loads(file.read(length))


def _add(found: Boxes, element: Element, *, crowds: bool) -> None:
    value = element.value
    if element.array == "images":
        number, shot = shot_of(value)
        found.shots[number] = shot
    elif element.array == "categories":
        found.categories[whole(value["id"])] = str(value["name"])
    elif crowds or not value.get("iscrowd"):
        found.tags.setdefault(whole(value["image_id"]), set()).add(whole(value["category_id"]))


class _Text:
    """The file as text of one character a byte, so that places in both are the same.

    In UTF-8 the bytes of a character beyond ASCII are never quotes or brackets: the structure is
    found all the same, and an element that has such characters is decoded from its bytes.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.file = file
        self.decode = json.JSONDecoder().raw_decode
        self.text = ""
        self.at = 0
        self.before = 0  # bytes of the file in front of `text`
        self._fill()
        if self.text.startswith("\u00ef\u00bb\u00bf"):  # byte order mark
            self.at = 3

    def peek(self) -> str:
        """The next character that is no white space."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._fill():
                raise self._wrong("it ends too early")

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise self._wrong(f"expected {sign!r}, found {self.peek()!r}")
        self.at += 1

    def separator(self, end: str) -> None:
        """Pass a comma, or stop in front of `end`."""
        if self.peek() != end:
            self.expect(",")
            if self.peek() == end:
                raise self._wrong("a comma stands in front of the end")

    def value(self) -> tuple[Any, int, int]:
        """The JSON value that comes next, the place of its first byte and its length in bytes."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._fill():
                    raise self._wrong(str(error)) from error
                continue
            if not self.text[end : end + LONGEST].lstrip(NUMERIC) and self._fill():
                continue  # a number may go on in the next chunk
            if not self.text.isascii():
                value = self._own(end)
            start, length = self.before + self.at, end - self.at
            self.at = end
            return value, start, length

    def _own(self, end: int) -> Any:
        try:
            return json.loads(self.text[self.at : end].encode("latin-1"))
        except UnicodeDecodeError as error:
            raise self._wrong("it is no UTF-8") from error

    def _fill(self) -> bool:
        """Read on, as much again as is waiting; False at the end of the file."""
        waiting = len(self.text) - self.at
        if waiting > MOST_BYTES:
            raise self._wrong(f"an element has more than {MOST_BYTES >> 20} MB, or is no JSON")
        more = self.file.read(max(CHUNK, waiting))
        self.before += self.at
        self.text = self.text[self.at :] + more.decode("latin-1")
        self.at = 0
        return bool(more)

    def _wrong(self, reason: str) -> ValueError:
        return ValueError(
            f"{self.path} is no JSON of COCO's kind from byte {self.before + self.at} on "
            f"({reason}): fetch or export it again"
        )
