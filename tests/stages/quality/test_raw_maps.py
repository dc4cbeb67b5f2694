import numpy as np
import pytest
import torch

from data.cams import Cam, read_cam, write_cam
from stages.quality.photo import Views, measure
from stages.quality.raw_maps import MapScores, PhotoCounts, kept_cam
from stages.quality.sweep import ThresholdSweep
from stages.thresholds import li, score_histogram

SIZE = (37, 50)
BINS = 64


def maps(seed: int, k: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(k, 10, 13, generator=generator) ** 3


def mask(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 4, SIZE, dtype=np.uint8)
    drawn[:3] = 255
    return drawn


@pytest.mark.parametrize("classes", [[0, 2], [1], []])
def test_counts_are_those_of_the_quality_of_labels(classes: list[int], tmp_path) -> None:
    """One photo, counted from memory and by way of its file and `inspect`'s own measure."""
    found = maps(1, len(classes))
    cam = kept_cam(classes, found, SIZE)
    write_cam(tmp_path / "a.npz", Cam(np.array(classes, dtype=np.int64), found.numpy(), SIZE))
    kept = read_cam(tmp_path / "a.npz")
    blank = np.zeros(SIZE, np.uint8)
    views = Views(blank, blank, blank, kept, mask(0))
    scored = measure("a", views, classes=3, bins=BINS, boundary=0.02).scored
    counts = PhotoCounts.of(cam, mask(0), bins=BINS, labels=4)
    assert scored is not None
    assert counts.counts is not None
    assert np.array_equal(counts.counts, scored.cam)
    assert np.array_equal(counts.truth, scored.truth)
    assert np.array_equal(counts.histogram, score_histogram(kept))


def test_figures_are_those_of_the_sweep_at_the_score_that_no_mask_chose() -> None:
    scores, sweep, histogram = MapScores(("a", "b", "c"), 256), ThresholdSweep(3, 256), 0
    for seed, classes in enumerate([[0, 2], [1], []]):
        cam = kept_cam(classes, maps(seed, len(classes)), SIZE)
        one = PhotoCounts.of(cam, mask(seed), bins=256, labels=4)
        scores.add(one)
        assert one.counts is not None
        assert one.truth is not None
        sweep.add(one.classes, one.counts, one.truth)
        histogram = histogram + score_histogram(cam)
    unmasked = PhotoCounts.of(kept_cam([1], maps(9, 1), SIZE), None, bins=256, labels=4)
    scores.add(unmasked)
    figures, threshold = scores.figures(), li(histogram + unmasked.histogram)
    assert figures["photos"] == 3
    assert figures["threshold"] == threshold
    confusion = sweep.confusion(threshold)
    assert figures["miou"] == pytest.approx(confusion.miou())
    assert figures["miou_best_with_masks"] >= figures["miou"]
    assert list(figures["iou"]) == ["background", "a", "b", "c"]
    assert figures["iou"]["b"] == pytest.approx(confusion.iou()[2])


def test_maps_that_know_no_threshold_have_no_figure() -> None:
    scores = MapScores(("a",), 256)
    cam = kept_cam([0], torch.zeros(1, 10, 13), SIZE)
    scores.add(PhotoCounts.of(cam, np.zeros(SIZE, np.uint8), bins=256, labels=2))
    assert scores.figures()["miou"] is None
    assert scores.figures()["miou_best_with_masks"] == 1.0
