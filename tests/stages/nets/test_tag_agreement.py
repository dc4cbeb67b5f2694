"""Tag agreement: F1 between tags and what is painted, and nothing about the network changes."""

import numpy as np
import pytest
import torch

from data.manifest import Manifest
from stages.nets.segmenter import load_segmenter
from stages.nets.tag_agreement import f1, painted, tag_agreement


@pytest.mark.parametrize(
    ("tags", "found", "expected"),
    [
        (set(), set(), 1.0),
        ({1}, set(), 0.0),
        ({1, 2}, {1, 2}, 1.0),
        ({1, 2}, {1}, 2 / 3),
        ({1}, {2}, 0.0),
    ],
)
def test_f1(tags: set[int], found: set[int], expected: float) -> None:
    assert f1(tags, found) == pytest.approx(expected)


def test_a_speck_is_not_painted_and_ignored_pixels_are_no_class() -> None:
    label = np.zeros((100, 100), np.uint8)
    label[:10, :10] = 3  # 1 %
    label[50, :20] = 5
    label[90:] = 255
    assert painted(label) == {2}


def test_modes_and_random_numbers_stay_as_they_were(ready) -> None:
    manifest = Manifest.of(ready.inputs, ready.context.places)
    network = load_segmenter(ready.inputs["segment"])
    network.head.train()
    modes = [module.training for module in network.modules()]
    state = torch.random.get_rng_state()
    found = tag_agreement(network, manifest, manifest.split("train"), ready.context)
    assert 0 <= found <= 1
    assert [module.training for module in network.modules()] == modes
    torch.testing.assert_close(torch.random.get_rng_state(), state)
