"""Head ece in numbers: parameters and cost of the release; any backbone, class count and photo."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.cost import Cost, cost
from stages.nets.heads import HEADS
from stages.nets.heads.ece import EceHead, chosen_levels, doublings
from stages.nets.losses import Criterion
from stages.nets.segmenter import build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import EceConfig, HeadConfig

CHANNELS, STRIDES, CLASSES = [8, 12, 16, 20], [4, 8, 16, 32], 5
SMALL = EceConfig(channels=16, heads=2, mlp_ratio=2)


def maps_of(size: tuple[int, int], channels: Sequence[int], strides: Sequence[int]) -> list[Tensor]:
    levels = zip(channels, strides, strict=True)
    return [torch.randn(2, c, size[0] // s, size[1] // s) for c, s in levels]


def labels_of(classes: int) -> Tensor:
    labels = torch.zeros(2, 64, 96, dtype=torch.long)
    labels[0, :32] = 1
    labels[1, :, 48:] = classes - 1
    labels[:, -3:] = 255
    return labels


class Widths(nn.Module):
    """A head on maps of the right sizes and no backbone, on a device that holds no numbers."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.channels = channels
        config = HeadConfig(ece=EceConfig(channels=256))
        with torch.device("meta"):
            self.head = HEADS["ece"](channels, STRIDES, classes, config, None)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        levels = zip(self.channels, STRIDES, strict=True)
        empty = [torch.empty(1, c, height // s, width // s, device="meta") for c, s in levels]
        return self.head(empty)[0]


TABLE = [  # channels, classes, parameters in M, multiply-adds in G at 512 and at 640 pixels a side
    ((128, 256, 512, 1024), 150, 9.89, 60.2, 93.8),
    ((128, 256, 512, 1024), 19, 9.64, 57.9, None),
    ((192, 384, 768, 1536), 150, 13.19, 62.7, 97.8),
    ((256, 512, 1024, 2048), 150, 17.71, 66.0, 103.0),
    ((256, 512, 1024, 2048), 19, 17.46, 63.8, None),
    ((32, 64, 160, 256), 150, 7.25, 57.9, 90.3),
    ((32, 64, 160, 256), 19, 7.00, 55.7, None),
]


@pytest.mark.parametrize(("channels", "classes", "params", "at_512", "at_640"), TABLE)
def test_sizes_are_those_of_the_release(
    channels: tuple[int, ...], classes: int, params: float, at_512: float, at_640: float | None
) -> None:
    network = Widths(channels, classes)
    found: Cost = cost(network, (512, 512))
    assert found.params / 1e6 == pytest.approx(params, abs=0.005)
    assert found.multiply_adds / 1e9 == pytest.approx(at_512, abs=0.06)
    if at_640 is not None:
        assert cost(network, (640, 640)).multiply_adds / 1e9 == pytest.approx(at_640, abs=0.06)


def test_parameters_of_each_part_are_those_of_the_release() -> None:
    head = Widths((128, 256, 512, 1024), 150).head
    assert isinstance(head, EceHead)

    def millions(*modules: nn.Module) -> float:
        return sum(p.numel() for module in modules for p in module.parameters()) / 1e6

    laterals = millions(*(one.lateral for one in head.reconstruct))
    assert laterals == pytest.approx(0.49, abs=0.005)
    assert millions(head.reconstruct) - laterals == pytest.approx(2.45, abs=0.005)
    assert millions(head.attend) == pytest.approx(2.41, abs=0.005)
    assert millions(head.aggregate) == pytest.approx(2.36, abs=0.005)
    assert millions(head.update) == pytest.approx(0.99, abs=0.005)
    assert millions(head.enlarge) == pytest.approx(0.83, abs=0.005)
    assert millions(head.embed) == pytest.approx(0.23, abs=0.005)


@pytest.mark.parametrize(
    ("strides", "finest", "levels", "stride"),
    [
        ([4, 8, 16, 32], 4, (0, 1, 2, 3), 4),
        ([4, 8, 16, 16], 4, (0, 1, 2, 3), 4),
        ([4, 8, 16, 16], 8, (1, 2, 3), 8),
        ([16, 16, 16, 16], 4, (0, 1, 2, 3), 16),
        ([8, 16], 4, (0, 1), 8),
        ([14], 4, (0,), 14),
        ([2, 4, 8, 16, 32], 1, (1, 2, 3, 4), 4),
    ],
)
def test_levels_of_any_backbone(
    strides: list[int], finest: int, levels: tuple[int, ...], stride: int
) -> None:
    config = SMALL.model_copy(update={"finest_stride": finest})
    channels = [6 + i for i in range(len(strides))]
    head = HEADS["ece"](channels, strides, 3, HeadConfig(ece=config), None)
    height, width = (84, 112) if stride == 14 else (96, 64)
    given = maps_of((height, width), channels, strides)
    read = [m if i in levels else torch.zeros(2, 0, 1, 1) for i, m in enumerate(given)]
    logits, aux = head.train()(read)
    assert (head.levels, head.stride) == (levels, stride)
    assert logits.shape == aux["supervised"].shape == (2, 3, height // stride, width // stride)
    labels = torch.zeros(2, height, width, dtype=torch.long)
    loss = head.loss(aux, labels, head.targets(labels))
    assert loss.isfinite()
    loss.backward()


def test_a_deep_map_at_the_stride_of_another_is_enlarged_no_further() -> None:
    head = EceHead(CHANNELS, [4, 8, 16, 16], CLASSES, SMALL)
    assert [len(grow) for grow in head.enlarge] == [0, 1, 2, 2]  # type: ignore[arg-type]
    assert [doublings(s, 4) for s in (4, 8, 12, 16, 32)] == [0, 1, 1, 2, 3]


def test_settings_that_cannot_be_met_name_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"finest_stride=64 .* strides \[4, 8\]: set it to 8"):
        chosen_levels([4, 8], 64)
    with pytest.raises(ValueError, match="fine to coarse"):
        chosen_levels([8, 4], 4)
    with pytest.raises(ValueError, match=r"channels=16 is no multiple of ece\.heads=3"):
        EceHead(CHANNELS, STRIDES, CLASSES, SMALL.model_copy(update={"heads": 3}))


@pytest.mark.parametrize("classes", [2, 3, 19, 60, 254])
def test_any_class_count(classes: int) -> None:
    torch.manual_seed(0)
    head = EceHead(CHANNELS, STRIDES, classes, SMALL).train()
    labels = labels_of(classes)
    logits, aux = head(maps_of((64, 96), CHANNELS, STRIDES))
    loss = Criterion(head, stride=8, lovasz=0.5)(logits, aux, labels, None, head.targets(labels))
    assert logits.shape == (2, classes, 16, 24)
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("size", [(512, 512), (520, 616)])
def test_released_sizes_run(size: tuple[int, int]) -> None:
    tiny = EceConfig(channels=8, heads=2, mlp_ratio=1)
    height, width = (-(-side // 32) * 32 for side in size)  # as the backbone pads
    head = EceHead(CHANNELS, STRIDES, CLASSES, tiny).eval()
    with torch.no_grad():
        logits, _ = head(maps_of((height, width), CHANNELS, STRIDES))
    assert logits.shape == (2, CLASSES, height // 4, width // 4)
    assert logits.isfinite().all()


def graph_of() -> ClassGraph:
    embeddings = np.ones((CLASSES - 1, 3), np.float32)
    names = tuple(f"class {i}" for i in range(CLASSES - 1))
    return ClassGraph(names, embeddings, np.eye(CLASSES - 1, dtype=np.float32), {})


@pytest.mark.parametrize("size", [(61, 35), (1, 1), (64, 96)])
def test_file_and_back_and_photos_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    config, graph = HeadConfig(ece=SMALL), graph_of()
    network = build_segmenter(backbone, "ece", config, classes=CLASSES, graph=graph).eval()
    save_segmenter(tmp_path, network, head="ece", config=config, graph=graph, card={})
    photos = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    assert torch.equal(load_segmenter(tmp_path)(photos).logits, network(photos).logits)
    labels = network.predict(photos)
    assert labels.shape == (2, *size)
    assert labels.max() < CLASSES


@pytest.mark.parametrize(("name", "stride"), [("resnet10t", 32), ("mobilenetv2_035", 16)])
def test_a_step_through_a_backbone(name: str, stride: int) -> None:
    torch.manual_seed(0)
    backbone = Backbone(name, output_stride=stride, frozen_norm=False)
    network = build_segmenter(
        backbone, "ece", HeadConfig(ece=SMALL), classes=CLASSES, graph=None
    ).train()
    labels = labels_of(CLASSES)
    logits, aux = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    loss = Criterion(network.head, stride=8, lovasz=0.0)(logits, aux, labels, None, {})
    loss.backward()
    assert loss.isfinite()
    stem = next(backbone.parameters()).grad
    assert stem is not None
    assert stem.any()


def test_a_step_in_half_precision() -> None:
    torch.manual_seed(0)
    head, labels = EceHead(CHANNELS, STRIDES, CLASSES, SMALL).train(), labels_of(CLASSES)
    with torch.autocast("cpu", torch.bfloat16):
        logits, aux = head(maps_of((64, 96), CHANNELS, STRIDES))
    loss = Criterion(head, stride=8, lovasz=0.0)(logits, aux, labels, None, head.targets(labels))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
