"""Two folders of label PNGs, predictions and masks: which files belong together, and their counts.

pairs = find_pairs(Path("predictions"), Path("SegmentationClass"))
counts = count_pair(pairs[0], classes=VOC, ignore_band=False)
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer

from data.files import digest, inside
from data.labels import ignore_in, ignored
from data.masks import read_mask
from knowledge.classes import ClassTable
from stages.confusion import Confusion
from stages.quality.boundary import band, band_width

BOUNDARY = 0.02
"""Width of the boundary bands, share of the diagonal (Cheng et al. 2021)."""


SAID = {1: 255, 2: 65535}
"""What files call ignored, by the bytes of a label."""


class Pair(NamedTuple):
    """The two files of one photo."""

    id: str
    prediction: Path
    mask: Path


@dataclass
class Counts:
    """Everything that is counted of one photo, or of many: all scores are functions of the sums."""

    filled: Confusion
    """Every scored pixel; where the prediction ignores it counts as background."""
    covered: Confusion
    """The pixels that the prediction does not ignore: never shown alone."""
    boundary: Int64[np.ndarray, "2 c"]
    """(intersection, union) of the boundary bands of each label."""
    pixels: int = 0
    """All pixels of the predictions, also where the mask ignores."""
    ignored: int = 0
    """Those of them that the prediction ignores."""
    with_ignored: int = 0
    """Photos whose prediction ignores something."""
    masks: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each mask file, by id."""

    @classmethod
    def empty(cls, labels: int) -> "Counts":
        """No photo yet, `labels` with the background."""
        return cls(Confusion(labels), Confusion(labels), np.zeros((2, labels), np.int64))

    def merge(self, other: "Counts") -> None:
        """Add other photos of the same split."""
        self.filled.merge(other.filled)
        self.covered.merge(other.covered)
        self.boundary += other.boundary
        self.pixels += other.pixels
        self.ignored += other.ignored
        self.with_ignored += other.with_ignored
        self.masks |= other.masks

    def masks_sha256(self) -> str:
        """A digest of the ids and bytes of all masks (64 bits): the same masks, the same text."""
        lines = "".join(f"{name} {self.masks[name]}\n" for name in sorted(self.masks))
        return hashlib.sha256(lines.encode()).hexdigest()[:16]


def find_pairs(
    predictions: Path, masks: Path, ids: Sequence[str] | None = None
) -> tuple[list[Pair], int]:
    """The files of every id, sorted by id, and how many predictions have no mask.

    ids: those to score; without them every PNG below `masks`, its path without suffix being the id.

    Raises FileNotFoundError naming the first file that is missing, on either side: a score over
    the photos that happen to be there is no score of the split.
    """
    for folder in (predictions, masks):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder: name the folder that holds the PNGs")
    known = _pngs(masks) if ids is None else sorted(set(ids))
    if not known:
        raise FileNotFoundError(f"{masks} holds no PNG: name the folder of the masks")
    pairs = [Pair(one, _file(predictions, one), _file(masks, one)) for one in known]
    for side, kind in ((2, "mask"), (1, "prediction")):
        missing = [pair[side] for pair in pairs if not Path(pair[side]).is_file()]
        if missing:
            way = "score a part of the split with --list IDS.txt" if ids is None else "check --list"
            raise FileNotFoundError(
                f"{missing[0]} is missing ({len(missing)} of {len(pairs)} photos have no {kind}): "
                f"make it, or {way}"
            )
    extra = 0 if ids is not None else len(set(_pngs(predictions)) - set(known))
    return pairs, extra


def _pngs(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*.png"))
    names = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(path.with_suffix("").as_posix() for path in names)


def _file(folder: Path, identity: str) -> Path:
    return inside(folder, f"{identity}.png")


def count_pairs(pairs: Iterable[Pair], *, classes: ClassTable, ignore_band: bool) -> Counts:
    """The sums over several photos; raises as `count_pair`."""
    total = Counts.empty(len(classes) + 1)
    for pair in pairs:
        total.merge(count_pair(pair, classes=classes, ignore_band=ignore_band))
    return total


def count_pair(pair: Pair, *, classes: ClassTable, ignore_band: bool) -> Counts:
    """Count one photo: palette, grey or coloured PNGs; ignored mask pixels are not scored.

    ignore_band: 255 (in 16-bit files 65535) in the prediction means "ignored", as in pseudo-labels.
        Otherwise it raises: a prediction names a class at every pixel.

    Raises ValueError naming the file that cannot be read, has another size than its partner or
    holds a value that is no class.
    """
    labels = len(classes) + 1
    mask = _read(pair.mask, classes)
    prediction = _read(pair.prediction, classes)
    if prediction.shape != mask.shape:
        raise ValueError(
            f"{pair.prediction} is {_said(prediction)}, its mask {pair.mask} is {_said(mask)}: "
            "scores are taken at the size of the mask; resize by nearest neighbour"
        )
    blank = ignored(prediction)
    found = Counts.empty(labels)
    found.pixels, found.ignored = prediction.size, int(blank.sum())
    if found.ignored and not ignore_band:
        raise ValueError(
            f"{pair.prediction} holds {SAID[prediction.dtype.itemsize]} at {found.ignored} pixels, "
            "but a prediction must name a class at every pixel; where that is the ignore band of "
            "pseudo-labels, add --ignore-band"
        )
    found.with_ignored = int(found.ignored > 0)
    filled = prediction * ~blank
    found.filled.add(mask, filled)
    # Ignored pixels leave this one count alone: in `filled` the mask keeps them.
    seen = mask.copy()
    seen[blank] = ignore_in(mask)
    found.covered.add(seen, filled)
    found.boundary += boundary_counts(mask, filled, labels=labels)
    found.masks[pair.id] = digest(pair.mask)
    return found


def boundary_counts(
    mask: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], *, labels: int
) -> Int64[np.ndarray, "2 c"]:
    """Pixels of (intersection, union) of both boundary bands, for each of `labels` labels.

    As the authors' code has it (Cheng et al., Boundary IoU, CVPR 2021, equation 2;
    bowenc0221/boundary-iou-api): a class is eroded by a square as wide as the band, the edge of
    the photo counts as a border. Ignored mask pixels are cut out of both labellings: they count
    on neither side and are a border of both, so that a perfect prediction scores 1.
    """
    size = (mask.shape[0], mask.shape[1])
    width = band_width(size, BOUNDARY)
    edge = _edge(size, width)
    judged = ~ignored(mask)
    cut = label.copy()
    cut[~judged] = ignore_in(label)
    true = (band(mask, width) | edge) & judged
    found = (band(cut, width) | edge) & judged
    inner = _counts(mask[true & found & (mask == label)], labels)
    union = _counts(mask[true], labels) + _counts(label[found], labels) - inner
    return np.stack([inner, union])


def _edge(size: tuple[int, int], width: int) -> Bool[np.ndarray, "h w"]:
    edge = np.ones(size, bool)
    edge[width:-width, width:-width] = False
    return edge


def _counts(values: Integer[np.ndarray, " n"], labels: int) -> Int64[np.ndarray, " c"]:
    return np.bincount(values, minlength=labels)[:labels].astype(np.int64)


def _read(path: Path, classes: ClassTable) -> Integer[np.ndarray, "h w"]:
    try:
        label, _ = read_mask(path, classes)
    except ValueError as problem:
        said = str(problem)
        raise ValueError(said.replace(path.name, str(path), 1)) from problem
    return label


def _said(label: Integer[np.ndarray, "h w"]) -> str:
    return f"{label.shape[1]} x {label.shape[0]} pixels"
