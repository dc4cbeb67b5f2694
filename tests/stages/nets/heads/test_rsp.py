"""The checks of the extractor. Each mutant, a fake that costs less, must fail its own.

A check is a function that asserts; fakes are what shows that the checks can fail. How extractors
work when stacked is checked in `test_rsp_head`.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.nets.cost import cost
from stages.nets.heads.rsp import Rse
from stages.nets.settings import RspConfig

WIDTH, GROUPS = 8, 2


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rse(kernel: int = 3, position: str = "add_to_key", kind: type[Rse] = Rse) -> Rse:
    """With an embedding of places of the size of the keys: at its start it hardly counts."""
    torch.manual_seed(0)
    config = RspConfig(kernel=kernel, groups=GROUPS, position=position)  # type: ignore[arg-type]
    made = kind(WIDTH, config)
    if made.position is not None:
        nn.init.normal_(made.position)
    return made


class PyramidSum(Rse):
    """Mutant: FPN's sum, the high level doubled."""

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        del key
        return query + functional.interpolate(value, size=query.shape[-2:], mode="nearest")


class Global(Rse):
    """Mutant: attention of every pixel to every cell."""

    def relate(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = (query.flatten(2).transpose(1, 2) @ key.flatten(2)).softmax(dim=2)
        return (value.flatten(2) @ weights.transpose(1, 2)).view(query.shape)


class LowKeys(Rse):
    """Mutant: keys and values from the low level, pooled."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        pooled = functional.avg_pool2d(low, 2, ceil_mode=True) + 0 * high
        return super().forward(low, pooled)


class ZeroPadded(Rse):
    """Mutant: cells off the map take part in the softmax, as zeros."""

    def _on_map(self, x: Tensor) -> Tensor:
        return torch.ones_like(super()._on_map(x))


def moved(out: Callable[[Tensor], Tensor], high: Tensor, cell: tuple[int, int]) -> Tensor:
    """The box of the output that `cell` reaches: top, left, bottom, right."""
    changed = high.clone()
    changed[..., cell[0], cell[1]] += 5.0
    places = ((out(changed) - out(high)).abs() > 1e-6).any(dim=1)[0].nonzero()
    return torch.cat([places.min(dim=0).values, places.max(dim=0).values])


def reaches_its_region(made: Rse) -> None:
    """(1) Golden: k = 3, cell (1, 2) -> rows 0..5, columns 2..7."""
    low, high = normal(1, WIDTH, 12, 14), normal(1, WIDTH, 6, 7, seed=1)
    query, key = made.query(low), made.key(high)
    box = moved(lambda h: made.relate(query, key, made.value(h)), high, (1, 2))
    assert box.tolist() == [0, 2, 5, 7]


def weighs_what_is_on_the_map(made: Rse) -> None:
    """(2) Weights of a pixel sum to 1 over cells of the map; a constant stays one."""
    low, high = normal(2, WIDTH, 8, 6), normal(2, WIDTH, 4, 3, seed=1)
    query, key = made.query(low), made.key(high)
    weights = made.weights(query, key)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, GROUPS, 4, 3, 4))
    read = made.relate(query, key, torch.ones_like(key))
    assert (read - 1.0).abs().max() < 1e-6
    assert weights[:, :, 0, 0, :, 0].abs().max() == 0  # the region's first cell is off the map


def reads_keys_and_values_above(made: Rse) -> None:
    """(3) What the high level says goes through keys and values, and through nothing else."""
    low, high = normal(1, WIDTH, 8, 8), normal(1, WIDTH, 4, 4, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(made(low, high).square().sum(), high)
    assert gradient.abs().max() > 0
    for layer in (made.key, made.value):
        nn.init.zeros_(layer.weight)
    (gradient,) = torch.autograd.grad(made(low, high).square().sum(), high)
    assert gradient.abs().max() == 0
    with pytest.raises(ValueError, match="not adjacent"):
        made(high, low)


CHECKS = [reaches_its_region, weighs_what_is_on_the_map, reads_keys_and_values_above]


@pytest.mark.parametrize("check", CHECKS)
def test_the_extractor_passes(check: Callable[[Rse], None]) -> None:
    with torch.no_grad() if check is not reads_keys_and_values_above else torch.enable_grad():
        check(rse())


@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (PyramidSum, reaches_its_region),
        (Global, reaches_its_region),
        (LowKeys, reads_keys_and_values_above),
        (ZeroPadded, weighs_what_is_on_the_map),
    ],
)
def test_a_fake_fails(mutant: type[Rse], check: Callable[[Rse], None]) -> None:
    with pytest.raises(AssertionError):
        check(rse(kind=mutant))


def naive(made: Rse, low: Tensor, high: Tensor) -> Tensor:
    """The formula, pixel by pixel and group by group."""
    query, key, value = made.query(low), made.key(high), made.value(high)
    d, r = WIDTH // GROUPS, made.kernel // 2
    read = torch.zeros_like(query)
    for i in range(low.shape[2]):
        for j in range(low.shape[3]):
            cells = [
                (n, i // 2 + dy, j // 2 + dx)
                for n, (dy, dx) in enumerate(
                    (y, x) for y in range(-r, r + 1) for x in range(-r, r + 1)
                )
                if 0 <= i // 2 + dy < high.shape[2] and 0 <= j // 2 + dx < high.shape[3]
            ]
            for g in range(GROUPS):
                own = slice(g * d, (g + 1) * d)
                scores = torch.stack([_score(made, query, key, g, c, (i, j)) for c in cells])
                values = torch.stack([value[0, own, y, x] for _, y, x in cells])
                read[0, own, i, j] = scores.softmax(0) @ values
    return made.out(read)


def _score(
    made: Rse,
    query: Tensor,
    key: Tensor,
    g: int,
    cell: tuple[int, int, int],
    pixel: tuple[int, int],
) -> Tensor:
    d, (n, y, x), (i, j) = WIDTH // GROUPS, cell, pixel
    own = slice(g * d, (g + 1) * d)
    keyed, added = key[0, own, y, x], torch.zeros(())
    if made.position is not None and made.on_key:
        keyed = keyed + made.position[g, :, n]
    elif made.position is not None:
        added = made.position[g, 0, n]
    return query[0, own, i, j] @ keyed / d**0.5 + added


@pytest.mark.parametrize("position", ["none", "add_to_key", "bias"])
@pytest.mark.parametrize(("kernel", "size"), [(3, (8, 6)), (5, (7, 5)), (3, (1, 1)), (1, (3, 4))])
@torch.no_grad()
def test_the_efficient_form_equals_a_loop_also_on_odd_maps(
    position: str, kernel: int, size: tuple[int, int]
) -> None:
    made = rse(kernel, position)
    low = normal(1, WIDTH, *size)
    high = normal(1, WIDTH, -(-size[0] // 2), -(-size[1] // 2), seed=1)
    assert (made(low, high) - naive(made, low, high)).abs().max() < 1e-6


@torch.no_grad()
def test_without_a_question_the_answer_is_the_mean_of_the_region() -> None:
    made = rse()
    value = normal(1, WIDTH, 5, 4)
    ones = functional.pad(torch.ones(1, 1, 5, 4), (1, 1, 1, 1))
    total = functional.avg_pool2d(functional.pad(value, (1, 1, 1, 1)), 3, stride=1)
    means = (total / functional.avg_pool2d(ones, 3, stride=1)).repeat_interleave(2, 2)
    read = made.relate(torch.zeros(1, WIDTH, 10, 8), normal(1, WIDTH, 5, 4, seed=1), value)
    torch.testing.assert_close(read, means.repeat_interleave(2, 3))


@torch.no_grad()
def test_a_key_like_the_question_draws_the_weight() -> None:
    made = rse(position="none")
    query, key = normal(1, WIDTH, 8, 8), torch.zeros(1, WIDTH, 4, 4)
    key[0, :, 1, 2] = 50 * query[0, :, 2, 2]  # cell (1, 2) is right of the pixel's own (1, 1)
    weights = made.weights(query, key)[0, :, 1, 1, 0]  # g n
    assert weights.argmax(dim=1).tolist() == [5, 5]
    assert weights.max(dim=1).values.min() > 0.99


@pytest.mark.parametrize("position", ["none", "add_to_key", "bias"])
@torch.no_grad()
def test_only_an_embedding_of_places_tells_cells_of_a_region_apart(position: str) -> None:
    """The middle pixels of a 3 x 3 map see all nine cells: shuffled, only their places differ."""
    made = rse(3, position)
    low, high = normal(1, WIDTH, 6, 6), normal(1, WIDTH, 3, 3, seed=1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    shuffled = high.flatten(2)[:, :, order].view_as(high)
    middle = [made(low, h)[:, :, 2:4, 2:4] for h in (high, shuffled)]
    assert torch.allclose(*middle, atol=1e-6) == (position == "none")


class Alone(nn.Module):
    """An extractor on maps of zeros, for the counter."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        self.extract = Rse(width, RspConfig(kernel=kernel))

    def forward(self, images: Tensor) -> Tensor:
        b, _, h, w = images.shape
        low = torch.zeros(b, self.width, h, w, device=images.device)
        return self.extract(low, low[:, :, : h // 2, : w // 2])


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("width", "size"), [(88, (256, 512)), (16, (6, 10))])
def test_the_counter_finds_the_closed_form(kernel: int, width: int, size: tuple[int, int]) -> None:
    """(6) 2 C^2 HW of the low level, 2 C^2 HW of the high one, 2 HW k^2 C between them."""
    with torch.device("meta"):
        counted = cost(Alone(width, kernel), size).multiply_adds
    low, high = size[0] * size[1], size[0] * size[1] // 4
    closed = 2 * width**2 * (low + high) + 2 * low * kernel**2 * width
    assert abs(counted / closed - 1) < 0.01


@pytest.mark.parametrize(
    ("width", "kernel", "gmacs"), [(88, 3, 3.6), (160, 5, 12.4), (224, 7, 25.4), (256, 5, 30.4)]
)
def test_three_levels_cost_what_the_table_says(width: int, kernel: int, gmacs: float) -> None:
    """At 1024 x 2048 with levels at strides 4 to 32."""
    with torch.device("meta"):
        counts = [
            cost(Alone(width, kernel), (1024 // s, 2048 // s)).multiply_adds for s in (4, 8, 16)
        ]
    assert sum(counts) / 1e9 == pytest.approx(gmacs, rel=0.01)


@pytest.mark.parametrize(
    ("config", "message"),
    [(RspConfig(groups=3), "groups=3 groups"), (RspConfig(groups=5), "groups=5 groups")],
)
def test_settings_that_do_not_work_say_so(config: RspConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rse(WIDTH, config)
