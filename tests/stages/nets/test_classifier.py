from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.classifier import Classifier, load_backbone, load_classifier, save_classifier
from stages.nets.classify_settings import NodesConfig
from stages.nets.graph_branch import SLOPE, GraphBranch
from stages.nets.tag_loss import Logits, focal_loss, tag_loss

NAMES = ("cat", "dog", "car")
ADJACENCY = np.array([[0.8, 0.2, 0], [0.15, 0.8, 0.05], [0, 0, 1]], np.float32)


def class_graph(names: tuple[str, ...] = NAMES) -> ClassGraph:
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    return ClassGraph(names, vectors, ADJACENCY.copy(), {"relation": "by hand"})


def tiny(graph: ClassGraph | None = None, **settings: object) -> Classifier:
    torch.manual_seed(0)
    backbone = Backbone("test_efficientnet", conv_head=True)
    options: dict[str, object] = {"hidden": 7, **settings}
    return Classifier(backbone, NAMES, graph, **options).eval()  # type: ignore[arg-type]


def photos(count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 40, 48), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("mode", ["as_intended", "as_released"])
def test_graph_branch_is_the_dense_formula(mode: str) -> None:
    torch.manual_seed(0)
    graph = class_graph()
    branch = GraphBranch(graph.embeddings, graph.adjacency, hidden=7, out=4, mode=mode)  # type: ignore[arg-type]
    a, e = torch.from_numpy(ADJACENCY), torch.tensor(graph.embeddings)
    e = functional.normalize(e) * 5**0.5
    nodes = functional.leaky_relu(a @ e @ branch.first.lin.weight.T, SLOPE)
    expected = a @ nodes @ branch.second.lin.weight.T
    if mode == "as_released":
        expected = functional.leaky_relu(expected, SLOPE)
    torch.testing.assert_close(branch(), expected)


def test_a_class_hears_from_its_row_alone() -> None:
    torch.manual_seed(0)
    graph = class_graph()
    branch = GraphBranch(graph.embeddings, graph.adjacency, hidden=7, out=4)
    before = branch().detach().clone()
    branch.embeddings[0] += 1.0  # cat: heard by cat and dog, not by car
    changed = (branch() != before).any(dim=1)
    assert changed.tolist() == [True, True, False]


def test_training_leaves_the_graph_alone_and_moves_everything_else() -> None:
    classifier = tiny(class_graph(), levels=2).train()
    assert classifier.graph is not None
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    optimiser = torch.optim.SGD(classifier.groups(lr=0.1, graph_lr=0.1, backbone_lr=0.1))
    loss = tag_loss(classifier(photos()), torch.eye(3)[:2], graph_weight=0.1)
    loss.backward()
    optimiser.step()
    after = classifier.state_dict()
    for name in ("graph.adjacency", "graph.embeddings"):
        assert torch.equal(before[name], after[name])
    parts = [*classifier.graph.parameters(), classifier.linear.weight]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parts)
    for name in ("graph.first.lin.weight", "graph.second.lin.weight", "linear.weight"):
        assert not torch.equal(before[name], after[name])


@pytest.mark.parametrize("backbone_lr", [None, 0.0, 0.1])
def test_every_trained_parameter_is_in_exactly_one_group(backbone_lr: float | None) -> None:
    classifier = tiny(class_graph())
    groups = classifier.groups(lr=0.3, graph_lr=0.2, backbone_lr=backbone_lr)
    listed = [id(p) for group in groups for p in group["params"]]
    backbone = {id(p) for p in classifier.backbone.parameters()}
    wanted = {id(p) for p in classifier.parameters()} - (set() if backbone_lr else backbone)
    assert len(listed) == len(set(listed))
    assert set(listed) == wanted
    assert [g["lr"] for g in groups] == [0.3, 0.2, *([backbone_lr] if backbone_lr else [])]


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("branch", ["linear", "graph", "fused"])
@torch.no_grad()
def test_scores_are_pooled_features_times_class_weights(levels: int, branch: str) -> None:
    classifier = tiny(class_graph(), levels=levels)
    pooled = classifier.pooled(photos())
    scores = classifier.score(pooled).of(branch)  # type: ignore[arg-type]
    weights = classifier.class_weights(branch)  # type: ignore[arg-type]
    torch.testing.assert_close(scores, pooled @ weights.T)
    assert pooled.shape[1] == sum(classifier.backbone.channels[-levels:])


def test_pooling_before_the_weights_equals_a_convolution_before_the_pooling() -> None:
    classifier = tiny()
    maps = classifier.features(photos())
    convolved = functional.conv2d(maps, classifier.linear.weight[..., None, None])
    expected = convolved.mean(dim=(2, 3))
    torch.testing.assert_close(classifier(photos()).of("linear"), expected)


