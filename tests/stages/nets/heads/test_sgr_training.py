"""What training makes of the regions: small heads on noisy scenes of rectangles, seconds each."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stages.confusion import Confusion
from stages.nets.decoder import Decoder
from stages.nets.heads import HEADS
from stages.nets.heads.sgr import SgrHead, region_losses
from stages.nets.losses import Criterion
from stages.nets.settings import HeadConfig, SgrConfig
from stages.region_metrics import RegionMetrics
from tests.stages.nets.heads.sgr_cases import labels as objects

CLASSES, CHANNELS, SIDE = 4, 8, 24
WITHOUT = {"lambda_d": 0.0, "lambda_b": 0.0, "lambda_c": 0.0}


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Maps that show a class's own direction under noise of its size, and their labels."""
    rng = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=rng))

    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    for label in labels:
        for _ in range(3):
            height, width = draw(6, 12), draw(6, 12)
            top, left = draw(0, SIDE - height), draw(0, SIDE - width)
            label[top : top + height, left : left + width] = draw(1, CLASSES)
    directions = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(count, CHANNELS, SIDE, SIDE, generator=rng)
    return directions[labels].permute(0, 3, 1, 2) + noise, labels


@cache
def trained(seed: int, supervised: bool) -> SgrHead:
    """A head after 150 steps; both arms start from the same weights and see the same batches."""
    torch.manual_seed(seed)
    sgr = SgrConfig(
        tokens=8, width=16, heads=2, layers=1, min_area=2, **({} if supervised else WITHOUT)
    )
    config = HeadConfig(width=16, step_width=0, dilations=(1,), dropout=0.0, sgr=sgr)
    head = HEADS["sgr"]([CHANNELS], [1], CLASSES, config, None)
    assert isinstance(head, SgrHead)
    criterion = Criterion(head, stride=1, lovasz=0.0)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    maps, labels = scenes(32, seed=1)
    targets = head.targets(labels)
    for step in range(150):
        rows = torch.arange(8) + 8 * (step % 4)
        logits, aux = head([maps[rows]])
        own = {name: value[rows] for name, value in targets.items()}
        loss = criterion(logits, aux, labels[rows], None, own)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head.eval()


@torch.no_grad()
def miou(head: SgrHead) -> float:
    maps, labels = scenes(16, seed=2)
    confusion = Confusion(CLASSES)
    prediction = head([maps])[0].argmax(dim=1)
    confusion.add(labels.numpy().astype(np.uint8), prediction.numpy().astype(np.uint8))
    return confusion.miou()


@torch.no_grad()
def measured(head: SgrHead) -> dict[str, float]:
    maps, labels = scenes(16, seed=2)
    metrics = RegionMetrics(range(1, CLASSES))
    for regions, label in zip(head([maps])[1]["regions"].numpy(), labels.numpy(), strict=True):
        metrics.add(regions, label)
    names = ("overlap", "soft/S_C", "soft/S_I", "soft/D_C")
    return {name: float(np.nanmean([p[name] for p in metrics.photos])) for name in names}


def test_region_losses_lower_entropy_within_tokens_and_overlap() -> None:
    means = {}
    for supervised in (True, False):
        found = [measured(trained(seed, supervised)) for seed in (0, 1)]
        means[supervised] = {n: np.mean([one[n] for one in found]) for n in found[0]}
    with_losses, without = means[True], means[False]
    assert with_losses["soft/S_C"] < 0.9 * without["soft/S_C"]
    assert with_losses["soft/S_I"] < 0.9 * without["soft/S_I"]
    assert with_losses["overlap"] < 0.5 * without["overlap"]
    assert with_losses["soft/D_C"] > without["soft/D_C"], "the tokens spread over the classes"


def test_scrambled_regions_cost_a_trained_network_its_score() -> None:
    head = trained(0, True)
    before, act = miou(head), head.sgr.act
    order = torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    try:
        head.sgr.act = lambda scores: act(scores).flatten(2)[:, :, order].reshape(scores.shape)
        after = miou(head)
    finally:
        head.sgr.act = act
    assert before > 0.7
    assert after < before - 0.1
    assert miou(head) == before


@pytest.mark.parametrize("union", ["prod", "max"])
def test_region_losses_cost_less_than_the_decoder(union: str) -> None:
    """Multiply-adds of the losses of 30 components and 64 regions, photo for photo."""
    torch.manual_seed(0)
    config = HeadConfig(sgr=SgrConfig(union=union, min_area=1))
    decoder = Decoder([24, 96, 320], [8, 16, 16], config)
    maps = [torch.randn(1, c, 320 // s, 320 // s) for c, s in ((24, 8), (96, 16), (320, 16))]
    masks = torch.zeros(1, 30, 40, 40, dtype=torch.bool)
    for m in range(30):
        masks[0, m, m] = True
    regions = torch.randn(1, 64, 40, 40).softmax(dim=1)
    targets = {"masks": masks, "counts": torch.tensor([30])}
    counted = []
    for work in (
        lambda: decoder.eval()(maps),
        lambda: region_losses(regions, targets, config.sgr),
    ):
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            work()
        counted.append(counter.get_total_flops())
    assert 0 < counted[1] < 0.2 * counted[0]


def test_most_components_bounds_the_targets() -> None:
    head = HEADS["sgr"]([8], [1], 3, HeadConfig(sgr=SgrConfig(most_components=2)), None)
    made = head.targets(objects(24, 24))
    assert made["masks"].shape[1] == 2
    assert made["counts"].tolist() == [2, 2]
