"""The files of predicted photos: class masks, overlays, and what was found as JSON.

Below the folder of outputs: `masks/<id>.png` (palette PNG, beyond 254 classes 16-bit grey; 0
background, 1..C classes),
`overlays/<id>.jpg`, `found/<id>.json`, which comes last and says that the photo is done,
`classes.json`, `legend.png`, `problems.jsonl` and `settings.json`: what the folder was made with.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image, ImageDraw

from data.files import LONGEST_NAME, replacing, write_lines
from data.labels import label_image
from data.manifest import PROBLEMS, write_classes
from data.own import OwnPhoto
from knowledge.classes import BACKGROUND, BYTE_CLASSES, ClassTable

SETTINGS = "settings.json"
OPACITY = 140
"""Of 255: how much of a class's colour covers the photo."""
LINE = 22
"""Height of a line of the legend in pixels."""
RUNS = {"compress_type": 3}
"""Pillow's name for zlib's Z_RLE: masks are runs of one label. A third of the default's time."""
ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}
"""The last bytes of a picture that is whole."""
COVERED = [0, *[OPACITY] * 255]
"""Label -> opacity of its colour."""


class Finding(NamedTuple):
    """What was found in one photo, on its way to disk."""

    photo: OwnPhoto
    pixels: UInt8[np.ndarray, "h w 3"]
    label: Integer[np.ndarray, "h w"]
    scores: Mapping[str, float]
    """By class name, 0..1."""
    tags: Mapping[str, float] | None
    """Probability of the tags that were taken; None where the network labelled the photo."""


