"""What separates semantic global reasoning from a fake; a mutant for each of three checks."""

import pytest
import torch
from torch import Tensor, nn

from stages.nets.heads import HEADS
from stages.nets.heads.none import PlainHead
from stages.nets.heads.sgr import Sgr, SgrHead, sine_code
from tests.stages.nets.heads.sgr_cases import (
    CHANNELS,
    SGR,
    SMALL,
    STRIDES,
    head_of,
    labels,
    maps,
    module,
)


class FixedRegions(nn.Module):
    """Stands for the region convolution: gives the logits of hand-set disjoint regions."""

    def __init__(self, regions: Tensor) -> None:
        super().__init__()
        self.logits = (regions * 2 - 1) * 100  # one-hot after a softmax, to the last bit

    def forward(self, z: Tensor) -> Tensor:
        return self.logits.expand(len(z), -1, -1, -1)


def quadrants(side: int = 8) -> Tensor:
    """Six regions, the first four of them the quadrants of the map."""
    regions, half = torch.zeros(1, 6, side, side), side // 2
    for k in range(4):
        row, column = divmod(k, 2)
        regions[0, k, row * half : (row + 1) * half, column * half : (column + 1) * half] = 1
    return regions


# 1. Partition.


def test_1_regions_share_each_cell_out_among_the_tokens() -> None:
    _, aux = head_of().eval()(maps())
    regions = aux["regions"]
    assert regions.shape == (2, 6, 8, 8)
    torch.testing.assert_close(regions.sum(dim=1), torch.ones(2, 8, 8))
    _, aux = head_of(region_act="sigmoid").eval()(maps())
    assert aux["regions"].min() >= 0
    assert aux["regions"].max() <= 1
    assert (aux["regions"].sum(dim=1) - 1).abs().max() > 0.1


def test_1_token_of_a_one_hot_region_is_the_mean_of_its_cells() -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 16, 8, 8)
    tokens = module().pooled(z, quadrants().expand(2, -1, -1, -1))
    torch.testing.assert_close(tokens[:, 1], z[:, :, :4, 4:].mean(dim=(2, 3)))
    assert tokens[:, 4:].abs().max() == 0, "an empty region has an empty token"


# 2. The same assignment both ways.


def same_both_ways(sgr: Sgr) -> None:
    """With T set by hand, the map that is put back is P^T T, P the regions that were read by."""
    torch.manual_seed(1)
    x, tokens = torch.randn(2, 12, 8, 8), torch.randn(1, 6, 16).expand(2, -1, -1)
    seen: list[Tensor] = []
    sgr.extend.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    sgr.reason = Replaced(tokens)
    _, aux = sgr(x)
    expected = torch.einsum("bkhw,bkd->bdhw", aux["regions"], tokens)
    assert torch.allclose(seen[0], expected, atol=1e-5), "the way back is another one"


