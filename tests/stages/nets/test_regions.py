"""Region losses: the golden case, unions against a one-to-one matching, cover, and the edges."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from stages.components import connected
from stages.nets import regions
from stages.nets.heads.sgr import region_losses
from stages.nets.settings import SgrConfig

LABEL = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]])
MASKS = torch.from_numpy(connected(LABEL).masks())[None]  # 1 3 4 4: class 0, block, column


def ideal() -> Tensor:
    """t0 and t1 are the halves of the 2x2 block, t2 the last column, t3 class 0."""
    p = torch.zeros(1, 4, 4, 4)
    p[0, 0, :2, 0] = p[0, 1, :2, 1] = p[0, 2, :, 3] = 1
    p[0, 3] = torch.from_numpy(LABEL == 0)
    return p


def uniform() -> Tensor:
    return torch.full((1, 4, 4, 4), 0.25)


Owners = Callable[[Tensor, Tensor], Tensor]


def by_precision(p: Tensor, masks: Tensor) -> Tensor:
    return regions.assignment(p, masks, ensure_cover=False)


def one_to_one(p: Tensor, masks: Tensor) -> Tensor:
    """The mutant: a Hungarian matching; tokens left over join an empty component."""
    inside = (p @ masks.float().transpose(1, 2))[0]
    tokens, components = linear_sum_assignment(-inside.numpy())
    owner = torch.full((1, p.shape[1]), masks.shape[1])
    owner[0, tokens] = torch.from_numpy(components)
    return owner


def dices(p: Tensor, owners: Owners) -> Tensor:
    flat, masks = p.flatten(2), MASKS.flatten(2)
    owner = owners(flat, masks)
    union = regions.UNIONS["prod"](flat, owner, masks.shape[1] + 1)[:, : masks.shape[1]]
    return regions.dice(union, masks)[0]


def test_golden_ideal() -> None:
    p = ideal().flatten(2)
    assert by_precision(p, MASKS.flatten(2)).tolist() == [[1, 1, 2, 0]]
    torch.testing.assert_close(dices(ideal(), by_precision), torch.zeros(3), atol=1e-5, rtol=0)
    assert abs(float(regions.mean_cosine(p))) < 1e-6


def test_golden_uniform() -> None:
    p = uniform().flatten(2)
    owner = by_precision(p, MASKS.flatten(2))
    assert owner.tolist() == [[0, 0, 0, 0]]
    union = regions.UNIONS["prod"](p, owner, 3)
    torch.testing.assert_close(union[0, 0], torch.full((16,), 0.68359375))
    assert union[0, 1:].abs().max() == 0
    expected = torch.tensor([0.4013, 0.8, 0.8])
    torch.testing.assert_close(dices(uniform(), by_precision), expected, atol=5e-5, rtol=0)
    assert float(regions.mean_cosine(p)) == pytest.approx(1, abs=1e-5)


def union_costs_nothing(owners: Owners) -> None:
    """A.7.5: two tokens that cover the halves of one component are no mistake."""
    assert dices(ideal(), owners).abs().max() < 1e-5, "halves of a component are punished"


def test_union_many_tokens_serve_one_component() -> None:
    union_costs_nothing(by_precision)


def test_mutant_one_to_one_matcher_is_rejected() -> None:
    with pytest.raises(AssertionError, match="halves of a component are punished"):
        union_costs_nothing(one_to_one)


def test_product_sum_and_maximum_agree_on_hard_disjoint_regions() -> None:
    p, masks = ideal().flatten(2), MASKS.flatten(2)
    owner = by_precision(p, masks)
    product, largest = (regions.UNIONS[name](p, owner, 3) for name in ("prod", "max"))
    torch.testing.assert_close(product, largest, atol=1e-5, rtol=0)
    torch.testing.assert_close(largest, masks.float())


def test_unions_are_those_of_their_formulas() -> None:
    torch.manual_seed(0)
    p = torch.rand(2, 5, 7)
    owner = torch.tensor([[0, 2, 2, 0, 2], [1, 1, 1, 1, 1]])
    product, largest = (regions.UNIONS[name](p, owner, 3) for name in ("prod", "max"))
    for b in range(2):
        for m in range(3):
            own = p[b][owner[b] == m]
            left = (1 - own).prod(dim=0) if len(own) else torch.ones(7)
            top = own.amax(dim=0) if len(own) else torch.zeros(7)
            torch.testing.assert_close(product[b, m], 1 - left, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(largest[b, m], top)


def test_cover_serves_every_component_where_tokens_suffice() -> None:
    torch.manual_seed(1)
    p, masks = torch.rand(3, 6, 30).softmax(1), torch.zeros(3, 5, 30, dtype=torch.bool)
    for m in range(5):
        masks[:2, m, 3 * m : 3 * m + 3] = True
    masks[0, 0, 15:] = True  # nearly all of the mass
    masks[2, 0] = True  # the third photo has one component, the rest is padding
    alone = regions.assignment(p, masks, ensure_cover=False)
    covered = regions.assignment(p, masks, ensure_cover=True)
    assert len(alone[0].unique()) < 5
    assert covered[0].unique().tolist() == covered[1].unique().tolist() == [0, 1, 2, 3, 4]
    assert covered[2].unique().tolist() == [0]


def test_cover_takes_the_best_token_that_can_be_spared() -> None:
    masks = torch.zeros(1, 2, 4, dtype=torch.bool)
    masks[0, 0, :3], masks[0, 1, 3] = True, True
    p = torch.tensor([[[1.0, 1, 1, 0.1], [1, 1, 1, 0.3], [1, 1, 1, 0.2]]])
    assert regions.assignment(p, masks, ensure_cover=False).tolist() == [[0, 0, 0]]
    assert regions.assignment(p, masks, ensure_cover=True).tolist() == [[0, 1, 0]]
    single = regions.assignment(p[:, :1], masks, ensure_cover=True)
    assert single.tolist() == [[0]], "the only token of a component is not taken from it"


def test_cell_losses_are_those_of_pytorch_and_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss

    torch.manual_seed(0)
    scores, masks = torch.randn(2, 3, 8), torch.rand(2, 3, 8) > 0.5
    truth, union = masks.float(), scores.sigmoid()
    plain = torch.nn.functional.binary_cross_entropy(union, truth, reduction="none")
    torch.testing.assert_close(regions.cross_entropy(union, masks), plain, atol=1e-5, rtol=1e-4)
    focal = sigmoid_focal_loss(scores, truth, alpha=0.25, gamma=2)
    torch.testing.assert_close(regions.focal(union, masks), focal, atol=1e-5, rtol=1e-4)


def test_mean_cosine_is_that_over_pairs() -> None:
    torch.manual_seed(0)
    p = torch.rand(3, 5, 11)
    cosines = torch.nn.functional.cosine_similarity(p[:, :, None], p[:, None], dim=3)
    expected = (cosines.sum(dim=(1, 2)) - 5) / 20
    torch.testing.assert_close(regions.mean_cosine(p), expected)
    assert regions.mean_cosine(p[:, :1]).abs().max() < 1e-6, "one token overlaps with none"


def targets(masks: Tensor) -> dict[str, Tensor]:
    return {"masks": masks, "counts": masks.flatten(2).any(dim=2).sum(dim=1)}


def test_cells_of_no_component_and_padding_count_in_no_loss() -> None:
    config = SgrConfig(min_area=1)
    masks = MASKS.clone()
    masks[:, 2] = False  # the column is a speck: its cells are unassigned
    torch.manual_seed(0)
    p = torch.rand(1, 4, 4, 4)
    before = region_losses(p, targets(masks), config)
    changed = torch.nn.functional.pad(p, (0, 2, 0, 3), value=0.7)
    changed[:, :, :4, 3] = torch.rand(1, 4, 4)
    after = region_losses(changed, targets(masks), config)
    for name in ("dice", "cells", "overlap"):
        torch.testing.assert_close(after[name], before[name])


def test_photos_weigh_alike_and_those_without_components_not_at_all() -> None:
    config = SgrConfig(min_area=1)
    torch.manual_seed(0)
    p = torch.rand(2, 4, 4, 4).softmax(1)
    one = torch.zeros_like(MASKS)
    one[:, 0] = True
    both, empty = torch.cat([MASKS, one]), torch.cat([MASKS, torch.zeros_like(MASKS)])
    first, second = (
        region_losses(p[i : i + 1], targets(m), config) for i, m in enumerate((MASKS, one))
    )
    for name in first:
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(region_losses(p, targets(both), config)[name], mean)
        torch.testing.assert_close(region_losses(p, targets(empty), config)[name], first[name])


@pytest.mark.parametrize("union", ["prod", "max"])
@pytest.mark.parametrize("focal", [True, False])
def test_gradients_are_finite_at_the_ends(union: str, focal: bool) -> None:
    """Regions of exactly 0 and 1, right and wrong, and components without a token."""
    config = SgrConfig(union=union, focal=focal, ensure_cover=False)
    for p in (ideal(), ideal().flip(3), torch.zeros(1, 4, 4, 4), torch.ones(1, 4, 4, 4)):
        p.requires_grad_()
        loss = sum(region_losses(p, targets(MASKS), config).values())
        assert torch.isfinite(loss)
        loss.backward()
        assert p.grad is not None
        assert p.grad.isfinite().all()
