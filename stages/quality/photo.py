"""Everything that is measured on one photo."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer, UInt8

from data.cams import Cam
from data.labels import ignored
from stages.confusion import Confusion
from stages.quality.boundary import boundary_counts

CONFIDENCE_BINS = 64


@dataclass(frozen=True)
class Views:
    """What the pipeline says about one photo; `mask` only where there is one.

    All are to have one (height, width): `measure` checks it and says what differs.
    """

    label: Integer[np.ndarray, "_ _"]
    """The pseudo-label that networks train on, partly ignored."""
    full: Integer[np.ndarray, "_ _"]
    """The complete labelling, before the ignore band."""
    confidence: UInt8[np.ndarray, "_ _"]
    """0..255."""
    cam: Cam
    mask: Integer[np.ndarray, "_ _"] | None


@dataclass(frozen=True)
class Scored:
    """Counts of one photo against its mask; q: bins of the score, s: bins of the confidence."""

    full: Confusion
    """Of the complete labelling."""
    covered: Confusion
    """Over the pixels that the pseudo-label does not ignore: never shown alone."""
    filled: Confusion
    """With ignored pixels counted as background."""
    truth: Int64[np.ndarray, " t"]
    """Mask pixels of each label."""
    cam: Int64[np.ndarray, "t k q"]
    """Pixels by true label, strongest class of the CAM (in its order) and score."""
    confidence: Int64[np.ndarray, "t p s"]
    """Pixels by true label, label of `painted` and confidence."""
    boundary: Int64[np.ndarray, "2 t"]
    """(intersection, union) of the boundary bands of each label."""


@dataclass(frozen=True)
class PhotoQuality:
    """Counts of one photo; the figures of a split are read off their sums."""

    id: str
    pixels: int
    classes: tuple[int, ...]
    """0-based classes of the CAM."""
    agree_object: Int64[np.ndarray, " q"]
    """Pixels that the labelling paints with the CAM's strongest class, by normalised score."""
    agree_background: Int64[np.ndarray, " q"]
    """Pixels that the labelling leaves to the background, by normalised score."""
    label_pixels: Int64[np.ndarray, " c1"]
    """Pixels of each label; ignored ones are the rest of `pixels`."""
    full_pixels: Int64[np.ndarray, " c1"]
    painted: tuple[int, ...]
    """Labels of the complete labelling, background included where it shows."""
    confidence: float
    """Mean over all pixels, 0..1."""
    leak: Float64[np.ndarray, "k k"]
    """leak[a, b]: share of the CAM of class a that lies on pixels painted b."""
    scored: Scored | None


def measure(name: str, views: Views, *, classes: int, bins: int, boundary: float) -> PhotoQuality:
    """Measure one photo in one pass over its pixels.

    Args:
        name: its id, for messages.
        views: what the pipeline says about it.
        classes: number of classes C, background not counted.
        bins: bins of the normalised CAM scores over 0..1.
        boundary: width of the boundary band, share of the diagonal.

    Raises:
        ValueError: one of the views has another size, or a mask holds a label beyond C.
    """
    _check_sizes(name, views)
    tags = tuple(int(index) for index in views.cam.classes)
    maps = views.cam.upsampled(views.cam.normalised())
    strongest = _Strongest.of(maps, views.label.shape, bins)
    named = np.array([*tags, -1], np.int64)[strongest.place] + 1  # 0 where there is no CAM
    full_pixels = _counts(views.full, classes)
    painted = tuple(int(label) for label in np.flatnonzero(full_pixels))
    agree = (named == views.full) & (named > 0)
    return PhotoQuality(
        id=name,
        pixels=views.label.size,
        classes=tags,
        agree_object=strongest.histogram(agree),
        agree_background=strongest.histogram((views.full == 0) & (named > 0)),
        label_pixels=_counts(views.label, classes),
        full_pixels=full_pixels,
        painted=painted,
        confidence=float(views.confidence.mean()) / 255,
        leak=_leak(maps, tags, views.full),
        scored=_scored(views, strongest, painted, classes=classes, boundary=boundary),
    )


