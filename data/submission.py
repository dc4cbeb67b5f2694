"""Results for the VOC evaluation server: the folder tree that it asks for, packed and checked.

`results/VOC2012/Segmentation/comp6_test_cls/<id>.png`, one palette PNG of 0..20 in the photo's own
size for every photo of the test list (VOC development kit, section 5 "Submission of results").
"""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.files import replacing
from data.labels import check_label
from data.photos import examine_photo
from knowledge.classes import VOC

Competition = Literal["comp5", "comp6"]
"""comp5: trained on VOC alone; comp6: on anything else too, ImageNet weights among it."""
SUFFIXES = (".tgz", ".tar.gz", ".zip")
MOST_FAULTS = 20
"""Faults that are spelt out; the rest is counted."""
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(RuntimeError, NotImplementedError),  # zips with a password or an odd compression
)
MOST_BYTES = 64 << 20  # of one file in an archive, unpacked


def tree(competition: Competition) -> str:
    """The folder of the PNGs within the archive."""
    return f"results/VOC2012/Segmentation/{competition}_test_cls"


def sizes(photos: Path, ids: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(height, width) of each photo. Raises `FileNotFoundError` naming the one that is missing."""
    for identity in ids:
        path = photos / f"{identity}.jpg"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: give the folder of the test photos")
        yield identity, examine_photo(path, path.name).size


def pack(
    predictions: Path,
    archive: Path,
    *,
    sizes: Mapping[str, tuple[int, int]],
    competition: Competition = "comp6",
) -> None:
    """Pack `<id>.png` of the folder `predictions` for every id of `sizes`, atomically.

    Grey files get VOC's palette. The same predictions give the same bytes. Raises `ValueError` or
    `FileNotFoundError` naming the first prediction that is missing, of another size or no label.
    """
    if not archive.name.endswith(SUFFIXES):
        raise ValueError(f"{archive}: the server takes {', '.join(SUFFIXES)}")
    with replacing(archive) as temporary:
        write = _write_zip if archive.suffix == ".zip" else _write_tar
        files = (
            (f"{tree(competition)}/{identity}.png", _png(predictions, identity, size))
            for identity, size in sorted(sizes.items())
        )
        write(temporary, files)


def faults(
    results: Path, *, sizes: Mapping[str, tuple[int, int]], competition: Competition = "comp6"
) -> list[str]:
    """What the server would refuse in a packed archive or a folder tree; empty where it is right.

    `sizes`: (height, width) by id of every photo of the test list.
    """
    wanted = {f"{tree(competition)}/{identity}.png": size for identity, size in sizes.items()}
    found: list[str] = []
    seen: set[str] = set()
    for name, content in _members(results):
        if name in seen:
            found.append(f"{name} is there more than once")
        elif name not in wanted:
            found.append(f"{name} does not belong there: only {tree(competition)}/<id>.png does")
        else:
            seen.add(name)
            found += [f"{name} {fault}" for fault in _faults_of(content, wanted[name])]
    found += [f"{name} is missing" for name in sorted(wanted.keys() - seen)]
    more = len(found) - MOST_FAULTS
    return [*found[:MOST_FAULTS], f"and {more} more"] if more > 0 else found


def _png(predictions: Path, identity: str, size: tuple[int, int]) -> bytes:
    path = predictions / f"{identity}.png"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: predict every photo of the list")
    label = _indices(path.read_bytes(), str(path))
    if label.shape != size:
        raise ValueError(
            f"{path} is {label.shape[1]} x {label.shape[0]} pixels, its photo {size[1]} x "
            f"{size[0]}: predict at the photo's own size"
        )
    if label.max(initial=0) > len(VOC):
        raise ValueError(
            f"{path} holds {label.max()}: the server takes 0..{len(VOC)}, every pixel one of them"
        )
    image = Image.fromarray(label)
    image.putpalette(VOC.palette())
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _indices(content: bytes, name: str) -> UInt8[np.ndarray, "h w"]:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is no PNG ({error})") from error
    if image.mode not in ("P", "L"):
        raise ValueError(f"{name} has pixel format {image.mode}: one number a pixel is expected")
    return np.asarray(image)


def _faults_of(content: bytes, size: tuple[int, int]) -> Iterator[str]:
    try:
        label = _indices(content, "it")
    except ValueError as error:
        yield f"cannot be used: {error}"
        return
    if label.shape != size:
        yield f"is {label.shape[::-1]} (width, height), its photo {size[::-1]}"
    if label.max(initial=0) > len(VOC):
        yield f"holds {label.max()}, not only 0..{len(VOC)}"
        return
    check_label(label, len(VOC), "it")
    with Image.open(io.BytesIO(content)) as image:
        palette = image.getpalette("RGB") if image.mode == "P" else None
    used = 3 * (int(label.max(initial=0)) + 1)
    if palette is None or palette[:used] != VOC.palette()[:used]:
        yield "has not VOC's palette"


def _members(results: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in an archive or below a folder (that of `results`)."""
    if results.is_dir():
        for path in sorted(results.rglob("*")):
            if path.is_file():
                yield path.relative_to(results).as_posix(), path.read_bytes()
        return
    try:
        if results.suffix == ".zip":
            with zipfile.ZipFile(results) as packed:
                for entry in packed.infolist():
                    if not entry.is_dir():
                        yield entry.filename, _limited(entry.file_size, packed, entry)
            return
        with tarfile.open(results, "r:gz") as packed_tar:
            for member in packed_tar:
                if not member.isdir():
                    stream = packed_tar.extractfile(member) if member.isfile() else None
                    yield member.name, b"" if stream is None else stream.read(MOST_BYTES)
    except BROKEN as error:
        raise ValueError(f"{results} cannot be unpacked ({error}): pack it again") from error


def _limited(size: int, packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if size > MOST_BYTES:
        return b""
    return packed.read(entry)


def _write_zip(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files:
            packed.writestr(zipfile.ZipInfo(name), content)


def _write_tar(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    import gzip

    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as packed,
    ):
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
