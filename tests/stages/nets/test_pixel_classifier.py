"""The linear classifier of places: learns what separates, whatever it is given."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.labels import IGNORE
from stages.nets.pixel_classifier import (
    PixelClassifier,
    Samples,
    drawn,
    load_pixel_classifier,
    save_pixel_classifier,
)
from stages.nets.settings import PixelConfig

CONFIG = PixelConfig(epochs=30, batch_size=32, lr=0.02, dropout=0.1)


def samples(count: int = 300, classes: int = 3) -> Samples:
    """Features off the origin, of one direction a class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (count,), generator=generator)
    features = torch.randn(count, 6, generator=generator) * 0.3
    features[torch.arange(count), labels] += 2
    return Samples(features * 50 + 1000, labels)


def fitted(given: Samples, *, classes: int = 3, seed: int = 0) -> PixelClassifier:
    torch.manual_seed(seed)
    made = PixelClassifier(given.features.shape[1], classes)
    made.fit(given, CONFIG, seed=seed)
    return made


def test_learns_what_a_line_parts() -> None:
    given = samples()
    logits = fitted(given)(given.features)
    assert (logits.argmax(dim=1) == given.labels).float().mean() > 0.99


def test_the_same_samples_and_seed_give_the_same_weights() -> None:
    given = samples()
    first, second, other = fitted(given), fitted(given), fitted(given, seed=1)
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_places_of_one_class_leave_finite_logits(count: int) -> None:
    given = Samples(torch.randn(count, 4), torch.full((count,), 2))
    logits = fitted(given, classes=5)(given.features)
    assert logits.isfinite().all()
    assert (logits.argmax(dim=1) == 2).all()


def test_a_feature_that_never_changes_counts_nothing() -> None:
    given = samples()
    stuck = Samples(torch.cat([given.features, torch.full((300, 1), 7.0)], dim=1), given.labels)
    assert fitted(stuck)(stuck.features).isfinite().all()


def test_no_place_at_all_is_named() -> None:
    with pytest.raises(ValueError, match="no place of any photo has a label"):
        fitted(Samples(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)))


def test_draws_the_label_below_each_cell_and_no_ignored_one() -> None:
    label = np.full((32, 48), IGNORE, np.uint8)
    label[16:, :16], label[16:, 32:] = 1, 2
    features = torch.arange(6.0).reshape(1, 2, 3)
    centres = (torch.tensor([8.5, 24.5]), torch.tensor([8.5, 24.5, 60.0]))  # the last beyond it
    found = drawn(features, label, centres, count=10, rng=np.random.default_rng(0))
    pairs = sorted(zip(found.features[:, 0].tolist(), found.labels.tolist(), strict=True))
    assert pairs == [(3.0, 1), (5.0, 2)]


def test_a_photo_without_a_label_gives_no_place() -> None:
    label, centres = np.full((8, 8), IGNORE, np.uint8), (torch.tensor([4.0]), torch.tensor([4.0]))
    found = drawn(torch.ones(3, 1, 1), label, centres, count=4, rng=np.random.default_rng(0))
    assert (found.features.shape, found.labels.shape) == ((0, 3), (0,))


def test_draws_at_most_so_many_each_once() -> None:
    label, axis = np.zeros((64, 64), np.uint8), torch.arange(8) * 8.0 + 4
    features = torch.arange(64.0).reshape(1, 8, 8)
    first, second = (
        drawn(features, label, (axis, axis), count=20, rng=np.random.default_rng(seed)).features
        for seed in (0, 1)
    )
    assert len(first) == len(first.unique()) == 20
    assert not torch.equal(first, second)


def test_comes_back_from_its_file_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    given, path = samples(), tmp_path / "pixels.safetensors"
    made = fitted(given)
    save_pixel_classifier(path, made)
    back = load_pixel_classifier(path)
    assert torch.equal(back(given.features), made(given.features))
    assert not any(parameter.requires_grad for parameter in back.parameters())
    content = path.read_bytes()
    for wrong in (content[:40], b"", content[:-8]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"pixels\.safetensors holds no pixel classifier"):
            load_pixel_classifier(path)
