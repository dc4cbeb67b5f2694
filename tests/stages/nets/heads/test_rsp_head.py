"""The propagators stacked: what reaches the finest map, closed gates, the auxiliary loss."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.nets.heads.rsp import RspHead, at_cells
from stages.nets.settings import HeadConfig, RspConfig

WIDTH, GROUPS = 8, 2
CHANNELS, STRIDES = [6, 10, 12, 12], [4, 8, 16, 16]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def head_of(config: RspConfig, classes: int = 5, **settings: object) -> RspHead:
    torch.manual_seed(0)
    whole = HeadConfig(width=WIDTH, rsp=config.model_copy(update={"groups": GROUPS}))
    return RspHead(CHANNELS, STRIDES, classes, whole.model_copy(update=settings))


def features(height: int, width: int) -> list[Tensor]:
    """Of a photo padded to 16 pixels, so that the level at stride 32 is one of odd maps."""
    height, width = -(-height // 16) * 16, -(-width // 16) * 16
    return [
        normal(2, c, height // s, width // s, seed=i)
        for i, (c, s) in enumerate(zip(CHANNELS, STRIDES, strict=True))
    ]


@pytest.mark.parametrize("output", ["finest", "sum"])
@pytest.mark.parametrize("separable", [True, False])
@torch.no_grad()
def test_closed_gates_leave_the_pyramid_as_it_is(output: str, separable: bool) -> None:
    config = RspConfig(output=output, separable=separable)  # type: ignore[arg-type]
    head = head_of(config).eval()
    levels = head.pyramid(features(80, 112))
    x = levels[0] if head.merge is None else head.merge(levels)
    assert torch.equal(head(features(80, 112))[0], head.classify(x))
    opened = head_of(config.model_copy(update={"zero_init": False})).eval()
    assert not torch.equal(opened(features(80, 112))[0], head.classify(x))


def test_a_closed_gate_opens() -> None:
    head = head_of(RspConfig(kernel=3)).train()
    optimiser = torch.optim.SGD(head.parameters(), lr=0.5)
    for _ in range(4):
        logits, aux = head(features(64, 64))
        labels = torch.randint(0, 5, (2, 64, 64), generator=torch.Generator().manual_seed(0))
        loss = functional.cross_entropy(logits, labels[:, 2::4, 2::4])
        optimiser.zero_grad()
        (loss + head.loss(aux, labels, {})).backward()
        optimiser.step()
    gates = [step.norm.weight for step in head.steps]  # type: ignore[union-attr]
    assert all(gate.abs().min() > 0 for gate in gates)  # type: ignore[union-attr, operator]
    silent = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@torch.no_grad()
def test_the_top_reaches_far_only_through_what_was_handed_down() -> None:
    """(4) One top cell of 8 x 8; a propagator that asks the level itself stops at one region."""
    head = head_of(RspConfig(kernel=3, zero_init=False, separable=False)).eval()
    levels = [m.relu() for m in (normal(1, WIDTH, 64 >> i, 64 >> i, seed=i) for i in range(4))]

    def propagated(top: Tensor) -> Tensor:
        return head.propagate([*levels[:3], top])[0]

    def not_propagated(top: Tensor) -> Tensor:
        given = [*levels[1:3], top]
        pairs = zip(head.steps, levels[:3], given, strict=True)
        return next(step(low, high) for step, low, high in pairs)

    changed = levels[3].clone()
    changed[..., 4, 4] += 5.0
    moved = ((propagated(changed) - propagated(levels[3])).abs() > 1e-6).any(dim=1)
    # The region of one top cell spans 3 of its cells, 24 of the finest level's.
    assert min(moved.any(dim=1).sum(), moved.any(dim=2).sum()) > 24
    assert torch.equal(not_propagated(changed), not_propagated(levels[3]))


def test_the_coarse_level_is_judged_on_the_labels_of_its_cells() -> None:
    labels = torch.arange(40 * 50).view(1, 40, 50) % 5
    seen = at_cells(labels, 16)
    assert torch.equal(seen[0], labels[0][[8, 24, 39]][:, [8, 24, 40, 49]])
    head = head_of(RspConfig(aux_weight=0.4)).train()
    aux = head(features(40, 50))[1]
    assert aux["coarse"].shape == (2, 5, 3, 4)
    both = labels.expand(2, -1, -1)
    expected = 0.4 * functional.cross_entropy(aux["coarse"], seen.expand(2, -1, -1))
    torch.testing.assert_close(head.loss(aux, both, {}), expected)
    assert head.loss(aux, torch.full_like(both, 255), {}) == 0
    assert head.eval()(features(40, 50))[1] == {}
    assert head_of(RspConfig(aux_weight=0.0)).train()(features(40, 50))[1] == {}