@dataclass(frozen=True)
class Outputs:
    """The folder of outputs and what goes into it."""

    folder: Path
    classes: ClassTable
    overlays: bool = True

    @cached_property
    def palette(self) -> bytes:
        """Of every mask: made once, for it takes as long as a mask does."""
        return bytes(self.classes.palette())

    def done(self, photo: OwnPhoto) -> bool:
        """Whether everything of the photo is there.

        Raises ValueError where it is there of another photo of the same name.
        """
        try:
            said = json.loads(self._found(photo).read_text("utf-8"))
            before = Path(said["photo"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        if before.is_file() and not before.samefile(photo.path):
            raise ValueError(
                f"{self.folder} holds the labels of {before} under the name of {photo.path}: give "
                "another folder with --out"
            )
        return _whole(self._mask(photo)) and (not self.overlays or _whole(self._overlay(photo)))

    def _mask(self, photo: OwnPhoto) -> Path:
        return self.folder / "masks" / f"{fitting_name(photo.id)}.png"

    def _overlay(self, photo: OwnPhoto) -> Path:
        return self.folder / "overlays" / f"{fitting_name(photo.id)}.jpg"

    def _found(self, photo: OwnPhoto) -> Path:
        return self.folder / "found" / f"{fitting_name(photo.id)}.json"

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make the folder ready. Raises ValueError where it was made with other settings."""
        path = self.folder / SETTINGS
        wanted = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
        if path.is_file():
            self._check(_settings(path), json.loads(wanted))
            return
        with replacing(path) as temporary:
            temporary.write_text(wanted, "utf-8")
        write_classes(self.folder, self.classes)
        with replacing(self.folder / "legend.png") as temporary:
            legend(self.classes).save(temporary, format="PNG")

    def _check(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        other = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        if other:
            raise ValueError(
                f"{self.folder} holds predictions made with another {', '.join(other)}: give "
                "another folder with --out, or delete that one"
            )

    def write(self, finding: Finding) -> OwnPhoto:
        """Write the files of one photo, the one that says it is done last."""
        photo, label = finding.photo, finding.label
        if len(self.classes) > BYTE_CLASSES:
            mask = label_image(label, self.classes, photo.id)
            colours = Image.fromarray(np.array(self.classes.colours, np.uint8)[label])
        else:
            mask = Image.fromarray(label)
            mask.putpalette(self.palette)
            colours = mask
        _put(self._mask(photo), encoded(mask, format="PNG", **RUNS))
        if self.overlays:
            painted = overlay(finding.pixels, colours, None if colours is mask else label > 0)
            _put(self._overlay(photo), encoded(painted, format="JPEG", quality=85))
        text = json.dumps(self._said(finding), ensure_ascii=False)  # indenting is ten times slower
        # Bytes of a name that are no UTF-8 become JSON escapes and come back as they were.
        _put(self._found(photo), f"{text}\n".encode("utf-8", "backslashreplace"))
        return photo

    def _said(self, finding: Finding) -> dict[str, Any]:
        label = finding.label
        counts = np.bincount(label.reshape(-1))
        names = (BACKGROUND, *self.classes.names)
        said: dict[str, Any] = {
            "photo": str(finding.photo.path),
            "size": list(label.shape),
            "classes": {
                names[value]: {
                    "label": int(value),
                    "area": round(float(counts[value] / label.size), 6),
                    "pixels": int(counts[value]),
                    "score": round(float(finding.scores.get(names[value], 0.0)), 4),
                }
                for value in np.flatnonzero(counts)
            },
        }
        if finding.tags is not None:
            said["tags"] = {name: round(float(share), 4) for name, share in finding.tags.items()}
        return said

    def problems(self, problems: Iterable[Mapping[str, str]]) -> None:
        """Write problems.jsonl: the photos that cannot be used, and why; none removes the file."""
        listed = list(problems)
        if listed:
            write_lines(self.folder / PROBLEMS, listed)
        else:
            (self.folder / PROBLEMS).unlink(missing_ok=True)


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} is damaged: give another folder with --out, or delete {path.parent}"
        )
    return found


def fitting_name(identity: str) -> str:
    """`identity`; where its last part is too long for a file, the start of it and a digest."""
    home, slash, name = identity.rpartition("/")
    room = LONGEST_NAME - len("..partial.json")
    content = os.fsencode(name)
    if len(content) <= room:
        return identity
    mark = hashlib.sha256(content).hexdigest()[:16]
    start = content[: room - len(mark) - 1].decode("utf-8", "ignore")
    return f"{home}{slash}{start}~{mark}"


def encoded(picture: Image.Image, **options: Any) -> bytes:
    """The bytes of a picture file: Pillow writes to memory in a third of the time of a file."""
    buffer = BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, without waiting for the disk.

    On a busy disk the wait is longer than the network's work. What a power cut leaves of a file is
    seen by how it ends, in `Outputs.done`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _whole(path: Path) -> bool:
    """Whether a picture is there and ends as pictures of its kind do."""
    end = ENDS[path.suffix]
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(end)))
            return file.read() == end
    except FileNotFoundError:
        return False


def overlay(
    pixels: UInt8[np.ndarray, "h w 3"],
    mask: Image.Image,
    covered: Bool[np.ndarray, "h w"] | None = None,
) -> Image.Image:
    """The photo with the classes of its mask in colour; the background stays as it is.

    mask: with a palette, its background being 0; or RGB, and `covered` where it shows.
    """
    # 8-bit work in C: a hundredth of what a forward pass takes.
    shown = np.asarray(mask) if covered is None else covered.view(np.uint8)
    opacity = Image.fromarray(shown).point(COVERED)
    photo = Image.fromarray(pixels)
    photo.paste(mask.convert("RGB"), mask=opacity)
    return photo


def legend(classes: ClassTable) -> Image.Image:
    """The name of every class beside its colour."""
    names = (BACKGROUND, *classes.names)
    width = 2 * LINE + 10 * max(len(name) for name in names)
    image = Image.new("RGB", (width, LINE * len(names) + 4), "white")
    draw = ImageDraw.Draw(image)
    for place, (name, colour) in enumerate(zip(names, classes.colours, strict=True)):
        top = place * LINE + 3
        box = (4, top, LINE, top + LINE - 5)
        draw.rectangle(box, fill=colour, outline="black")
        draw.text((LINE + 8, top + 2), name.encode("latin-1", "replace").decode("latin-1"), "black")
    return image
