"""The eight checks of the graph reasoning module. The released form must fail five of them.

A check is a function that asserts; what the released code gets wrong is the set of mutants that
shows that the checks can fail.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.heads import HEADS
from stages.nets.heads.grm import Grm, GrmHead, nodes_of
from stages.nets.heads.grm_released import ReleasedGrm
from stages.nets.heads.none import PlainHead
from stages.nets.optimiser import parameter_groups
from stages.nets.settings import GrmConfig, HeadConfig

CHANNELS, STRIDES = [8, 12, 16], [8, 16, 16]
P = 0.2
SMALL = HeadConfig(width=24, step_width=8, dilations=(1, 2), grm=GrmConfig(width=16))


def graph_of(classes: int = 5, width: int = 7) -> ClassGraph:
    """A random class graph whose rows give `P` to their neighbours."""
    rng = np.random.default_rng(classes)
    neighbours = rng.random((classes, classes)) * (1 - np.eye(classes))
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    adjacency = ((1 - P) * np.eye(classes) + P * neighbours).astype(np.float32)
    embeddings = rng.normal(size=(classes, width)).astype(np.float32)
    return ClassGraph(tuple(f"class {i}" for i in range(classes)), embeddings, adjacency, {})


def head_of(mode: str, *, graph: ClassGraph | None = None, seed: int = 0) -> GrmHead:
    graph = graph or graph_of()
    grm = SMALL.grm.model_copy(update={"mode": mode})
    config = SMALL.model_copy(update={"grm": grm})
    torch.manual_seed(seed)
    head = HEADS["grm"](CHANNELS, STRIDES, len(graph.names) + 1, config, graph)
    assert isinstance(head, GrmHead)
    return head


def maps(batch: int = 2, size: int = 4) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    sides = [size * 16 // stride for stride in STRIDES]
    return [
        torch.randn(batch, c, s, s, generator=rng) for c, s in zip(CHANNELS, sides, strict=True)
    ]


def opened(head: GrmHead) -> GrmHead:
    """With an open output gate, where there is one."""
    if isinstance(head.grm, Grm):
        nn.init.ones_(head.grm.gamma)
    return head


def pixels(head: GrmHead) -> Tensor:
    return head.plain.decoder(maps()).detach()


def everything_learns(head: GrmHead) -> None:
    """(a) A non-zero gradient for every parameter, and each in exactly one optimiser group."""
    labels = torch.randint(0, 6, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    logits, _ = opened(head).train()(maps())
    nn.functional.cross_entropy(logits, labels).backward()
    groups = parameter_groups([(head, 1e-3)], 1e-2)
    listed = [id(p) for group in groups for p in group["params"]]
    for name, parameter in head.grm.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.abs().sum() > 0, f"{name} has a gradient of zero"
        assert listed.count(id(parameter)) == 1, f"{name} is in {listed.count(id(parameter))}"


def predictions_repeat(head: GrmHead) -> None:
    """(b) Two passes in eval mode give the same bits."""
    opened(head).eval()
    assert torch.equal(head(maps())[0], head(maps())[0]), "two passes differ"


def graph_stays(head: GrmHead) -> None:
    """(c) The adjacency is as it was after ten passes in either mode."""
    before = head.grm.adjacency.clone()
    for mode in (True, False) * 5:
        head.train(mode)(maps())
    assert torch.equal(head.grm.adjacency, before), "the adjacency has changed"


def shares_route(head: GrmHead) -> None:
    """(e) What pixels take differs between nodes and between pixels."""
    x = pixels(head.eval())
    nodes = head.grm.read(x) if isinstance(head.grm, Grm) else head.grm.nodes()
    shares = head.grm.shares(x, nodes)  # b p n
    drawn = shares / shares.mean(dim=1, keepdim=True)  # each node's map, around 1
    assert drawn.std(dim=2).max() > 1e-3, "every node has the same map"
    assert drawn.std(dim=1).max() > 1e-3, "a node gives the same to every pixel"


def graph_mixes(head: GrmHead) -> None:
    """(g) A class receives the share p from its neighbours: no identity in disguise."""
    head.eval()(maps())
    used = head.grm.adjacency
    if isinstance(head.grm, ReleasedGrm):  # it normalises on the way
        scale = used.sum(dim=1).rsqrt()
        used = used * scale[:, None] * scale[None, :]
    off = (used - used.diag().diag()).sum(dim=1)[-5:]
    torch.testing.assert_close(off, torch.full((5,), P), atol=1e-5, rtol=0)


FAILED_BY_RELEASED = {
    "a": (everything_learns, "w1 has no gradient"),
    "b": (predictions_repeat, "two passes differ"),
    "c": (graph_stays, "the adjacency has changed"),
    "e": (shares_route, "every node has the same map"),
    "g": (graph_mixes, "not close"),
}


@pytest.mark.parametrize("check", [c for c, _ in FAILED_BY_RELEASED.values()])
def test_intended_module_passes(check: Callable[[GrmHead], None]) -> None:
    check(head_of("as_intended"))


@pytest.mark.parametrize(("check", "why"), FAILED_BY_RELEASED.values(), ids=FAILED_BY_RELEASED)
def test_released_module_is_rejected(check: Callable[[GrmHead], None], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check(head_of("as_released"))


def test_d_the_order_of_classes_means_nothing() -> None:
    """(d) Permuted classes, with their vote rows, permute the nodes and leave the output alone."""
    graph, order = graph_of(), [3, 0, 4, 1, 2]
    permuted = ClassGraph(
        tuple(graph.names[i] for i in order),
        graph.embeddings[order],
        graph.adjacency[np.ix_(order, order)],
        {},
    )
    plain = opened(head_of("as_intended", graph=graph)).eval()
    other = opened(head_of("as_intended"))
    rows = [0, *(i + 1 for i in order)]  # the background is the first node
    state = plain.grm.state_dict()
    adjacency, embeddings = nodes_of(permuted, True)
    state |= {"adjacency": adjacency, "embeddings": embeddings}
    state |= {name: state[name][rows] for name in ("vote.weight", "vote.bias")}
    other.grm.load_state_dict(state)
    x = pixels(plain)
    torch.testing.assert_close(other.grm.read(x), plain.grm.read(x)[:, rows])
    torch.testing.assert_close(other.grm(x), plain.grm(x))
    assert not torch.equal(plain.grm(x), x)


def test_d_permuting_the_graph_alone_changes_the_output() -> None:
    graph = graph_of()
    head = opened(head_of("as_intended")).eval()
    x = pixels(head)
    before = head.grm(x)
    head.grm.embeddings.copy_(nodes_of(graph, True)[1][[0, 2, 3, 4, 5, 1]])
    assert not torch.allclose(head.grm(x), before)


@pytest.mark.parametrize("training", [True, False])
def test_f_a_closed_gate_is_the_baseline_bit_for_bit(training: bool) -> None:
    torch.manual_seed(0)
    plain = HEADS["none"](CHANNELS, STRIDES, 6, SMALL, None).train(training)
    grm = head_of("as_intended", seed=0).train(training)
    outputs = []
    for head in (plain, grm):
        torch.manual_seed(5)
        outputs.append(head(maps())[0])
    assert torch.equal(*outputs)


def test_h_the_baseline_has_the_same_layers_with_the_same_start() -> None:
    torch.manual_seed(0)
    plain = HEADS["none"](CHANNELS, STRIDES, 6, SMALL, None)
    inner = head_of("as_intended", seed=0).plain
    assert isinstance(plain, PlainHead)
    assert plain.state_dict().keys() == inner.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, inner.state_dict()[name]), name


def test_released_graph_decays_to_the_identity() -> None:
    head = head_of("as_released").eval()
    x = pixels(head)
    shares = []
    for _ in range(100):
        head.grm(x)
        used = head.grm.adjacency
        shares.append(1 - float((used.diag() / used.sum(dim=1)).mean()))
    assert shares[0] == pytest.approx(P / 2, rel=1e-3)
    assert shares[-1] == pytest.approx(P / 101, rel=1e-3)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(("classes", "width", "size"), [(1, 3, 1), (2, 384, 3), (58, 16, 5)])
def test_any_class_count_vector_width_and_size(
    classes: int, width: int, size: int, background: bool
) -> None:
    graph = graph_of(classes, width) if classes > 1 else single(width)
    grm = SMALL.grm.model_copy(update={"background_node": background})
    config = SMALL.model_copy(update={"grm": grm})
    head = HEADS["grm"](CHANNELS, STRIDES, classes + 1, config, graph)
    logits, aux = opened(head).eval()(maps(1, size))
    assert logits.shape == (1, classes + 1, size * 2, size * 2)
    assert logits.isfinite().all()
    assert float(head.loss(aux, torch.zeros(1, 4, 4, dtype=torch.long), {})) == 0


def single(width: int) -> ClassGraph:
    return ClassGraph(("one",), np.ones((1, width), np.float32), np.ones((1, 1), np.float32), {})


def test_rows_of_the_mixed_adjacency_sum_to_one_and_rho_decides() -> None:
    head = head_of("as_intended").eval()
    nodes = head.grm.read(pixels(head))
    mixed = head.grm.mixed_adjacency(nodes)
    torch.testing.assert_close(mixed.sum(dim=2), torch.ones(2, 6))
    fixed = head_of("as_intended")
    fixed.grm.rho_logit.data.fill_(-30)
    torch.testing.assert_close(
        fixed.grm.mixed_adjacency(nodes), fixed.grm.adjacency.expand(2, -1, -1)
    )


def test_pixels_read_from_distant_pixels_through_the_nodes() -> None:
    """Reasoning is global: a change in one corner reaches the other through the class nodes."""
    head = opened(head_of("as_intended")).eval()
    x = pixels(head)
    changed = x.clone()
    changed[:, :, 0, 0] += 1
    moved = (head.grm(changed) - head.grm(x))[:, :, -1, -1]
    assert moved.abs().max() > 0


def test_graph_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="graph of 5 classes cannot serve 3"):
        HEADS["grm"](CHANNELS, STRIDES, 4, SMALL, graph_of())
    with pytest.raises(ValueError, match="reasons over a class graph"):
        HEADS["grm"](CHANNELS, STRIDES, 4, SMALL, None)


def test_graph_is_copied_not_shared() -> None:
    graph = replace(graph_of())
    head = head_of("as_released", graph=graph)
    head.eval()(maps())
    np.testing.assert_allclose(graph.adjacency.sum(axis=1), 1, atol=1e-6)
