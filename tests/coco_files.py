"""Small data sets in COCO's layout, made by the tests that need them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from knowledge.classes import COCO
from tests.datasets import write_photo

CATEGORIES = {entry.category or entry.label: entry.name for entry in COCO.classes}
SQUARE = [4.0, 4.0, 20.0, 4.0, 20.0, 12.0, 4.0, 12.0]
"""An outline within photos of 24 x 32 pixels (height, width)."""


def thing(category: int, outline: Any = None, *, crowd: bool = False) -> dict[str, Any]:
    """One annotation without its numbers: a square unless told otherwise."""
    outline = [SQUARE] if outline is None else outline
    return {"category_id": category, "segmentation": outline, "iscrowd": int(crowd), "area": 128.0}


def write_coco(
    root: Path,
    split: str,
    photos: Mapping[str, Sequence[dict[str, Any]]],
    *,
    categories: Mapping[int, str] = CATEGORIES,
    size: tuple[int, int] = (24, 32),
) -> Path:
    """Write `split/<name>.jpg` and `annotations/instances_<split>.json`, whose path it returns."""
    document: dict[str, Any] = {"info": {"year": 2014}, "images": [], "annotations": []}
    for place, (name, things) in enumerate(photos.items(), start=1):
        write_photo(root / split / f"{name}.jpg", sum(name.encode()), size)
        height, width = size
        document["images"].append(
            {"id": place, "file_name": f"{name}.jpg", "height": height, "width": width}
        )
        for one in things:
            numbered = {**one, "id": len(document["annotations"]) + 1, "image_id": place}
            document["annotations"].append(numbered)
    document["categories"] = [{"id": key, "name": name} for key, name in categories.items()]
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path
