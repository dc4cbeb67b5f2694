"""Masks drawn by people: read for scoring only, and only through this door.

A masks artifact holds `masks.jsonl` (one usable mask a line, sorted by id), `policy.json` (how
they were made, a digest of all), `classes.json` and `problems.jsonl`. Masks come as palette or grey
PNGs with one number a pixel, or painted in the colours of the class table.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Integer
from PIL import Image

from data.files import digest, inside, read_lines, replacing, write_lines
from data.labels import (
    FILE_IGNORE,
    IGNORE,
    check_label,
    fitted,
    ignore_of,
    ignored,
    label_type,
)
from data.manifest import CLASSES
from data.records import Mask, Photo, Problem, Split
from knowledge.classes import BYTE_CLASSES, ClassTable, Colour

MASKS = "masks.jsonl"
POLICY = "policy.json"
DRAWN = "masks"
"""Folder of the masks that the stage drew itself, within its artifact."""

NOTES = {
    "coloured": "the mask is painted in colours and is read by the palette of the class table",
    "palette-order": "the palette shows class colours under other numbers than the class table; "
    "the numbers count: check that the classes are in the order of the table",
}
"""What is said about masks that are used all the same."""


class BadMask(ValueError):
    """A mask that cannot be used. `code` is the short name of the reason in problems.jsonl."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class MaskIndex:
    """The usable masks of a data set."""

    folder: Path
    classes: ClassTable
    masks: tuple[Mask, ...]
    by_category: bool
    """Whether the files hold the data set's own category ids instead of labels 1..C."""

    @classmethod
    def load(cls, artifact: Path, root: Path) -> "MaskIndex":
        """Read the masks artifact; `root` is the folder of the mask files on this machine."""
        classes = ClassTable.parse((artifact / CLASSES).read_text(encoding="utf-8"))
        lines = list(read_lines(artifact / MASKS))
        by_category = [line.pop("by_category") for line in lines]
        masks = tuple(
            Mask(**{**line, "size": tuple(line["size"]), "labels": tuple(line["labels"])})
            for line in lines
        )
        return cls(root, classes, masks, any(by_category))

    @classmethod
    def of(cls, inputs: Mapping[str, Path], places: Mapping[str, Path]) -> "MaskIndex":
        """The masks among a stage's inputs, with the folder that they have on this machine."""
        return cls.load(inputs["masks"], mask_folder(inputs, places))

    @cached_property
    def _by_id(self) -> dict[str, Mask]:
        return {mask.id: mask for mask in self.masks}

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the photos that have a usable mask, sorted."""
        return tuple(mask.id for mask in self.masks)

    def split(self, name: Split) -> tuple[Mask, ...]:
        """The masks of one split, sorted by id."""
        return tuple(mask for mask in self.masks if mask.split == name)

    def path(self, identity: str) -> Path | None:
        """Where the mask of the photo `identity` is; None where it has no usable one."""
        mask = self._by_id.get(identity)
        return None if mask is None else inside(self.folder, mask.path)

    def read(self, photo: Photo) -> Integer[np.ndarray, "h w"]:
        """The mask of `photo`: 0 background, 1..C classes, ignored; the size of the photo.

        Raises `KeyError` where it has none and `BadMask` where the file is not as indexed.
        """
        mask = self._by_id[photo.id]
        label, _ = read_mask(
            inside(self.folder, mask.path), self.classes, by_category=self.by_category
        )
        check_size(mask.path, label, photo.size)
        return label


def mask_folder(inputs: Mapping[str, Path], places: Mapping[str, Path]) -> Path:
    """The folder of masks: drawn by the stage, as set, `SegmentationClass`, or the demo's."""
    if "masks" in inputs and (inputs["masks"] / DRAWN).is_dir():
        return inputs["masks"] / DRAWN
    if "masks.root" in places:
        return places["masks.root"]
    if "dataset.root" in places:
        return places["dataset.root"] / "SegmentationClass"
    return inputs["index"] / "masks"


def write_masks(artifact: Path, masks: Iterable[Mask], *, by_category: bool) -> int:
    """Write masks.jsonl; `masks` come sorted by id. Returns how many there were."""
    lines = ({**asdict(mask), "by_category": by_category} for mask in masks)
    return write_lines(artifact / MASKS, lines)


def write_policy(artifact: Path, masks: Iterable[Mask], made: Mapping[str, object]) -> None:
    """Write policy.json: how the masks were `made`, their number and a digest of the whole set."""
    lines = [f"{mask.id} {mask.sha256}\n" for mask in masks]
    sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
    said = {**made, "masks": len(lines), "sha256": sha256}
    with replacing(artifact / POLICY) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def check_mask(
    root: Path, classes: ClassTable, by_category: bool, pair: tuple[Photo, str]
) -> tuple[Mask | None, list[Problem]]:
    """Decode one mask in full; `pair` is the photo and the file's name below `root`.

    Every defect becomes a problem; without one that rules it out, the mask is there too.
    """
    photo, name = pair
    try:
        path = inside(root, name)
        label, notes = read_mask(path, classes, by_category=by_category)
        check_size(name, label, photo.size)
        sha256 = digest(path)
    except (ValueError, OSError) as error:
        code = error.code if isinstance(error, BadMask) else "unreadable"
        reason = str(error).replace(str(root), "the folder of masks")
        return None, [Problem(name, photo.id, code, reason, used=False)]
    present = tuple(value for value in np.unique(label[~ignored(label)]).tolist() if value)
    mask = Mask(photo.id, name, photo.split, photo.size, sha256, present)
    return mask, [Problem(name, photo.id, note, NOTES[note], used=True) for note in notes]