def test_levels_of_several_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="no maps of one stride"):
        tiny(levels=4)


def test_without_a_graph_all_branches_are_linear() -> None:
    classifier = tiny()
    logits = classifier(photos())
    assert torch.equal(logits.of("fused"), logits.of("linear"))
    with pytest.raises(ValueError, match="no graph branch"):
        classifier.class_weights("graph")


def test_a_graph_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="another order"):
        tiny(class_graph(("dog", "cat", "car")))


def test_the_loss_adds_the_weighted_second_branch() -> None:
    linear, graph, tags = torch.randn(2, 1, 3), torch.randn(2, 1, 3), torch.eye(3)[:2]
    first = functional.multilabel_soft_margin_loss(linear[:, 0], tags)
    second = functional.multilabel_soft_margin_loss(graph[:, 0], tags)
    found = tag_loss(Logits(linear, graph), tags, graph_weight=0.3)
    torch.testing.assert_close(found, first + 0.3 * second)
    released = tag_loss(Logits(linear, graph), tags, graph_weight=0.3, mode="as_released")
    torch.testing.assert_close(released, first + 0.3 * focal_loss(graph[:, 0], tags))


def test_each_level_has_its_own_loss() -> None:
    logits, tags = torch.randn(2, 2, 3), torch.eye(3)[:2]
    single = [tag_loss(Logits(logits[:, [i]], None), tags, graph_weight=0.0) for i in range(2)]
    both = tag_loss(Logits(logits, None), tags, graph_weight=0.0)
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)


def test_focal_loss_by_hand_without_gradient_through_its_weight() -> None:
    logit = torch.tensor([[0.0]], requires_grad=True)
    loss = focal_loss(logit, torch.ones(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * np.log(2))
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0.25 * -0.5)


def test_dropout_works_in_training_only() -> None:
    classifier = tiny(dropout=0.5)
    pooled = torch.ones(1, classifier.linear.in_features)
    assert torch.equal(classifier.score(pooled).linear, classifier.score(pooled).linear)
    classifier.train()
    assert not torch.equal(classifier.score(pooled).linear, classifier.score(pooled).linear)


@pytest.mark.parametrize("graph", [None, class_graph()])
def test_a_saved_classifier_gives_the_same_bits(tmp_path: Path, graph: ClassGraph | None) -> None:
    nodes = NodesConfig(graph="seeded", width=4) if graph is not None else None
    classifier = tiny(graph, levels=2, nodes=nodes, recam=nodes is not None)
    save_classifier(classifier, tmp_path, extra={"seed": 3})
    again = load_classifier(tmp_path, class_graph())
    assert again.names == NAMES
    for ours, theirs in zip(classifier(photos()), again(photos()), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


def test_a_classifier_is_bound_to_its_graph(tmp_path: Path) -> None:
    save_classifier(tiny(class_graph()), tmp_path, extra={})
    other = class_graph()
    changed = ClassGraph(NAMES, other.embeddings, np.eye(3, dtype=np.float32), {})
    with pytest.raises(ValueError, match=r"another graph\.adjacency"):
        load_classifier(tmp_path, changed)
    with pytest.raises(ValueError, match="needs the class graph"):
        load_classifier(tmp_path, None)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    save_classifier(tiny(class_graph()), tmp_path / "a", extra={})
    save_classifier(tiny(), tmp_path / "b", extra={})
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        load_classifier(tmp_path / "a", class_graph())


def test_no_module_keeps_a_hook() -> None:
    classifier = tiny(class_graph())
    classifier(photos())
    assert all(not m._forward_hooks for m in classifier.modules() if isinstance(m, nn.Module))


@pytest.mark.parametrize("conv_head", [False, True])
def test_the_backbone_comes_back_alone_frozen_and_without_its_head(
    tmp_path: Path, conv_head: bool
) -> None:
    torch.manual_seed(0)
    classifier = Classifier(Backbone("test_efficientnet", conv_head=conv_head), NAMES, None).eval()
    save_classifier(classifier, tmp_path, extra={})
    backbone = load_backbone(tmp_path)
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    ours, theirs = backbone(photos()), classifier.backbone(photos())
    assert len(ours) == len(theirs) - conv_head
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=False))


def test_a_backbone_of_other_files_is_refused(tmp_path: Path) -> None:
    for name in ("test_efficientnet", "test_resnet"):
        save_classifier(Classifier(Backbone(name), NAMES, None), tmp_path / name, extra={})
    weights = tmp_path / "test_resnet" / "model.safetensors"
    weights.replace(tmp_path / "test_efficientnet" / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit model\.json"):
        load_backbone(tmp_path / "test_efficientnet")