@dataclass(frozen=True)
class _Strongest:
    """The class that wins each pixel of a CAM, and by what score."""

    place: Int64[np.ndarray, "h w"]
    """Its place among the CAM's own classes; 0 where it has none."""
    score: Int64[np.ndarray, "h w"]
    """Bin of its normalised score, 0..bins-1."""
    classes: int
    bins: int

    @classmethod
    def of(
        cls, maps: Float32[np.ndarray, "k h w"], size: tuple[int, ...], bins: int
    ) -> "_Strongest":
        if not len(maps):
            return cls(np.zeros(size, np.int64), np.zeros(size, np.int64), 0, bins)
        score = np.minimum((maps.max(axis=0) * bins).astype(np.int64), bins - 1)
        return cls(maps.argmax(axis=0), score, len(maps), bins)

    def histogram(self, where: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, " q"]:
        return np.bincount(self.score[where], minlength=self.bins)


def _scored(
    views: Views, strongest: _Strongest, painted: tuple[int, ...], *, classes: int, boundary: float
) -> Scored | None:
    mask = views.mask
    if mask is None:
        return None
    labels = classes + 1
    full, covered, filled = (Confusion(labels) for _ in range(3))
    kept = ~ignored(views.label)
    full.add(mask, views.full)
    covered.add(mask[kept], views.label[kept])
    filled.add(mask, views.label * kept)
    judged = ~ignored(mask)
    truth = mask[judged].astype(np.int64)
    place, score = strongest.place[judged], strongest.score[judged]
    sizes = (labels, strongest.classes, strongest.bins)
    steps = (labels, len(painted), CONFIDENCE_BINS)
    rank = np.searchsorted(np.array(painted), views.full[judged])
    certainty = views.confidence[judged].astype(np.int64) * CONFIDENCE_BINS // 256
    return Scored(
        full=full,
        covered=covered,
        filled=filled,
        truth=np.bincount(truth, minlength=labels),
        cam=_joint(truth, place, score, sizes=sizes),
        confidence=_joint(truth, rank, certainty, sizes=steps),
        boundary=boundary_counts(mask, views.full, classes=labels, share=boundary),
    )


def _joint(
    first: Int64[np.ndarray, " n"],
    second: Int64[np.ndarray, " n"],
    third: Int64[np.ndarray, " n"],
    *,
    sizes: tuple[int, int, int],
) -> Int64[np.ndarray, "a b c"]:
    """Histogram over three integers a pixel, of the ranges `sizes`."""
    if not sizes[1]:
        return np.zeros(sizes, np.int64)
    key = (first * sizes[1] + second) * sizes[2] + third
    return np.bincount(key, minlength=int(np.prod(sizes))).reshape(sizes)


def _leak(
    maps: Float32[np.ndarray, "k h w"], tags: tuple[int, ...], full: Integer[np.ndarray, "h w"]
) -> Float64[np.ndarray, "k k"]:
    mass = maps.sum(axis=(1, 2), dtype=np.float64)
    shares = np.zeros((len(tags), len(tags)))
    if len(tags) < 2:
        return shares
    for column, other in enumerate(tags):
        shares[:, column] = maps[:, full == other + 1].sum(axis=1, dtype=np.float64)
    return shares / np.maximum(mass, 1e-12)[:, None]


def _counts(label: Integer[np.ndarray, "h w"], classes: int) -> Int64[np.ndarray, " c1"]:
    return np.bincount(label[~ignored(label)], minlength=classes + 1)


def _check_sizes(name: str, views: Views) -> None:
    sizes = {
        "pseudo-label": views.label.shape,
        "full label": views.full.shape,
        "confidence": views.confidence.shape,
        "CAM": views.cam.size,
    }
    if views.mask is not None:
        sizes["mask"] = views.mask.shape
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{what} {size[0]}x{size[1]}" for what, size in sizes.items())
        raise ValueError(
            f"{name}: sizes (height x width) differ: {said}. Make the stage that differs again "
            "with --force"
        )
