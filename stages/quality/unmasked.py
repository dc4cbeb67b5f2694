"""Figures of pseudo-labels that need no mask."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Int64

from data.records import Photo
from stages.quality.photo import PhotoQuality

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST_TOGETHER = 3
"""Photos in which two tags must meet before their leakage says anything."""


class Leakage:
    """How much of one class's CAM lies on what the labelling calls another, where both are tags."""

    def __init__(self, names: Sequence[str]) -> None:
        """No photo yet; `names` in table order."""
        self.names = tuple(names)
        self.shares: Float64[np.ndarray, "c c"] = np.zeros((len(names), len(names)))
        self.together: Int64[np.ndarray, "c c"] = np.zeros((len(names), len(names)), np.int64)

    def add(self, quality: PhotoQuality) -> None:
        """Add the class pairs of one photo."""
        where = np.ix_(quality.classes, quality.classes)
        self.shares[where] += quality.leak
        self.together[where] += 1

    def strongest(self, most: int) -> list[dict[str, Any]]:
        """Up to `most` ordered pairs with the largest mean share, at least 3 photos each."""
        counted = (self.together >= FEWEST_TOGETHER) & ~np.eye(len(self.names), dtype=bool)
        mean = np.where(counted, self.shares / np.maximum(self.together, 1), -1.0)
        order = np.argsort(-mean, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(self.names)) for place in order]
        return [
            {
                "cam_of": self.names[a],
                "painted": self.names[b],
                "share": float(mean[a, b]),
                "photos": int(self.together[a, b]),
            }
            for a, b in pairs
            if mean[a, b] > 0
        ]


class Areas:
    """How much of its photos each class covers, and how often a tag is painted at all."""

    def __init__(self, names: Sequence[str]) -> None:
        """No photo yet; `names` in table order."""
        self.names = tuple(names)
        self.tagged = dict.fromkeys(names, 0)
        self.never = dict.fromkeys(names, 0)
        self.shares: dict[str, list[float]] = defaultdict(list)

    def add(self, tags: Iterable[str], areas: Mapping[str, float]) -> None:
        """Add one photo: its tags, and the share of it that each painted class covers."""
        for name in tags:
            self.tagged[name] += 1
            self.never[name] += name not in areas
        for name, share in areas.items():
            self.shares[name].append(share)

    def classes(self) -> dict[str, dict[str, Any]]:
        """Counts and quantiles (5, 25, 50, 75 and 95 %) of the painted share, class by class."""
        return {
            name: {
                "tagged": self.tagged[name],
                "painted": len(self.shares[name]),
                "never_painted": self.never[name],
                "area_quantiles": [float(q) for q in np.quantile(self.shares[name], QUANTILES)]
                if self.shares[name]
                else None,
            }
            for name in self.names
        }


def duplicates(photos: Iterable[Photo]) -> list[dict[str, Any]]:
    """Groups of photos with the same bytes, and whether their splits or tags contradict."""
    groups: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        groups[photo.sha256].append(photo)
    return [
        {
            "ids": [photo.id for photo in group],
            "across_splits": len({photo.split for photo in group}) > 1,
            "other_tags": len({photo.tags for photo in group}) > 1,
        }
        for group in groups.values()
        if len(group) > 1
    ]


def row(photo: Photo, quality: PhotoQuality, names: Sequence[str]) -> dict[str, Any]:
    """What one photo shows without its mask: ignored share, confidence, painted areas, tags."""
    label, full = quality.label_pixels, quality.full_pixels
    areas = {name: int(full[c]) / quality.pixels for c, name in enumerate(names, 1) if full[c]}
    return {
        "id": photo.id,
        "tags": list(photo.tags),
        "pixels": quality.pixels,
        "ignored": (quality.pixels - int(label.sum())) / quality.pixels,
        "confidence": quality.confidence,
        "areas": areas,
        "never_painted": [
            name for c, name in enumerate(names, 1) if name in photo.tags and not label[c]
        ],
        "never_painted_before_ignore": [name for name in photo.tags if name not in areas],
        "without_tag": [name for name in areas if name not in photo.tags],
    }


def agreement(quality: PhotoQuality) -> Int32[np.ndarray, " e"]:
    """Pixels that raw CAM and labelling name alike, for the CAM cut at each of bins + 1 edges."""
    painted = np.append(quality.agree_object[::-1].cumsum()[::-1], 0)
    background = np.append(0, quality.agree_background.cumsum())
    return (painted + background).astype(np.int32)
