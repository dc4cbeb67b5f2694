from typing import Any

import numpy as np
import pytest
import torch

from stages.nets.node_branch import NodeBranch, NodeGraph, attention, gathered

GRAPHS: tuple[NodeGraph, ...] = ("static", "dynamic", "seeded", "uniform")
ADJACENCY = np.array(
    [[0.7, 0.3, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0, 1, 0], [0.2, 0.2, 0.2, 0.4]], np.float32
)
IDENTITY = np.eye(4, dtype=np.float32)


def branch(adjacency: np.ndarray = ADJACENCY, **settings: Any) -> NodeBranch:
    torch.manual_seed(0)
    return NodeBranch(adjacency, inward=6, width=8, **settings).eval()


LOOKS = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
"""Linear weights: where each class looks."""


def places(photos: int = 2, count: int = 15) -> torch.Tensor:
    return torch.randn(photos, count, 6, generator=torch.Generator().manual_seed(1))


def test_the_formula_by_hand() -> None:
    net, x = branch(graph="static"), places(1)
    looked = torch.sigmoid(x[0] @ LOOKS.T)
    z = looked.T @ x[0] / 15 @ net.project.weight.T
    a = torch.from_numpy(ADJACENCY)
    hidden = torch.nn.functional.leaky_relu(a @ z @ net.first.weight.T, 0.2)
    last = a @ hidden @ net.second.weight.T + z
    expected = (last * net.weights).sum(dim=1) + net.bias
    torch.testing.assert_close(net(x, LOOKS)[0], expected)


@pytest.mark.parametrize("graph", GRAPHS)
def test_rows_of_the_graph_sum_to_one(graph: NodeGraph) -> None:
    found = branch(graph=graph).nodes(gathered(places(), LOOKS))
    torch.testing.assert_close(found.adjacency.sum(dim=2), torch.ones(2, 4))
    assert found.adjacency.min() >= 0
    assert torch.equal(found.adjacency[0], found.adjacency[1]) == (graph in ("static", "uniform"))


def test_an_identity_graph_passes_no_message_between_classes() -> None:
    """Moving where one class looks changes its own score alone; any real graph carries it on."""
    for net, heard in (
        (branch(IDENTITY, graph="static"), [True, False, False, False]),
        (branch(graph="static"), [True, True, False, True]),
        (branch(IDENTITY, graph="uniform"), [True] * 4),
        (branch(IDENTITY, graph="dynamic"), [True] * 4),
    ):
        elsewhere = LOOKS.clone()
        elsewhere[0] += 1.0
        change = net(places(), elsewhere) - net(places(), LOOKS)
        assert (change.abs() > 1e-6).any(dim=0).tolist() == heard


@pytest.mark.parametrize("graph", GRAPHS)
def test_permuting_the_classes_permutes_scores_and_evidence(graph: NodeGraph) -> None:
    net, order = branch(graph=graph), [2, 0, 3, 1]
    other = branch(ADJACENCY[order][:, order], graph=graph)
    other.load_state_dict({**net.state_dict(), "adjacency": other.adjacency})
    with torch.no_grad():
        for part in (other.weights, other.bias):
            part.copy_(part[order].clone())
    looks = LOOKS[order]
    torch.testing.assert_close(other(places(), looks), net(places(), LOOKS)[:, order])
    torch.testing.assert_close(
        other.evidence(places(), looks), net.evidence(places(), LOOKS)[:, order]
    )


@pytest.mark.parametrize(("rho", "like"), [(0.0, "static"), (1.0, "dynamic")])
def test_the_ends_of_rho_are_the_static_and_the_dynamic_graph(rho: float, like: NodeGraph) -> None:
    seeded, end, mixed = (
        branch(graph="seeded", rho=rho),
        branch(graph=like),
        branch(graph="seeded", rho=0.5),
    )
    for net in (end, mixed):
        net.load_state_dict(seeded.state_dict(), strict=False)
    torch.testing.assert_close(seeded(places(), LOOKS), end(places(), LOOKS))
    assert not torch.allclose(mixed(places(), LOOKS), end(places(), LOOKS))


def test_rho_is_learned_only_where_it_is_asked_for() -> None:
    assert "mixed" not in dict(branch(graph="seeded", rho=0.3).named_parameters())
    net = branch(graph="seeded", rho=0.3, learn_rho=True)
    torch.testing.assert_close(
        net(places(), LOOKS), branch(graph="seeded", rho=0.3)(places(), LOOKS)
    )
    net(places(), LOOKS).sum().backward()
    assert net.mixed.grad is not None
    assert net.mixed.grad != 0
    for settings in ({"graph": "static"}, {"graph": "seeded", "rho": 1.0}):
        with pytest.raises(ValueError, match="learned rho"):
            branch(learn_rho=True, **settings)


@pytest.mark.parametrize("graph", GRAPHS)
def test_training_moves_every_parameter_and_leaves_the_graph_alone(graph: NodeGraph) -> None:
    net = branch(graph=graph).train()
    before = net.adjacency.clone()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    torch.nn.functional.multilabel_soft_margin_loss(
        net(places(), LOOKS), torch.eye(4)[:2]
    ).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    optimiser.step()
    for _ in range(10):
        net(places(), LOOKS)
    assert torch.equal(net.adjacency, before)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_readout_of_all_places_is_the_score(graph: NodeGraph) -> None:
    net = branch(graph=graph)
    evidence = net.evidence(places(), LOOKS)
    torch.testing.assert_close(evidence.mean(dim=2) + net.bias, net(places(), LOOKS))


def test_the_readout_is_the_gradient_by_the_places_with_graph_and_attention_held() -> None:
    net, x = branch(graph="dynamic"), places(1)
    with torch.no_grad():
        found = net.nodes(gathered(x, LOOKS))
    looked = attention(x, LOOKS)[0]
    shares = torch.einsum("cn,nd->cnd", looked, x[0]).requires_grad_(True)
    z = net.project(shares.mean(dim=1))
    a = found.adjacency[0]
    inner = net.first(a @ z) * found.gates[0]
    scores = ((net.second(a @ inner) + z) * net.weights).sum(dim=1)
    for c in range(4):
        (gradient,) = torch.autograd.grad(scores[c], shares, retain_graph=True)
        parts = (gradient * shares).sum(dim=(0, 2)) * 15
        torch.testing.assert_close(net.evidence(x, LOOKS)[0, c], parts)


def test_order_of_the_places_does_not_matter_to_scores() -> None:
    net, x = branch(graph="seeded"), places()
    torch.testing.assert_close(net(x.flip(1), LOOKS), net(x, LOOKS))
    torch.testing.assert_close(net.evidence(x.flip(1), LOOKS).flip(2), net.evidence(x, LOOKS))


def test_dropout_works_in_training_only() -> None:
    net = branch(dropout=0.5)
    assert torch.equal(net(places(), LOOKS), net(places(), LOOKS))
    assert not torch.equal(net.train()(places(), LOOKS), net(places(), LOOKS))
