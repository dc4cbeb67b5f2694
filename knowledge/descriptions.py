"""Descriptions of the user's own for classes, from a JSON file: what a photo of each shows."""

import difflib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from knowledge.classes import ClassTable

LONGEST = 400
"""Characters of a description: text models read one or two sentences and cut off the rest."""


def class_texts(
    classes: ClassTable, *, described: bool = True, descriptions: Path | None = None
) -> list[str]:
    """What a text model is given for every class: "name: description", or the name alone.

    A description of the file `descriptions` stands in front of that of the table. Raises as
    `read_descriptions` does.
    """
    own = read_descriptions(descriptions, classes.names) if descriptions is not None else {}
    if not described:
        return list(classes.names)
    return [
        entry._replace(description=own.get(entry.name, entry.description)).text
        for entry in classes.classes
    ]


def read_descriptions(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Name -> description from a JSON object; classes may be missing, others may not be there.

    Raises FileNotFoundError, and ValueError for another form, a name that is no class, a name twice
    and a text that is empty, longer than 400 characters or holds control characters.
    """
    if not path.is_file():
        raise FileNotFoundError(f"graph.descriptions: there is no {path}; give a JSON file")
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): {FORM}") from None
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise ValueError(f"{path} holds no descriptions: {FORM}")
    known = {_composed(name): name for name in names}
    found: dict[str, str] = {}
    for name, text in pairs:
        own = known.get(_composed(name))
        if own is None:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:6])}"
            raise ValueError(f"{path} describes {name!r}, which is no class: {hint}")
        if own in found:
            raise ValueError(f"{path} describes {name!r} twice: keep one")
        found[own] = _checked(_composed(text), own, path)
    return found


FORM = 'it needs {"class name": "what a photo of it shows", ...}'


def _is_pair(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], str)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _checked(text: str, name: str, path: Path) -> str:
    if not text:
        raise ValueError(f"{path}: the description of {name!r} is empty: write one or leave it out")
    if len(text) > LONGEST:
        raise ValueError(
            f"{path}: the description of {name!r} has {len(text)} characters; text models read "
            f"about {LONGEST}: shorten it"
        )
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError(f"{path}: the description of {name!r} holds a line break or the like")
    return text
