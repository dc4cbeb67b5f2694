"""Data sets with one fault each, and what a check is to say about it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from data.findings import Level
from knowledge.classes import VOC
from tests.coco_files import thing, write_coco
from tests.datasets import (
    huge_png,
    pixels,
    write_list,
    write_mask,
    write_photo,
    write_voc,
    write_xml,
)

TRAIN = {f"t{n}": ("cat", "dog") if n % 2 else ("dog",) for n in range(6)}
VAL = {f"v{n}": ("cat", "dog") for n in range(2)}
LABEL = np.full((24, 32), 12, np.uint8)
LABEL[4:10] = 8
NAMES = tuple(VOC.names)


class Fault(NamedTuple):
    """A fault, and the finding that names it."""

    name: str
    make: Callable[[Path], list[str]]
    """Breaks the healthy data set in the folder; returns further flags."""
    code: str
    level: Level
    said: str
    """Part of the finding's text."""
    recipe: str = "voc-cpu"


def healthy(root: Path) -> Path:
    """A devkit of six training and two val photos, with masks."""
    write_voc(root, TRAIN, VAL)
    for name in (*TRAIN, *VAL):
        label = LABEL if "cat" in {**TRAIN, **VAL}[name] else np.full((24, 32), 12, np.uint8)
        write_mask(root / "SegmentationClass" / f"{name}.png", label, VOC)
    return root


def photo(root: Path, name: str = "t1") -> Path:
    return root / "JPEGImages" / f"{name}.jpg"


def mask(root: Path, name: str = "v1") -> Path:
    return root / "SegmentationClass" / f"{name}.png"


def truncated(root: Path) -> list[str]:
    photo(root).write_bytes(photo(root).read_bytes()[:300])
    return []


def no_bytes(root: Path) -> list[str]:
    photo(root).write_bytes(b"")
    return []


def text_photo(root: Path) -> list[str]:
    photo(root).write_text("<html>404</html>")
    return []


def gone(root: Path) -> list[str]:
    photo(root).unlink()
    return []


def bomb(root: Path) -> list[str]:
    photo(root).unlink()
    photo(root).with_suffix(".png").write_bytes(huge_png(20_000))
    return []


def turned(root: Path) -> list[str]:
    image = Image.fromarray(pixels(1))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(photo(root), exif=exif)
    return []


def deep(root: Path) -> list[str]:
    photo(root).unlink()
    values = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    Image.fromarray(values).save(photo(root).with_suffix(".png"))
    return []


def print_colours(root: Path) -> list[str]:
    Image.fromarray(pixels(1)).convert("CMYK").save(photo(root))
    return []


def copied(root: Path) -> list[str]:
    photo(root).write_bytes(photo(root, "v0").read_bytes())
    return []


def no_mask(root: Path) -> list[str]:
    mask(root).unlink()
    return []


def small_mask(root: Path) -> list[str]:
    write_mask(mask(root), LABEL[:12], VOC)
    return []


def odd_colours(root: Path) -> list[str]:
    Image.fromarray(pixels(3)).save(mask(root))
    return []


def class_colours(root: Path) -> list[str]:
    with Image.open(mask(root)) as image:
        image.convert("RGB").save(mask(root))
    return []


def grey_values(root: Path) -> list[str]:
    Image.fromarray((LABEL * 9).astype(np.uint8)).save(mask(root))
    return []


def damaged_mask(root: Path) -> list[str]:
    mask(root).write_bytes(mask(root).read_bytes()[:60])
    return []


def other_numbers(root: Path) -> list[str]:
    for name in (*TRAIN, *VAL):
        write_mask(mask(root, name), np.full((24, 32), 3, np.uint8), VOC)
    return []


def overlap(root: Path) -> list[str]:
    write_list(root, "val", [*VAL, "t1"])
    return []


def unknown_tag(root: Path) -> list[str]:
    write_xml(root / "Annotations" / "t1.xml", ["cat", "unicorn"])
    return []


def no_xml(root: Path) -> list[str]:
    (root / "Annotations" / "t1.xml").unlink()
    return []


def broken_xml(root: Path) -> list[str]:
    (root / "Annotations" / "t1.xml").write_text("<annotation><object>")
    return []


def listed_twice(root: Path) -> list[str]:
    write_list(root, "train", [*TRAIN, "t1"])
    return []


def empty_list(root: Path) -> list[str]:
    write_list(root, "train", [])
    return []


def no_list(root: Path) -> list[str]:
    return ["--dataset.train-list", "train_aug"]


def outside(root: Path) -> list[str]:
    write_list(root, "train", [*TRAIN, "../../secret"])
    return []


def linked_out(root: Path) -> list[str]:
    secret = write_photo(root.parent / "secret.jpg", 7)
    photo(root).unlink()
    os.symlink(secret, photo(root))
    return []


def wrong_count(root: Path) -> list[str]:
    write_list(root, "train_aug", [f"2008_{n:06d}" for n in range(7)])
    return []


