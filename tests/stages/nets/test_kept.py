"""The weights that a training ends with: last, averaged, or those of the best epoch."""

import torch
from torch import nn

from stages.nets.kept import Kept


def trained(kept_of, steps: int = 6) -> tuple[nn.Linear, Kept, list[torch.Tensor]]:
    """A layer trained for some steps of SGD, with its weights after every step."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.3)
    kept = kept_of(layer, optimiser)
    seen = []
    for _ in range(steps):
        layer(torch.randn(4, 3)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        seen.append(layer.weight.detach().clone())
    return layer, kept, seen


def test_without_average_or_judge_the_last_weights_stay() -> None:
    layer, kept, seen = trained(lambda layer, optimiser: Kept(layer, optimiser))
    assert kept.epoch_done() == {}
    kept.finish()
    torch.testing.assert_close(layer.weight, seen[-1], rtol=0, atol=0)


def test_the_average_is_the_exponential_one() -> None:
    layer, kept, seen = trained(lambda layer, optimiser: Kept(layer, optimiser, decay=0.9))
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.9 * expected + 0.1 * weights
    torch.testing.assert_close(layer.weight, seen[-1], rtol=0, atol=0)  # training goes on as it was
    kept.finish()
    torch.testing.assert_close(layer.weight, expected)


def test_the_best_epoch_is_kept_and_an_equal_later_one_is_not() -> None:
    scores = iter([0.2, 0.7, 0.7, 0.1])
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    kept = Kept(layer, torch.optim.SGD(layer.parameters(), lr=1.0), judge=lambda _: next(scores))
    seen = []
    for _ in range(4):
        with torch.no_grad():
            layer.weight += 1
        seen.append(layer.weight.detach().clone())
        figures = kept.epoch_done()
    assert figures == {"tag_agreement": 0.1}
    kept.finish()
    torch.testing.assert_close(layer.weight, seen[1], rtol=0, atol=0)


def test_its_state_survives_a_checkpoint() -> None:
    def build() -> tuple[nn.Linear, Kept]:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
        return layer, Kept(layer, optimiser, decay=0.5, judge=total)

    def total(module: nn.Module) -> float:
        return float(module.get_parameter("weight").detach().sum())

    layer, kept = build()
    with torch.no_grad():
        layer.weight.fill_(0.1)
    kept._add()
    kept.epoch_done()
    state = {name: value.clone() for name, value in kept.state_dict().items()}
    assert not any(name.startswith("trained") for name in state)
    other, again = build()
    again.load_state_dict(state)
    assert float(again.score) == float(kept.score)
    again.finish()
    torch.testing.assert_close(other.weight, torch.full((2, 3), 0.1))
