"""Word vectors as text: glove.6B.300d.txt and the like, a word and its numbers a line.

The file is read line by line and only the words that the class names need are kept: gigabytes on
disk cost the memory of a few hundred words. word2vec's text format, with a first line "words size",
and gzip are read too.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from knowledge.phrases import phrases

SUFFIXES = (".txt", ".vec")
"""What such files are called, before .gz."""


def is_text(path: Path) -> bool:
    """Whether the name of `path` is that of word vectors as text."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_glove(path: Path, names: Sequence[str]) -> Float32[np.ndarray, "c d"]:
    """One vector a class: that of its name, for names of several words the mean of theirs.

    Names are looked up in lower case, known spellings of VOC and COCO also as what they mean
    ("tvmonitor": "television"; the first of its phrases that is there as a whole). Raises
    ValueError for a class without a vector and for a file that holds none.
    """
    choices = {name: _choices(name) for name in names}
    wanted = {word for options in choices.values() for words in options for word in words}
    kept = _kept(path, wanted)
    found: list[Float32[np.ndarray, " d"]] = []
    missing = []
    for name in names:
        words = next((one for one in choices[name] if all(word in kept for word in one)), None)
        if words is None:
            missing.append(name)
        else:
            found.append(np.stack([kept[word] for word in words]).mean(axis=0))
    if missing:
        raise ValueError(
            f"{path} has no vector for {', '.join(map(repr, missing[:8]))} ({len(missing)} of "
            f"{len(names)} classes): give a file that has them, or leave `vectors` out and let "
            "a text model read the names"
        )
    return np.stack(found)


def _choices(name: str) -> list[list[str]]:
    """Ways to write a class as words of such a file, the likeliest first."""
    spelt = " ".join(re.split(r"[\s_]+", name.strip().lower()))
    found = []
    for phrase in (*phrases(name), spelt):
        # Hyphenated words have vectors of their own in GloVe; if not, their parts do.
        found += [phrase.split(), re.findall(r"\w+", phrase)]
    return [words for words in found if words]


def _kept(path: Path, wanted: set[str]) -> dict[str, Float32[np.ndarray, " d"]]:
    known = {word.encode(): word for word in wanted}
    found: dict[str, Float32[np.ndarray, " d"]] = {}
    size = 0
    for line in _lines(path):
        word, _, rest = line.partition(b" ")
        if not size:
            size = _size(rest, path)
        if word not in known or known[word] in found:
            continue
        numbers = rest.split()
        if len(numbers) != size:  # a longer word with a space in it that begins like ours
            continue
        try:
            found[known[word]] = np.array(numbers, dtype=np.float32)
        except ValueError:
            raise ValueError(f"{path}: the line of {known[word]!r} holds no numbers") from None
        if len(found) == len(known):
            break
    return found


def _size(rest: bytes, path: Path) -> int:
    """Numbers a word, by the first line that has a word."""
    cells = rest.split()
    if len(cells) == 1:  # word2vec's first line
        return int(cells[0]) if cells[0].isdigit() else 1
    try:
        np.array(cells, dtype=np.float32)
    except ValueError:
        cells = []
    if not cells:
        raise ValueError(
            f"{path} holds no word vectors: each line needs a word and its numbers, between spaces"
        )
    return len(cells)


def _lines(path: Path) -> Iterator[bytes]:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({error}): copy it again") from error
