"""What a full decode told about each photo, kept line by line so that a killed index goes on."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.files import inside
from data.photos import BadPhoto, examine_photo
from data.records import Problem


class Examination(NamedTuple):
    """The outcome for one photo; `code` is "" where it can be used."""

    photo: str
    """Posix path below the root."""
    size: tuple[int, int] = (0, 0)
    sha256: str = ""
    converted: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""

    def problems(self, identity: str) -> Iterator[Problem]:
        """What to list about the photo: why it is of no use, or how it was converted."""
        if self.code:
            yield Problem(self.photo, identity, self.code, self.reason, used=False)
        for code in self.converted:
            yield Problem(self.photo, identity, code, CONVERSIONS[code], used=True)


CONVERSIONS = {
    "exif-rotated": "the photo is turned upright by its EXIF orientation; a mask has to be upright",
    "grey": "the photo is grey and read as RGB with three equal channels",
    "palette": "the photo has a palette and is read in its colours",
    "alpha": "transparent parts are laid on white; flatten the photo if that is not wanted",
    "cmyk": "the photo is CMYK (print) and converted to RGB without a colour profile",
    "16-bit": "the photo has 16 bits a channel and is scaled to 8",
    "colour-space": "the photo is not RGB and is converted to RGB",
}


def examine(root: Path, photo: str) -> Examination:
    """Decode the photo at `photo` below `root` in full; every defect becomes an outcome."""
    try:
        found = examine_photo(inside(root, photo), photo)
    except BadPhoto as error:
        return Examination(photo, code=error.code, reason=str(error))
    except ValueError as error:
        return Examination(photo, code="outside", reason=_relative(error, root))
    except OSError as error:
        reason = f"{photo} cannot be read ({error.strerror}): check the file and its permissions"
        return Examination(photo, code="unreadable", reason=reason)
    except MemoryError:
        reason = f"{photo} does not fit into memory: shrink it, or lower --workers"
        return Examination(photo, code="too-large", reason=reason)
    except Exception as error:  # one photo must not end the examination of all others
        reason = f"{photo} cannot be decoded ({type(error).__name__}: {error}): export it again"
        return Examination(photo, code="damaged", reason=reason)
    return Examination(photo, found.size, found.sha256, found.converted)


def examine_several(root: Path, photos: tuple[str, ...]) -> list[Examination]:
    """`examine` for a handful of photos: one message between processes instead of many."""
    return [examine(root, photo) for photo in photos]


def keep(path: Path, outcomes: Iterable[Examination]) -> Iterator[Examination]:
    """Yield the outcomes on, each after its line is at the end of the file `path`."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        for outcome in outcomes:
            file.write(json.dumps(outcome) + "\n")
            file.flush()
            yield outcome


def kept(path: Path) -> Iterator[Examination]:
    """The outcomes that a killed run left in `path`; the line that it died in is cut off."""
    if not path.is_file():
        return
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                photo, size, sha256, converted, code, reason = json.loads(line)
            except ValueError:
                break
            whole += len(line)
            yield Examination(photo, tuple(size), sha256, tuple(converted), code, reason)
    with path.open("rb+") as file:
        file.truncate(whole)


def _relative(error: ValueError, root: Path) -> str:
    return str(error).replace(str(root), "the data set")
