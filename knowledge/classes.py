"""Class tables: what the labels of a data set are called, how they are drawn, what they look like.

Light on purpose (standard library only): the command line reads it when nothing else is loaded.
"""

import difflib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from knowledge.tables import COCO_ROWS, DEMO_ROWS, VOC_ROWS

Colour = tuple[int, int, int]

BACKGROUND = "background"
"""The name of label 0, which no class may carry."""
BYTE_CLASSES = 254
"""Classes of 8-bit label files: 0 is the background and 255 means "ignore"; more take 16 bits."""
MOST_CLASSES = 1000
"""ImageNet's number. 16 bits would hold more; the limit is what everything else was made for: a
confusion matrix of 8 MB, and scores of every class at every pixel (0.75 GB for 500 x 375)."""


class Class(NamedTuple):
    """One class. Its index in tags, CAMs and vectors is `label - 1`."""

    label: int
    """Value of its pixels in a label PNG, 1..C in the order of the table."""
    name: str
    colour: Colour
    """(red, green, blue), 0..255 each."""
    description: str = ""
    """One sentence on its looks, for text vectors; may be empty in tables of the user's own."""
    category: int | None = None
    """Its id in the data set's own annotations where that differs from `label` (COCO: 1..90)."""

    @property
    def text(self) -> str:
        """What a text encoder is given: "name: description", or the name alone."""
        return f"{self.name}: {self.description}" if self.description else self.name


def voc_colour(label: int) -> Colour:
    """Colour of `label` (0..255) in the PASCAL VOC palette, and of any label by the same rule.

    Bit 3k of the label becomes bit 7 - k of red, bit 3k + 1 of green, bit 3k + 2 of blue
    (function VOClabelcolormap of the VOC devkit). No two labels below 2^24 share a colour.
    """
    red = green = blue = 0
    for k in range(8):
        red |= (label >> (3 * k) & 1) << (7 - k)
        green |= (label >> (3 * k + 1) & 1) << (7 - k)
        blue |= (label >> (3 * k + 2) & 1) << (7 - k)
    return red, green, blue


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set in label order, background not among them.

    Raises ValueError where labels are not 1..C in order, where a name is empty, carries control
    characters, appears twice or is "background", and beyond 1000 classes.
    """

    name: str
    classes: tuple[Class, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError(f"class table {self.name!r} has no classes: name at least one")
        if len(self.classes) > MOST_CLASSES:
            raise ValueError(
                f"class table {self.name!r} has {len(self.classes)} classes; at most "
                f"{MOST_CLASSES} fit, beside the background: merge some, or list those to keep in "
                "a text file and set --dataset.names"
            )
        seen: dict[str, int] = {}
        for label, entry in enumerate(self.classes, start=1):
            if entry.label != label:
                raise ValueError(
                    f"class table {self.name!r}: {entry.name!r} has label {entry.label}, but it "
                    f"stands at place {label}; labels run 1..C in order"
                )
            _check_name(entry.name, label, table=self.name)
            first = seen.setdefault(_folded(entry.name), label)
            if first != label:
                raise ValueError(
                    f"class table {self.name!r} names {entry.name!r} twice, as class {first} and "
                    f"as class {label}: every class needs a name of its own"
                )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in label order."""
        return tuple(entry.name for entry in self.classes)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {_folded(name): index for index, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """0-based index of the class called `name`. Raises ValueError naming the nearest class."""
        index = self._indices.get(_folded(name))
        if index is not None:
            return index
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(self.names[:8])}"
        raise ValueError(f"{name!r} is no class of table {self.name!r}{hint}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _folded(name) in self._indices

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Colours of the labels 0 (black) to C."""
        return (voc_colour(0), *(entry.colour for entry in self.classes))

    @property
    def ignore_colour(self) -> Colour:
        """That of ignored pixels: what the VOC palette has for their number in a file.

        VOC's pale (224, 224, 192) for 255; beyond 254 classes that of 65535.
        """
        return voc_colour(255 if len(self.classes) <= BYTE_CLASSES else 65535)

    def palette(self) -> list[int]:
        """768 bytes for a PNG's palette: the classes' colours, the VOC palette elsewhere.

        0 is black and 255 (ignore) is VOC's pale (224, 224, 192). Raises ValueError beyond 254
        classes.
        """
        if len(self.classes) > BYTE_CLASSES:
            raise ValueError(f"{len(self.classes)} classes fit no palette: use their colours")
        colours = [voc_colour(label) for label in range(256)]
        for entry in self.classes:
            colours[entry.label] = entry.colour
        return [channel for colour in colours for channel in colour]

    def dump(self) -> str:
        """The table as JSON text, one class a line; `parse` reads it back."""
        rows = ",\n  ".join(
            json.dumps(entry._asdict(), ensure_ascii=False) for entry in self.classes
        )
        name = json.dumps(self.name, ensure_ascii=False)
        return f'{{"name": {name}, "classes": [\n  {rows}\n]}}\n'

    @classmethod
    def parse(cls, text: str) -> "ClassTable":
        """Read what `dump` wrote. Raises ValueError where the text is something else."""
        try:
            document = json.loads(text)
            rows = [(row, tuple(row["colour"])) for row in document["classes"]]
            classes = tuple(Class(**{**row, "colour": colour}) for row, colour in rows)
            return cls(str(document["name"]), classes)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"no class table: {error!r}; make the index again") from error

    @classmethod
    def of_names(cls, name: str, names: Sequence[str]) -> "ClassTable":
        """A table of the user's own: any unique, non-empty names, coloured by the VOC palette.

        Names are brought to Unicode's composed form (NFC) and stripped of outer white space.
        Raises ValueError as the class says.
        """
        composed = (unicodedata.normalize("NFC", text).strip() for text in names)
        return cls(name, _table((label, text, "") for label, text in enumerate(composed, start=1)))


def _table(rows: Iterable[tuple[int, str, str]]) -> tuple[Class, ...]:
    return tuple(Class(label, name, voc_colour(label), text) for label, name, text in rows)


def _folded(name: str) -> str:
    """The form in which names are compared: "é" typed as one or as two characters is one name."""
    return unicodedata.normalize("NFC", name).strip()


def _check_name(name: str, label: int, *, table: str) -> None:
    if not name.strip():
        raise ValueError(f"class {label} of table {table!r} has an empty name: give it one")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise ValueError(
            f"class {label} of table {table!r}, {name!r}, holds a line break or another control "
            "character: write it on one line"
        )
    if _folded(name).casefold() == BACKGROUND:
        raise ValueError(
            f"class {label} of table {table!r} is called {name!r}, which is what label 0 is "
            "called: leave it out of the list, or give it another name"
        )


VOC = ClassTable("voc", tuple(Class(*row) for row in VOC_ROWS))
COCO = ClassTable(
    "coco",
    tuple(
        Class(label, name, rgb, text, category) for label, category, name, rgb, text in COCO_ROWS
    ),
)
DEMO = ClassTable("demo", tuple(Class(*row) for row in DEMO_ROWS))

TABLES = {"voc": VOC, "coco": COCO, "demo": DEMO}