def check_size(name: str, label: Integer[np.ndarray, "h w"], size: tuple[int, int]) -> None:
    """Raise `BadMask` where the mask's (height, width) is not the upright photo's `size`."""
    if label.shape != size:
        raise BadMask(
            "size",
            f"{name} is {label.shape[1]} x {label.shape[0]} pixels and its photo "
            f"{size[1]} x {size[0]} (upright): resize the mask by nearest neighbour or drop it",
        )


def read_mask(
    path: Path, classes: ClassTable, *, by_category: bool = False
) -> tuple[Integer[np.ndarray, "h w"], tuple[str, ...]]:
    """Decode a mask file to labels 0, 1..C and ignored, and name what was converted on the way.

    Palette files give their indices, coloured files are looked up in the colours of `classes`
    ("coloured"), `by_category` maps the data set's own ids to labels. Ignored is the largest number
    of the file's type, 255 or 65535, and 255 in any file of up to 254 classes. Labels come in the
    type of `classes` (`label_type`). Raises `BadMask` with the way out for damaged files, unknown
    colours and ids above the class count.
    """
    try:
        with Image.open(path, formats=("PNG", "BMP", "TIFF")) as image:
            image.load()
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadMask(
            "damaged", f"{path.name} cannot be decoded ({error}): make it again"
        ) from error
    notes: tuple[str, ...] = ()
    if image.mode in ("RGB", "RGBA"):
        return _from_colours(path, image, classes), ("coloured",)
    if image.mode == "P" and _other_order(image, classes):
        notes = ("palette-order",)
    numbers = _numbers(path, image)
    if by_category:
        return _from_categories(path, numbers, classes), notes
    return _from_labels(path, numbers, classes), notes


def _numbers(path: Path, image: Image.Image) -> Integer[np.ndarray, "h w"]:
    """The numbers of a file: uint8 of 8-bit files, int64 of others."""
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
        raise BadMask(
            "mode", f"{path.name} has pixel format {image.mode}: export one number a pixel"
        )
    numbers = np.asarray(image)
    return numbers if numbers.dtype == np.uint8 else numbers.astype(np.int64)


def _blank(numbers: Integer[np.ndarray, "h w"], classes: ClassTable) -> Bool[np.ndarray, "h w"]:
    """Where a file says that a pixel is ignored."""
    found: Bool[np.ndarray, "h w"] = numbers == FILE_IGNORE
    if numbers.dtype == np.uint8 or len(classes) <= BYTE_CLASSES:
        found |= numbers == IGNORE
    return found


def _from_labels(
    path: Path, numbers: Integer[np.ndarray, "h w"], classes: ClassTable
) -> Integer[np.ndarray, "h w"]:
    try:
        if numbers.dtype == np.uint8:
            check_label(numbers, len(classes), path.name)
            return fitted(numbers, len(classes))
        blank = _blank(numbers, classes)
        check_label(np.where(blank, 0, numbers), len(classes), path.name)
    except ValueError as error:
        raise BadMask("ids", str(error)) from error
    return np.where(blank, ignore_of(len(classes)), numbers).astype(label_type(len(classes)))


def _from_categories(
    path: Path, numbers: Integer[np.ndarray, "h w"], classes: ClassTable
) -> Integer[np.ndarray, "h w"]:
    labels = {
        entry.label if entry.category is None else entry.category: entry.label
        for entry in classes.classes
    }
    most = max(labels)
    table = np.full(most + 2, -1, dtype=np.int64)  # the last one for what lies beyond
    table[0] = 0
    table[list(labels)] = list(labels.values())
    label = table[np.clip(numbers.astype(np.int64), -1, most + 1)]
    label[(label < 0) & _blank(numbers, classes)] = ignore_of(len(classes))
    unknown = numbers[label < 0]
    if unknown.size:
        raise BadMask(
            "ids", f"{path.name} holds the id {unknown.max()}, which no class of the table has"
        )
    return label.astype(label_type(len(classes)))


def _from_colours(
    path: Path, image: Image.Image, classes: ClassTable
) -> Integer[np.ndarray, "h w"]:
    rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    palette = _packed([*classes.colours, classes.ignore_colour]).tolist()
    values = (*range(len(classes) + 1), ignore_of(len(classes)))
    known = dict(zip(palette, values, strict=True))
    colours, where = np.unique(packed, return_inverse=True)
    unknown = [int(colour) for colour in colours if int(colour) not in known]
    if unknown:
        raise BadMask(
            "colours",
            f"{path.name} has the colour #{unknown[0]:06x}, which no class has "
            f"({len(unknown)} such): save it as palette PNG with one number a pixel",
        )
    found = np.array([known[int(colour)] for colour in colours], label_type(len(classes)))
    return found[where.reshape(packed.shape)]


def _other_order(image: Image.Image, classes: ClassTable) -> bool:
    """Whether a palette file shows class colours, but under other numbers than the table's."""
    own = image.getpalette("RGB") or []
    expected = _packed(classes.colours).tolist()
    values = np.flatnonzero(np.bincount(np.asarray(image).reshape(-1), minlength=256))
    used = [index for index in values.tolist() if 0 < index < IGNORE]
    colours = _packed(list(zip(own[::3], own[1::3], own[2::3], strict=True))).tolist()
    moved = [index for index in used if index < len(colours) and colours[index] in expected[1:]]
    return any(index >= len(expected) or colours[index] != expected[index] for index in moved)


def _packed(colours: Sequence[Colour]) -> Int[np.ndarray, " n"]:
    values = np.asarray(colours, dtype=np.int64).reshape(-1, 3)
    return (values[:, 0] << 16) | (values[:, 1] << 8) | values[:, 2]
