"""Label and grey PNGs: 0 background, 1..C classes in table order, 255 ignore."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.files import replacing
from knowledge.classes import MOST_CLASSES, ClassTable

IGNORE = 255
"""Label of pixels that no loss and no score counts."""


def read_label(path: Path) -> UInt8[np.ndarray, "h w"]:
    """Read a palette or grey PNG as class indices: 0 background, 1..C classes, 255 ignore.

    A palette PNG gives its indices, never its colours. Raises `FileNotFoundError`, or `ValueError`
    naming the file where it is damaged or has colours instead of indices.
    """
    return np.asarray(_open(path, ("P", "L"), "a palette or grey PNG with one number a pixel"))


def write_label(path: Path, label: UInt8[np.ndarray, "h w"], classes: ClassTable) -> None:
    """Write class indices as a palette PNG in the colours of `classes`, atomically.

    Raises `ValueError` for a value that is neither 0..C nor 255 and for more than 254 classes.
    """
    check_label(label, len(classes.names), str(path))
    image = Image.fromarray(label)
    image.putpalette(classes.palette())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def check_label(label: UInt8[np.ndarray, "h w"], classes: int, name: str) -> None:
    """Raise `ValueError` where `label` holds something else than 0..`classes` and 255."""
    if classes > MOST_CLASSES:
        raise ValueError(
            f"{classes} classes do not fit a label PNG: one byte holds {MOST_CLASSES} classes; "
            "merge classes or split the data set"
        )
    values = np.bincount(label.reshape(-1), minlength=256)[classes + 1 : IGNORE]
    if values.any():
        found = int(np.flatnonzero(values)[-1]) + classes + 1
        raise ValueError(
            f"{name} holds label {found}, but there are {classes} classes (0 background, "
            f"1..{classes}, 255 ignore){coco_hint(found, classes)}"
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
