"""What every head promises, whichever backbone it stands on."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.decoder import resized
from stages.nets.heads import HEADS, Head
from stages.nets.losses import Criterion
from stages.nets.segmenter import Segmenter, build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import EceConfig, GrmConfig, HeadConfig, SgrConfig

BACKBONES = ["test_resnet", "mobilenetv2_100", "test_vit"]
SMALL = HeadConfig(
    width=16,
    step_width=8,
    dilations=(1, 2),
    grm=GrmConfig(width=12),
    sgr=SgrConfig(tokens=8),
    ece=EceConfig(channels=16),
)


@cache
def backbone_of(name: str) -> Backbone:
    torch.manual_seed(0)
    return Backbone(name, frozen_norm=False)


@cache
def graph_of(classes: int) -> ClassGraph:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(classes, 6)).astype(np.float32)
    adjacency = np.full((classes, classes), 1 / classes, np.float32)
    return ClassGraph(tuple(f"class {i}" for i in range(classes)), embeddings, adjacency, {})


def network(head: str, backbone: str, classes: int) -> Segmenter:
    net = backbone_of(backbone)
    net.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    graph = graph_of(classes - 1)
    return build_segmenter(net, head, SMALL, classes=classes, graph=graph)


def photos(*size: int, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), generator=rng, dtype=torch.uint8)


def labels(classes: int, *size: int) -> Tensor:
    """Blocks of classes, some of them ignored."""
    rng = torch.Generator().manual_seed(1)
    blocks = torch.randint(0, classes, (2, 3, 3), generator=rng)
    blocks[0, 0, 0] = 255
    rows, columns = (torch.arange(side) * 3 // side for side in size)
    return blocks[:, rows[:, None], columns]


def step(net: Segmenter, images: Tensor, truth: Tensor) -> Tensor:
    logits, aux = net(images)
    criterion = Criterion(net.head, stride=1, lovasz=0.0, class_weights=None)
    return criterion(logits, aux, truth, None, net.head.targets(truth))


def open_gates(net: nn.Module) -> None:
    """Parameters that start at 0 close a branch in the first step: the rest would get nothing."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)


@pytest.mark.parametrize("classes", [2, 81])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_the_first_loss_is_finite_and_reaches_every_parameter(
    head: str, backbone: str, classes: int
) -> None:
    net = network(head, backbone, classes).train()
    loss = step(net, photos(33, 47), labels(classes, 33, 47))
    assert torch.isfinite(loss)
    open_gates(net)
    step(net, photos(33, 47), labels(classes, 33, 47)).backward()
    silent = [n for n, p in net.head.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())
    zero = [n for n, p in net.head.named_parameters() if p.grad is not None and not p.grad.any()]
    assert zero == []


@pytest.mark.parametrize("size", [(1, 1), (33, 47)])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_every_pixel_of_any_photo_gets_a_class(
    head: str, backbone: str, size: tuple[int, int]
) -> None:
    net = network(head, backbone, 4).eval()
    found = net.predict(photos(*size))
    assert found.shape == (2, *size)
    assert found.max() <= 3


def on_patches_of_14(head: str) -> Head:
    """As on a DINOv2: no power of two divides the stride often."""
    torch.manual_seed(0)
    return HEADS[head]([6] * 4, [14] * 4, 4, SMALL, graph_of(3))


@pytest.mark.parametrize("head", HEADS)
def test_patches_of_14_pixels_will_do(head: str) -> None:
    made = on_patches_of_14(head).train()
    logits, aux = made([torch.randn(2, 6, 3, 4) for _ in range(4)])
    assert logits.shape == (2, 4, 42 // made.stride, 56 // made.stride)
    truth = labels(4, 40, 50)
    assert torch.isfinite(Criterion(made, stride=8, lovasz=0.0)(logits, aux, truth))


@pytest.mark.parametrize("head", ["none", "rsp"])
def test_cells_are_compared_with_the_pixels_they_stand_for(head: str) -> None:
    """Logits that are the labels themselves, on cells of 14 and of 7 pixels."""
    made = on_patches_of_14(head)
    cells = torch.randint(0, 4, (1, 56 // made.stride, 56 // made.stride))
    truth = cells.repeat_interleave(made.stride, 1).repeat_interleave(made.stride, 2)
    logits = 20.0 * nn.functional.one_hot(cells, 4).permute(0, 3, 1, 2).float()
    expected = nn.functional.cross_entropy(resized(logits, made.stride, (56, 56)), truth)
    found = Criterion(made, stride=8, lovasz=0.0)(logits, {}, truth)
    assert float(found) == pytest.approx(float(expected), rel=0.3)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_only_the_levels_that_a_head_names_are_read(head: str, backbone: str) -> None:
    net = network(head, backbone, 4).eval()
    with torch.no_grad():
        maps = net.backbone(photos(33, 47))
        cached = [
            m if i in net.head.levels else m.new_zeros(2, 0, 1, 1) for i, m in enumerate(maps)
        ]
        assert torch.equal(net.head(cached)[0], net.head(maps)[0])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_file_and_back_is_the_same_network(head: str, backbone: str, tmp_path: Path) -> None:
    net = network(head, backbone, 4)
    open_gates(net)
    net.eval()
    save_segmenter(tmp_path, net, head=head, config=SMALL, graph=graph_of(3), card={})
    again = load_segmenter(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(photos(33, 47)).logits, net(photos(33, 47)).logits)
