"""Small data sets on disk, made by the tests that need them."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from knowledge.classes import ClassTable


def pixels(seed: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """RGB noise of (height, width) `size` with a smooth part, so that JPEG keeps its look."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR))


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (24, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size)).save(path)
    return path


def huge_png(side: int) -> bytes:
    """A few bytes whose header promises a square photo of `side` pixels."""
    content = BytesIO()
    Image.new("1", (1, 1)).save(content, format="PNG")
    head, rest = content.getvalue()[:12], content.getvalue()[33:]
    header = b"IHDR" + struct.pack(">II", side, side) + content.getvalue()[24:29]
    return head + header + struct.pack(">I", zlib.crc32(header)) + rest


def write_xml(path: Path, names: Sequence[str], *, extra: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{name}</name><difficult>{place % 2}</difficult>"
        f"<bndbox><xmin>1</xmin></bndbox><part><name>head</name></part></object>"
        for place, name in enumerate(names)
    )
    path.write_text(f"<annotation><filename>dog</filename>{objects}{extra}</annotation>")
    return path


def write_voc(
    root: Path, train: Mapping[str, Sequence[str]], val: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """A devkit folder: JPEGImages, Annotations and the lists train and val."""
    for seed, (identity, names) in enumerate({**train, **(val or {})}.items()):
        write_photo(root / "JPEGImages" / f"{identity}.jpg", seed)
        write_xml(root / "Annotations" / f"{identity}.xml", names)
    write_list(root, "train", list(train))
    if val:
        write_list(root, "val", list(val))
    return root


def write_list(root: Path, name: str, ids: Sequence[str]) -> Path:
    path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{identity}\n" for identity in ids))
    return path


def write_mask(path: Path, label: np.ndarray, classes: ClassTable) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label)
    image.putpalette(classes.palette())
    image.save(path)
    return path