class Replaced(nn.Module):
    """Stands for the transformer: whatever comes in, the given tokens come out."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, tokens: Tensor) -> Tensor:
        del tokens
        return self.tokens


def test_2_tokens_go_back_the_way_they_came() -> None:
    same_both_ways(module())


def test_2_mutant_with_a_second_projection_is_rejected() -> None:
    with pytest.raises(AssertionError, match="the way back is another one"):
        same_both_ways(module(reproject="learned"))


def test_2_order_of_the_tokens_means_nothing() -> None:
    sgr, order = module(), torch.tensor([3, 0, 5, 1, 4, 2])
    x = torch.randn(2, 12, 8, 8)
    before, aux = sgr(x)
    for parameter in (sgr.regions.weight, sgr.regions.bias):
        parameter.data = parameter.data[order]
    after, permuted = sgr(x)
    torch.testing.assert_close(permuted["regions"], aux["regions"][:, order])
    torch.testing.assert_close(permuted["tokens"], aux["tokens"][:, order])
    torch.testing.assert_close(after, before)
    assert (after - x).abs().max() > 1e-3


# 3. Gradient locality.


class Unsupervised(SgrHead):
    """The mutant: regions that nothing makes semantic."""

    def loss(self, aux: dict[str, Tensor], labels: Tensor, targets: dict[str, Tensor]) -> Tensor:
        del labels, targets
        return aux["tokens"].sum() * 0


def regions_are_taught(head: SgrHead) -> None:
    """The region losses alone reach regions, reduction and backbone, and nothing after P."""
    nn.init.ones_(head.sgr.fuse.weight)
    head.train()
    given = [m.requires_grad_() for m in maps()]
    truth = labels(64, 64)
    _, aux = head(given)
    head.loss(aux, truth, head.targets(truth)).backward()

    def moved(tensors: list[Tensor]) -> list[bool]:
        return [t.grad is not None and bool(t.grad.abs().sum() > 0) for t in tensors]

    assert all(moved([head.sgr.regions.weight, head.sgr.reduce[0].weight])), "regions learn nothing"
    assert all(moved([given[level] for level in head.levels])), "the backbone learns nothing"
    after = [head.sgr.reason, head.sgr.extend, head.sgr.fuse, head.plain.classify]
    assert not any(moved([p for part in after for p in part.parameters()])), "a loss leaks past P"


def test_3_region_losses_teach_the_regions_alone() -> None:
    regions_are_taught(head_of())


def test_3_mutant_with_unsupervised_regions_is_rejected() -> None:
    mutant = head_of()
    mutant.__class__ = Unsupervised
    with pytest.raises(AssertionError, match="regions learn nothing"):
        regions_are_taught(mutant)


def test_3_token_term_reaches_the_transformer_when_asked_for() -> None:
    head = head_of(lambda_tok=0.1).train()
    truth = labels(64, 64)
    _, aux = head(maps())
    head.loss(aux, truth, head.targets(truth)).backward()
    weight = head.sgr.reason[0].project.weight
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


# 4. Zero-initialised fusion.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("place", ["after_decoder", "before_decoder"])
def test_4_a_closed_gate_is_the_baseline_bit_for_bit(place: str, training: bool) -> None:
    torch.manual_seed(0)
    plain = HEADS["none"](CHANNELS, STRIDES, 6, SMALL, None).train(training)
    sgr = head_of(place=place).train(training)
    outputs = []
    for head in (plain, sgr):
        torch.manual_seed(5)
        outputs.append(head(maps())[0])
    assert torch.equal(*outputs)
    x = torch.randn(2, 12, 8, 8)
    assert torch.equal(Sgr(12, SGR).train(training)(x)[0], x)


def test_4_the_baseline_has_the_same_layers_with_the_same_start() -> None:
    torch.manual_seed(0)
    plain = HEADS["none"](CHANNELS, STRIDES, 6, SMALL, None)
    inner = head_of().plain
    assert isinstance(plain, PlainHead)
    assert plain.state_dict().keys() == inner.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, inner.state_dict()[name]), name


def test_4_the_gate_opens_first_and_then_everything_learns() -> None:
    head, truth = head_of().train(), labels(64, 64)[:, ::8, ::8]
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(maps())[0], truth, ignore_index=255).backward()
        assert head.sgr.fuse.weight.grad is not None
        assert head.sgr.fuse.weight.grad.abs().sum() > 0
        weight = head.sgr.extend.weight.grad
        assert weight is not None
        assert bool(weight.abs().sum() > 0) == (step == 1)
        optimiser.step()
    for name, parameter in head.sgr.named_parameters():
        if name != "regions.bias":  # adds the same to a softmax's every cell: may be tiny
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


# 6. Reasoning is real (5 is in test_regions.py).


@pytest.mark.parametrize("layers", [2, 0])
def test_6_a_region_hears_of_a_distant_one_through_the_transformer_alone(layers: int) -> None:
    sgr = module(layers=layers)
    sgr.regions = FixedRegions(quadrants())
    x = torch.randn(1, 12, 8, 8)
    changed = x.clone()
    changed[:, :, :4, :4] += torch.randn(1, 12, 4, 4)
    distant = (sgr(changed)[0] - sgr(x)[0])[:, :, 4:, 4:]
    assert bool(distant.abs().max() > 1e-4) == (layers > 0)
    near = (sgr(changed)[0] - sgr(x)[0] - (changed - x))[:, :, :4, :4]
    assert near.abs().max() > 1e-4, "a region hears of itself"


def test_position_tells_regions_apart_that_look_alike() -> None:
    x = torch.ones(1, 12, 8, 8)
    for position in (True, False):
        sgr = module(position=position)
        sgr.regions = FixedRegions(quadrants())
        y = sgr(x)[0]
        assert bool((y[..., 0, 0] - y[..., 7, 7]).abs().max() > 1e-5) == position
    code = sine_code(9, 5, torch.device("cpu"))
    assert code.shape == (9, 5)
    places = module().places(quadrants())[0]
    torch.testing.assert_close(places[0, :8], sine_code(8, 8, torch.device("cpu"))[:4].mean(0))
