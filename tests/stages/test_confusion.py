"""The confusion matrix: golden values, known answers on real masks, and laws that always hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.labels import read_label
from stages.confusion import Confusion

GOLDEN = np.array([[8, 0, 2, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.int64)


def pair(classes: int, *, ignore: bool = True) -> st.SearchStrategy:
    """A label of a few pixels, ignored ones included, and a prediction of the same size."""
    values = [*range(classes), *([255] if ignore else [])]
    label = arrays(np.uint8, (3, 5), elements=st.sampled_from(values))
    prediction = arrays(np.uint8, (3, 5), elements=st.sampled_from(range(classes)))
    return st.tuples(label, prediction)


def test_three_definitions_of_miou_give_the_golden_values() -> None:
    confusion = Confusion.of(GOLDEN)
    assert confusion.miou_eps() == pytest.approx(0.3818, abs=5e-5)
    assert confusion.miou_present() == pytest.approx(0.7636, abs=5e-5)
    assert confusion.miou() == pytest.approx(0.5091, abs=5e-5)


def test_golden_pixels_give_the_golden_matrix() -> None:
    label = np.array([[0] * 10 + [1] * 5 + [255] * 3], np.uint8)
    prediction = np.array([[0] * 8 + [2] * 2 + [0] + [1] * 4 + [3] * 3], np.uint8)
    confusion = Confusion(4)
    confusion.add(label, prediction)
    np.testing.assert_array_equal(confusion.matrix, GOLDEN)
    assert confusion.pixels == 15


def test_precision_recall_and_accuracy_by_hand() -> None:
    confusion = Confusion.of(GOLDEN)
    np.testing.assert_allclose(confusion.precision(), [8 / 9, 1, 0, np.nan])
    np.testing.assert_allclose(confusion.recall(), [8 / 10, 4 / 5, np.nan, np.nan])
    assert confusion.pixel_accuracy() == pytest.approx(12 / 15)
    scores = confusion.scores(["background", "a", "b", "c"])
    assert scores["classes"]["a"] == {
        "iou": pytest.approx(0.8),
        "precision": 1.0,
        "recall": pytest.approx(0.8),
        "pixels": 5,
        "false_positives": 0,
        "false_negatives": 1,
    }
    assert scores["classes"]["c"]["iou"] is None


def test_counts_beyond_32_bits_stay_positive() -> None:
    big = Confusion.of(np.full((1, 1), 2_200_000_000, np.int64))
    big.merge(big)
    assert big.pixels == 4_400_000_000
    assert big.matrix.dtype == np.int64
    assert big.miou() == 1.0


@pytest.mark.parametrize("truth", [0, 9, 15, 255])
def test_a_prediction_of_255_raises_whatever_the_mask_says(truth: int) -> None:
    confusion = Confusion(21)
    with pytest.raises(ValueError, match="255 is no class"):
        confusion.add(np.full((2, 2), truth, np.uint8), np.full((2, 2), 255, np.uint8))
    assert confusion.pixels == 0


def test_a_prediction_or_mask_of_no_class_raises() -> None:
    confusion = Confusion(21)
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="holds 21"):
        confusion.add(zeros, zeros + np.uint8(21))
    with pytest.raises(ValueError, match=r"holds 90.*COCO ids 1-90 vs 1-80"):
        confusion.add(zeros + np.uint8(90), zeros)
    assert confusion.pixels == 0


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        Confusion(3).add(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


def test_the_largest_label_table_fits_the_key() -> None:
    confusion = Confusion(255)
    label = np.array([[254, 255, 0]], np.uint8)
    confusion.add(label, np.array([[254, 254, 254]], np.uint8))
    assert confusion.matrix[254, 254] == 1
    assert confusion.matrix[0, 254] == 1
    assert confusion.pixels == 2


def wide(label: np.ndarray) -> np.ndarray:
    """Labels of bytes as labels of 16 bits."""
    found = label.astype(np.int16)
    found[label == 255] = 32767
    return found


@settings(max_examples=50, deadline=None)
@given(pair(255), st.booleans(), st.booleans())
def test_labels_of_bytes_and_of_16_bits_count_alike(
    labels: tuple, wide_label: bool, wide_prediction: bool
) -> None:
    label, prediction = labels
    narrow, other, more = Confusion(255), Confusion(255), Confusion(301)
    narrow.add(label, prediction)
    given = (
        wide(label) if wide_label else label,
        wide(prediction) if wide_prediction else prediction,
    )
    for confusion in (other, more):
        confusion.add(*given)
    np.testing.assert_array_equal(other.matrix, narrow.matrix)
    np.testing.assert_array_equal(more.matrix[:255, :255], narrow.matrix)
    assert more.pixels == narrow.pixels


def test_among_16_bits_255_is_a_class_and_the_largest_number_is_none() -> None:
    confusion = Confusion(1001)
    label = np.array([[255, 255, 1000, 32767]], np.int16)
    confusion.add(label, np.array([[255, 7, 1000, 255]], np.int16))
    assert confusion.matrix[255, 255] == confusion.matrix[255, 7] == 1
    assert confusion.matrix[1000, 1000] == 1
    assert confusion.pixels == 3
    zeros = np.zeros((1, 1), np.int16)
    for wrong in (zeros + 1001, zeros - 1, zeros + 32767):
        with pytest.raises(ValueError, match=f"a prediction holds {wrong[0, 0]}, but classes are"):
            confusion.add(zeros, wrong.astype(np.int16))
    for wrong in (zeros + 1001, zeros - 1):
        with pytest.raises(ValueError, match=f"a mask holds {wrong[0, 0]}, .*32767 to ignore"):
            confusion.add(wrong.astype(np.int16), zeros)
    with pytest.raises(ValueError, match="a prediction holds 255"):
        confusion.add(zeros, np.full((1, 1), 255, np.uint8))
    assert confusion.pixels == 3


def test_nothing_scored_has_no_score() -> None:
    scores = Confusion(2).scores(["background", "a"])
    assert scores["miou"] is None
    assert scores["miou_eps"] is None
    assert scores["pixel_accuracy"] is None


@settings(max_examples=50, deadline=None)
@given(st.lists(pair(4), min_size=1, max_size=4))
def test_photos_one_by_one_equal_one_pass_and_merged_shards(pairs: list) -> None:
    whole, shards = Confusion(4), Confusion(4)
    whole.add(np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs]))
    for label, prediction in pairs:
        shard = Confusion(4)
        shard.add(label, prediction)
        shards.merge(shard)
    np.testing.assert_array_equal(whole.matrix, shards.matrix)


@settings(max_examples=50, deadline=None)
@given(pair(4))
def test_counting_by_hand_and_laws(labels: tuple) -> None:
    label, prediction = labels
    confusion = Confusion(4)
    confusion.add(label, prediction)
    for t in range(4):
        for p in range(4):
            assert confusion.matrix[t, p] == ((label == t) & (prediction == p)).sum()
    if not confusion.pixels:
        return
    assert 0 <= confusion.miou_eps() <= confusion.miou() <= confusion.miou_present() <= 1
    again = Confusion(4)
    again.add(label, np.where(label == 255, 0, label).astype(np.uint8))
    assert again.miou() == 1.0


@settings(max_examples=50, deadline=None)
@given(pair(4), st.integers(1, 9), st.booleans())
def test_patches_count_as_their_pixels_do(labels: tuple, side: int, sixteen: bool) -> None:
    """Runs of pixels that are alike are counted at once, single pixels one by one."""
    patches = [np.kron(each, np.ones((side, side), np.uint8)) for each in labels]
    big, small = Confusion(4), Confusion(4)
    big.add(*(map(wide, patches) if sixteen else patches))
    small.add(*labels)
    np.testing.assert_array_equal(big.matrix, side**2 * small.matrix)


@settings(max_examples=50, deadline=None)
@given(pair(4, ignore=False), st.permutations(range(4)))
def test_renaming_classes_changes_no_mean(labels: tuple, order: list[int]) -> None:
    names = np.array(order, np.uint8)
    plain, renamed = Confusion(4), Confusion(4)
    plain.add(*labels)
    renamed.add(names[labels[0]], names[labels[1]])
    assert renamed.miou() == pytest.approx(plain.miou())


def test_real_labels_of_a_published_method_give_the_known_scores(shared: Path) -> None:
    """TransCAM's pseudo-labels of VOC train: 0.7014; all background: 0.0349."""
    folder = shared / "transcam-voc12-train"
    labels = folder / "pseudo_labels" / "transcam"
    masks = sorted((folder / "gt").glob("*.png"))
    if not masks:
        pytest.skip("the TransCAM labels are not at hand")
    confusion = Confusion(21)
    for mask in masks:
        confusion.add(read_label(mask), read_label(labels / mask.name))
    assert len(masks) == 1464
    assert confusion.miou() == pytest.approx(0.7014, abs=5e-5)
    assert confusion.trivial().miou() == pytest.approx(0.0349, abs=5e-5)
