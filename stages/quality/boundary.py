"""Boundary IoU: intersection over union of the bands along the borders of two labellings."""

import math

import numpy as np
from jaxtyping import Bool, Int64, Integer
from scipy import ndimage

from data.labels import ignored


def band_width(size: tuple[int, int], share: float) -> int:
    """Width of the band in pixels: `share` of the diagonal of a photo of `size`, at least 1."""
    return max(1, round(share * math.hypot(*size)))


def band(label: Integer[np.ndarray, "h w"], width: int) -> Bool[np.ndarray, "h w"]:
    """Pixels within `width` (chessboard distance) of a pixel of another label.

    One pass for all classes: a pixel lies in the band of its own class exactly where the window
    around it holds a larger or a smaller label. The edge of the photo is no border.
    """
    window = 2 * width + 1
    highest = ndimage.maximum_filter(label, size=window, mode="nearest")
    lowest = ndimage.minimum_filter(label, size=window, mode="nearest")
    found: Bool[np.ndarray, "h w"] = highest != lowest
    return found


def boundary_counts(
    mask: Integer[np.ndarray, "h w"],
    label: Integer[np.ndarray, "h w"],
    *,
    classes: int,
    share: float,
) -> Int64[np.ndarray, "2 c"]:
    """Pixels of (intersection, union) of both bands for each of `classes` labels.

    Ignored mask pixels count on neither side; they do count as a border of what they surround.
    Source: Cheng et al., Boundary IoU (CVPR 2021), equation 2, with a square window in place of a
    disc and `share` of the diagonal (0.02 in the paper) as distance.
    """
    width = band_width((label.shape[0], label.shape[1]), share)
    judged = ~ignored(mask)
    true, found = band(mask, width) & judged, band(label, width) & judged
    both = true & found & (mask == label)
    counts = [
        np.bincount(values, minlength=classes)[:classes] for values in (mask[true], label[found])
    ]
    inner = np.bincount(mask[both], minlength=classes)[:classes]
    return np.stack([inner, counts[0] + counts[1] - inner]).astype(np.int64)
