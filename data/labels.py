"""Label and grey PNGs: 0 background, 1..C classes in table order, and a number for ignored pixels.

Up to 254 classes labels are bytes and 255 is ignored; beyond, they are 16-bit numbers. The ignored
value is always the largest of the type: 255 of uint8, 32767 of int16, 65535 of a 16-bit file (its
numbers have no sign, torch's have one). An array thus says by its type what it ignores, and 255 is
a class like any other among 16-bit labels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from data.files import replacing
from knowledge.classes import BYTE_CLASSES, MOST_CLASSES, ClassTable

IGNORE = 255
"""Label of bytes that no loss and no score counts."""
WIDE_IGNORE = 32767
"""The same among 16-bit labels in memory."""
FILE_IGNORE = 65535
"""The same in 16-bit files."""


def label_type(classes: int) -> np.dtype[Any]:
    """The type of label maps of `classes` classes, the background not counted."""
    return np.dtype(np.uint8 if classes <= BYTE_CLASSES else np.int16)


def ignore_of(classes: int) -> int:
    """The ignored value among labels of `classes` classes, the background not counted.

    For tensors of int64, whose type does not tell.
    """
    return IGNORE if classes <= BYTE_CLASSES else WIDE_IGNORE


def ignore_in(label: Integer[Any, "..."]) -> int:
    """The ignored value of an array or tensor by its type: 32767 in int16, 255 in others."""
    return WIDE_IGNORE if str(label.dtype).removeprefix("torch.") == "int16" else IGNORE


def ignored(label: Integer[np.ndarray, "*size"]) -> Bool[np.ndarray, "*size"]:
    """Where `label` is ignored."""
    found: Bool[np.ndarray, "*size"] = label == ignore_in(label)
    return found


def fitted(label: Integer[np.ndarray, "*size"], classes: int) -> Integer[np.ndarray, "*size"]:
    """`label` in the type of `classes` classes; its values are to be 0..`classes` or ignored."""
    wanted = label_type(classes)
    if label.dtype == wanted:
        return label
    found = label.astype(wanted)
    found[ignored(label)] = ignore_of(classes)
    return found


def read_label(path: Path) -> Integer[np.ndarray, "h w"]:
    """Read a palette or grey PNG as class indices: 0 background, 1..C classes, and ignored pixels.

    A palette PNG gives its indices, never its colours. 8-bit files give uint8, 16-bit ones int16.
    Raises `FileNotFoundError`, or `ValueError` naming the file where it is damaged, has colours
    instead of indices or numbers that no class can have.
    """
    image = _open(path, ("P", "L", "I;16"), "a palette or grey PNG with one number a pixel")
    if image.mode != "I;16":
        return np.asarray(image)
    numbers = np.asarray(image)
    blank = numbers == FILE_IGNORE
    if (worst := int(numbers[~blank].max(initial=0))) > MOST_CLASSES:
        raise ValueError(
            f"{path} holds label {worst}; a 16-bit file holds 0..{MOST_CLASSES} and {FILE_IGNORE} "
            f"to ignore{coco_hint(worst, MOST_CLASSES)}"
        )
    label = numbers.astype(np.int16)
    label[blank] = WIDE_IGNORE
    return label


def write_label(path: Path, label: Integer[np.ndarray, "h w"], classes: ClassTable) -> None:
    """Write class indices as a PNG, atomically.

    Up to 254 classes: 8 bit with a palette in the colours of `classes`, 255 ignored; beyond: 16-bit
    grey, 65535 ignored. Raises `ValueError` for a value that is neither 0..C nor ignored.
    """
    content = label_image(label, classes, str(path))
    with replacing(path) as temporary:
        content.save(temporary, format="PNG")


def label_image(label: Integer[np.ndarray, "h w"], classes: ClassTable, name: str) -> Image.Image:
    """What `write_label` writes, not yet in a file; `name` is for messages."""
    check_label(label, len(classes), name)
    if len(classes) > BYTE_CLASSES:
        numbers = label.astype(np.uint16)
        numbers[ignored(label)] = FILE_IGNORE
        return Image.fromarray(numbers)
    image = Image.fromarray(fitted(label, len(classes)))
    image.putpalette(classes.palette())
    return image


def check_label(label: Integer[np.ndarray, "h w"], classes: int, name: str) -> None:
    """Raise `ValueError` where `label` holds anything but 0..`classes` and ignored pixels."""
    if label.dtype == np.uint8:  # four times as fast as the comparisons
        wrong = np.flatnonzero(np.bincount(label.reshape(-1), minlength=256)[:IGNORE])
        wrong = wrong[wrong > classes]
    else:
        wrong = label[((label < 0) | (label > classes)) & ~ignored(label)]
    if wrong.size:
        found, blank = int(wrong.max()), IGNORE if classes <= BYTE_CLASSES else FILE_IGNORE
        raise ValueError(
            f"{name} holds label {found}, but there are {classes} classes (0 background, "
            f"1..{classes}, {blank} ignore){coco_hint(found, classes)}"
        )


def coco_hint(found: int, classes: int) -> str:
    """The usual reason for ids above the class count, where it fits."""
    if classes == 80 and found <= 90:
        return "; COCO ids 1-90 vs 1-80: convert the category ids to 1..80 in id order"
    return ": number the classes 1..C in the order of the class table"


def write_grey(path: Path, values: UInt8[np.ndarray, "h w"]) -> None:
    """Write one byte a pixel (a confidence 0..255, say) as a grey PNG, atomically."""
    with replacing(path) as temporary:
        Image.fromarray(values).save(temporary, format="PNG")


def read_grey(path: Path) -> UInt8[np.ndarray, "h w"]:
    """Read a grey PNG as written by `write_grey`; `ValueError` where it is something else."""
    return np.asarray(_open(path, ("L",), "a grey 8-bit PNG"))


def _open(path: Path, modes: tuple[str, ...], expected: str) -> Image.Image:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as PNG ({error}): make it again") from error
    if image.mode not in modes:
        raise ValueError(f"{path} has pixel format {image.mode}; expected {expected}")
    return image
