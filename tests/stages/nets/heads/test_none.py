"""Head none: shapes, strides, and a loss that goes down."""

import pytest
import torch

from stages.nets.heads import HEADS
from stages.nets.settings import HeadConfig

SMALL = HeadConfig(width=16, step_width=8, dilations=(1, 2), dropout=0.0)


@pytest.mark.parametrize(
    ("strides", "step_width", "stride"),
    [([4, 8, 16, 16], 8, 8), ([4, 8, 16], 0, 16), ([4, 8, 8, 8], 8, 4), ([16], 8, 16)],
)
def test_logits_come_at_the_stated_stride(strides: list[int], step_width: int, stride: int) -> None:
    channels = [6 + i for i in range(len(strides))]
    config = SMALL.model_copy(update={"step_width": step_width})
    head = HEADS["none"](channels, strides, 4, config, None)
    maps = [torch.randn(2, c, 96 // s, 64 // s) for c, s in zip(channels, strides, strict=True)]
    logits, aux = head.eval()(maps)
    assert head.stride == stride
    assert logits.shape == (2, 4, 96 // stride, 64 // stride)
    assert aux == {}


def test_levels_name_all_maps_that_are_read() -> None:
    head = HEADS["none"]([6, 7, 8, 9], [4, 8, 16, 16], 4, SMALL, None).eval()
    pairs = zip((6, 7, 8, 9), (4, 8, 16, 16), strict=True)
    maps = [torch.randn(1, c, 64 // s, 64 // s) for c, s in pairs]
    before = head(maps)[0]
    blank = [m if i in head.levels else torch.zeros(1, 0, 1, 1) for i, m in enumerate(maps)]
    assert head.levels == (1, 2, 3)
    assert torch.equal(head(blank)[0], before)


def test_it_learns_to_tell_two_halves() -> None:
    torch.manual_seed(0)
    head = HEADS["none"]([8], [8], 2, SMALL, None)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[:, :, 4:] = 1
    maps = [torch.randn(2, 8, 8, 8) + labels[:, None]]
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(head(maps)[0], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
