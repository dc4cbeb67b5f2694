"""Activation maps of the nodes and of ReCAM beside those of linear weights."""

import numpy as np
import pytest
import torch

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.cam import CamMaker, resampling
from stages.nets.classifier import Classifier, Mapped
from stages.nets.classify_settings import NodesConfig
from tests.stages.nets.test_cam import NAMES, photos

KINDS: tuple[Mapped, ...] = ("recam", "nodes", "readout")


def classifier() -> Classifier:
    torch.manual_seed(0)
    known = ClassGraph(NAMES, np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), {})
    nodes = NodesConfig(graph="dynamic", width=8)
    net = Classifier(Backbone("test_efficientnet"), NAMES, known, hidden=4, nodes=nodes, recam=True)
    return net.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("competition", [0.0, 1.0])
def test_the_map_of_a_mirrored_photo_is_the_mirrored_map(kind: Mapped, competition: float) -> None:
    make = CamMaker(classifier(), branch=kind, scales=(1.0,), competition=competition)
    photo = photos(37, 50)
    straight = make(photo, [[0, 2]])[0]
    assert straight.max() > 0
    assert torch.equal(make(photo.flip(-1), [[0, 2]])[0], straight.flip(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_one_scale_by_hand(kind: Mapped) -> None:
    net, photo = classifier(), photos(32, 48)
    make = CamMaker(net, branch=kind, scales=(1.0,), flip=False, competition=2.0)
    assert net.nodes is not None
    assert net.recam is not None
    with torch.no_grad():
        x = net.features(photo)
        rivals = torch.einsum("cd,dhw->chw", net.linear.weight, x[0])
        places = x.flatten(2).transpose(1, 2)
        evidence = {
            "recam": torch.einsum("cd,dhw->chw", net.linear.weight * net.recam.weight, x[0]),
            "nodes": rivals.sigmoid(),
            "readout": net.nodes.evidence(places, net.linear.weight)[0].view_as(rivals),
        }[kind]
    maps = evidence.relu() * rivals.softmax(dim=0) ** 2
    rows = resampling(2, stride=16, length=32, target=8, shift=net.backbone.shift).float()
    columns = resampling(3, stride=16, length=48, target=12, shift=net.backbone.shift).float()
    expected = torch.stack([rows @ maps[c] @ columns.T for c in (0, 1)])
    torch.testing.assert_close(make(photo, [[0, 1]])[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_no_hook_and_no_gradient_is_left(kind: Mapped) -> None:
    net = classifier()
    maps = CamMaker(net, branch=kind, scales=(1.0,))(photos(32, 32), [[0, 1]])[0]
    assert not maps.requires_grad
    assert all(not m._forward_hooks and not m._backward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_has_its_own_maps_whatever_its_batch(kind: Mapped) -> None:
    make = CamMaker(classifier(), branch=kind, scales=(1.0, 0.5))
    batch = photos(40, 48, count=3)
    together = make(batch, [[1], [0, 2], []])
    for at, classes in enumerate([[1], [0, 2], []]):
        alone = make(batch[at : at + 1], [classes])[0]
        torch.testing.assert_close(together[at], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_not_there_is_named(kind: Mapped) -> None:
    net = Classifier(Backbone("test_efficientnet"), NAMES, None)
    with pytest.raises(ValueError, match=r"cams\.classifier to linear"):
        CamMaker(net, branch=kind)
