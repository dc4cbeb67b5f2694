"""Augmentation: photo, label and weight stay aligned; padding is what the contract says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from data.labels import IGNORE
from data.transforms import MEAN_COLOUR, Sample, TrainTransform


def coded(height: int, width: int) -> Sample:
    """A smooth photo whose left half is class 1 and dark, right half class 2 and bright."""
    left = torch.arange(width) < width // 2
    label = torch.where(left, 1, 2).to(torch.uint8).expand(height, width).contiguous()
    image = torch.where(left, 40, 200).to(torch.uint8).expand(3, height, width).contiguous()
    return Sample(image, label, torch.full((height, width), 0.5))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def parts(sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    assert sample.label is not None
    assert sample.weight is not None
    return sample.image, sample.label, sample.weight


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (7, 300), (64, 64), (1, 1)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.3, 0.5), (1.5, 3.0)])
def test_every_size_gives_the_crop(size: tuple[int, int], scale: tuple[float, float]) -> None:
    transform = TrainTransform(crop=64, scale=scale, jitter=0.2)
    for seed in range(5):
        image, label, weight = parts(transform(coded(*size), generator(seed)))
        assert image.shape == (3, 64, 64)
        assert image.dtype == torch.uint8
        assert label.shape == weight.shape == (64, 64)
        assert set(label.unique().tolist()) <= {1, 2, IGNORE}


def test_photo_and_label_move_together() -> None:
    transform = TrainTransform(crop=48, scale=(0.5, 2.0))
    for seed in range(40):
        image, label, _ = parts(transform(coded(60, 80), generator(seed)))
        grey = image[0].float()
        # Away from the border of the halves the colour tells the class.
        assert grey[(label == 1)].median() == 40 or not (label == 1).any()
        assert grey[(label == 2)].median() == 200 or not (label == 2).any()
        wrong = ((label == 1) & (grey > 150)) | ((label == 2) & (grey < 90))
        assert wrong.float().mean() < 0.01


def test_padding_is_mean_colour_ignore_and_weightless() -> None:
    transform = TrainTransform(crop=50, scale=(0.5, 0.5), flip=False)
    image, label, weight = parts(transform(coded(40, 60), generator(3)))
    inside = label != IGNORE
    assert int(inside.sum()) == 20 * 30
    mean = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)
    assert (image[:, ~inside] == mean[:, None]).all()
    assert (weight[~inside] == 0).all()
    assert torch.allclose(weight[inside], torch.tensor(0.5))


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0), (1.7, 1.7)])
def test_labels_of_16_bits_move_as_those_of_bytes(scale: tuple[float, float]) -> None:
    transform = TrainTransform(crop=50, scale=scale)
    sample = coded(40, 60)
    assert sample.label is not None
    _, narrow, _ = parts(transform(sample, generator(4)))
    table = torch.zeros(256, dtype=torch.int16)
    table[torch.tensor([1, 2, 255])] = torch.tensor([255, 1000, 32767], dtype=torch.int16)
    wide_sample = sample._replace(label=table[sample.label.long()])
    _, wide, _ = parts(transform(wide_sample, generator(4)))
    assert wide.dtype == torch.int16
    assert torch.equal(wide, table[narrow.long()])


def test_side_brings_photos_of_all_sizes_to_one_scale() -> None:
    transform = TrainTransform(crop=100, side=80)
    for size in ((40, 60), (400, 600)):
        _, label, _ = parts(transform(coded(*size), generator()))
        rows, columns = torch.where(label != IGNORE)
        assert (rows.max() - rows.min() + 1).item() in {53, 54}
        assert (columns.max() - columns.min() + 1).item() == 80


def test_scale_covers_its_range_and_flip_happens_half_the_time() -> None:
    transform = TrainTransform(crop=1000, scale=(0.5, 2.0))
    draws = [transform.draw((100, 100), generator(seed)) for seed in range(400)]
    heights = np.array([draw.size[0] for draw in draws])
    assert heights.min() < 55
    assert heights.max() > 180
    assert 0.4 < np.mean(heights < 100) < 0.6  # log-uniform: half of the draws shrink
    assert 0.4 < np.mean([draw.flip for draw in draws]) < 0.6
    still = TrainTransform(crop=1000, flip=False)
    assert not any(still.draw((9, 9), generator(seed)).flip for seed in range(50))


def test_windows_reach_every_corner_of_a_larger_photo() -> None:
    transform = TrainTransform(crop=10)
    draws = [transform.draw((20, 20), generator(seed)) for seed in range(300)]
    assert {draw.top for draw in draws} == set(range(11))
    assert {draw.left for draw in draws} == set(range(11))


def test_jitter_changes_colours_only() -> None:
    plain = TrainTransform(crop=40, flip=False)
    tinted = TrainTransform(crop=40, flip=False, jitter=0.3)
    sample = coded(40, 40)
    first, second = parts(plain(sample, generator(1))), parts(tinted(sample, generator(1)))
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])


def test_no_draw_touches_the_global_state() -> None:
    before, state = torch.get_rng_state(), np.random.get_state()[1]
    TrainTransform(crop=32, scale=(0.5, 2.0), jitter=0.2)(coded(40, 50), generator())
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(np.asarray(state), np.asarray(np.random.get_state()[1]))


def test_the_same_generator_gives_the_same_sample() -> None:
    transform = TrainTransform(crop=32, scale=(0.5, 2.0), jitter=0.2)
    sample = coded(50, 70)
    same = zip(
        parts(transform(sample, generator(5))), parts(transform(sample, generator(5))), strict=True
    )
    assert all(torch.equal(first, second) for first, second in same)
    other, _, _ = parts(transform(sample, generator(6)))
    assert not torch.equal(parts(transform(sample, generator(5)))[0], other)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"crop": 0}, "crop"), ({"scale": (2.0, 1.0)}, "scale"), ({"jitter": 1.0}, "jitter")],
)
def test_impossible_settings_are_named(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TrainTransform(**{"crop": 8, **settings})  # type: ignore[arg-type]