def vectors(root: Path, names: tuple[str, ...]) -> list[str]:
    import json

    path = root.parent / "words.safetensors"
    rows = np.eye(len(names), 8, dtype=np.float32)
    save_file({"embeddings": rows}, path, metadata={"names": json.dumps(names)})
    return ["--graph.vectors", str(path)]


def other_order(root: Path) -> list[str]:
    return vectors(root, NAMES[::-1])


def lacking(root: Path) -> list[str]:
    return vectors(root, NAMES[:-1])


def no_vectors(root: Path) -> list[str]:
    return ["--graph.vectors", str(root / "glove.safetensors")]


def no_weights(root: Path) -> list[str]:
    return ["--classify.weights", "file", "--classify.weights-file", str(root / "net.safetensors")]


def broken_weights(root: Path) -> list[str]:
    (root / "net.safetensors").write_bytes(b"PK\x03\x04 a pickle in a zip")
    return no_weights(root)


def no_root(root: Path) -> list[str]:
    return ["--dataset.root", str(root / "nowhere")]


def own(root: Path, tags: bytes) -> list[str]:
    """The healthy data set as a folder of one's own with this tag file."""
    (root / "tags.csv").write_bytes(tags)
    return ["--dataset.tags", "tags.csv"]


def unreadable_table(root: Path) -> list[str]:
    return own(root, b"t0,\xff\xfe\x00dog\nt1,\xe9")


def no_classes(root: Path) -> list[str]:
    return ["--dataset.tags", "folders"]


def tags_alone(root: Path) -> list[str]:
    rows = [*(f"{name},dog" for name in (*TRAIN, *VAL)), "ghost,dog"]
    return own(root, "\n".join(rows).encode())


def leak(root: Path) -> list[str]:
    photos = {f"{n:012d}": [thing(1 + n)] for n in range(4)}
    write_coco(root, "train2017", photos)
    write_coco(root, "val2014", {f"COCO_val2014_{n:012d}": [thing(1 + n)] for n in range(2, 4)})
    return ["--dataset.train-list", "train2017", "--dataset.val-list", "val2014"]


FAULTS = [
    Fault("truncated photo", truncated, "damaged", "warning", "t1.jpg"),
    Fault("photo without a byte", no_bytes, "empty", "warning", "has no bytes"),
    Fault("text called .jpg", text_photo, "not-a-photo", "warning", "is no photo"),
    Fault("list with an id without photo", gone, "missing", "warning", "'t1'"),
    Fault("far too large", bomb, "too-large", "warning", "scale it down"),
    Fault("turned by EXIF", turned, "exif-rotated", "note", "upright"),
    Fault("16 bits", deep, "16-bit", "note", "scaled to 8"),
    Fault("CMYK", print_colours, "cmyk", "note", "converted to RGB"),
    Fault("one photo in both splits", copied, "same-photo", "warning", "val photo"),
    Fault("missing mask", no_mask, "mask-missing", "warning", "'v1' has no mask"),
    Fault("mask of another size", small_mask, "size", "warning", "32 x 12"),
    Fault("RGB mask in odd colours", odd_colours, "colours", "warning", "palette PNG"),
    Fault("RGB mask in class colours", class_colours, "coloured", "note", "palette of the class"),
    Fault("grey mask with wrong values", grey_values, "ids", "warning", "there are 20 classes"),
    Fault("damaged mask", damaged_mask, "damaged", "warning", "v1.png"),
    Fault("masks numbered otherwise", other_numbers, "class-order", "warning", "order"),
    Fault("overlap of the splits", overlap, "index", "error", "in the val list (t1)"),
    Fault("unknown tag", unknown_tag, "unknown-tag", "warning", "'unicorn'"),
    Fault("missing annotation", no_xml, "xml-missing", "warning", "t1.xml"),
    Fault("broken annotation", broken_xml, "xml-broken", "warning", "is no XML"),
    Fault("duplicate ids", listed_twice, "listed-twice", "note", "more than once"),
    Fault("empty list", empty_list, "index", "error", "names no photo"),
    Fault("no such list", no_list, "index", "error", "no list 'train_aug'"),
    Fault("entry outside the root", outside, "outside", "warning", "../../secret"),
    Fault("link out of the root", linked_out, "outside", "warning", "leads out"),
    Fault("wrong count", wrong_count, "train_aug-photos", "warning", "10,582 expected"),
    Fault("graph file in another order", other_order, "class-order", "note", "another order"),
    Fault("graph file without a class", lacking, "class-missing", "error", "'tvmonitor'"),
    Fault("no graph file", no_vectors, "graph-file", "error", "glove.safetensors"),
    Fault("no weights file", no_weights, "weights", "error", "no such weight file"),
    Fault("broken weights", broken_weights, "weights", "error", "no readable safetensors"),
    Fault("no data set", no_root, "index", "error", "set --dataset.root"),
    Fault("unreadable CSV", unreadable_table, "index", "error", "tags.csv", "folder"),
    Fault("no classes", no_classes, "index", "error", "no tags found", "folder"),
    Fault("tags of no photo", tags_alone, "tags-without-photo", "warning", "'ghost'", "folder"),
    Fault("train2017 with val2014", leak, "index", "error", "take both splits from", "coco-cpu"),
]
