"""The six checks of the propagator. Each mutant, a fake that costs less, must fail its own.

A check is a function that asserts; what is wrong with a fake is what shows that the checks can
fail.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.nets.cost import cost
from stages.nets.heads.rsp import Rse, RspHead, at_cells
from stages.nets.settings import HeadConfig, RspConfig

WIDTH, GROUPS = 8, 2
CHANNELS, STRIDES = [6, 10, 12, 12], [4, 8, 16, 16]


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


def head_of(config: RspConfig, classes: int = 5, **settings: object) -> RspHead:
    torch.manual_seed(0)
    whole = HeadConfig(width=WIDTH, rsp=config.model_copy(update={"groups": GROUPS}))
    return RspHead(CHANNELS, STRIDES, classes, whole.model_copy(update=settings))


def features(height: int, width: int, strides: Sequence[int] = STRIDES) -> list[Tensor]:
    """Of a photo padded to 16 pixels, so that the level at stride 32 is one of odd maps."""
    height, width = -(-height // 16) * 16, -(-width // 16) * 16
    return [
        normal(2, c, height // s, width // s, seed=i)
        for i, (c, s) in enumerate(zip(CHANNELS, strides, strict=True))
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

    top, left, bottom, right = moved(propagated, levels[3], (4, 4)).tolist()
    assert min(bottom - top, right - left) + 1 > 6 * 4  # one region's cells, at the finest level
    changed = levels[3].clone()
    changed[..., 4, 4] += 5.0
    assert torch.equal(not_propagated(changed), not_propagated(levels[3]))


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


@pytest.mark.parametrize(
    ("config", "message"),
    [(RspConfig(kernel=4), "take an odd one"), (RspConfig(groups=3), "groups=3 groups")],
)
def test_settings_that_do_not_work_say_so(config: RspConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rse(WIDTH, config)
