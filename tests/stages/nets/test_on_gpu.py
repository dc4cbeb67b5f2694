"""That nothing stays behind on the CPU: every path runs on a GPU that is not there.

Fake tensors know shape, dtype and device and hold no numbers; PyTorch refuses to mix their devices
as it does with real ones. What reads numbers back (`float(loss)`, `.numpy()`) is beyond them.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from knowledge.graph import ClassGraph
from stages.nets.affinity import Affinity, walked
from stages.nets.backbone import Backbone
from stages.nets.dense_features import dense_features
from stages.nets.heads import HEADS, Head
from stages.nets.heads.none import PlainHead
from stages.nets.losses import Criterion
from stages.nets.pixel_classifier import PixelClassifier
from stages.nets.segmenter import Segmenter
from stages.nets.settings import AffinityConfig, EceConfig, GrmConfig, HeadConfig, SgrConfig

CHANNELS, STRIDES, CLASSES = [6, 10, 12, 12], [4, 8, 16, 16], 4
SMALL = HeadConfig(
    width=16,
    step_width=8,
    dilations=(1,),
    grm=GrmConfig(width=12),
    sgr=SgrConfig(tokens=8, width=16),
    ece=EceConfig(channels=16),
)


def moved(module: nn.Module) -> None:
    """`module.to("cuda")` as it would be: registered tensors move, others stay."""
    for part in module.modules():
        for name, tensor in part._parameters.items():
            if tensor is not None:
                part._parameters[name] = nn.Parameter(tensor.new_empty(tensor.shape, device="cuda"))
        for name, tensor in part._buffers.items():
            if tensor is not None:
                part._buffers[name] = tensor.new_empty(tensor.shape, device="cuda")


def graph() -> ClassGraph:
    names = tuple(f"class {i}" for i in range(CLASSES - 1))
    adjacency = np.full((len(names), len(names)), 1 / len(names), np.float32)
    return ClassGraph(names, np.ones((len(names), 5), np.float32), adjacency, {})


def head_of(name: str) -> Head:
    return HEADS[name](CHANNELS, STRIDES, CLASSES, SMALL, graph())


def trains_and_predicts(head: Head) -> None:
    """One step up to the loss, with weights for classes and pixels, then one pass in eval mode."""
    labels = torch.arange(4).repeat_interleave(17).expand(2, 68, 68).contiguous()
    targets = head.targets(labels)
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved(head)
        maps = [
            torch.randn(2, channels, 80 // stride, 80 // stride, device="cuda")
            for channels, stride in zip(CHANNELS, STRIDES, strict=True)
        ]
        logits, aux = head.train()(maps)
        weights = torch.ones(CLASSES, device="cuda")
        criterion = Criterion(head, stride=8, lovasz=0.0, class_weights=weights)
        own = {name: value.to("cuda") for name, value in targets.items()}
        pixels = torch.ones(2, 68, 68, device="cuda")
        loss = criterion(logits, aux, labels.to("cuda"), pixels, own)
        assert loss.device.type == "cuda"
        assert head.eval()(maps)[0].device.type == "cuda"


@pytest.mark.parametrize("name", HEADS)
def test_every_head_stays_on_its_device(name: str) -> None:
    trains_and_predicts(head_of(name))


class Forgetful(PlainHead):
    """Mutant: a constant that no module knows of."""

    def __init__(self) -> None:
        super().__init__(CHANNELS, STRIDES, CLASSES, SMALL)
        self.scale = torch.ones(CLASSES, 1, 1)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits, aux = super().forward(features)
        return logits * self.scale, aux


def test_a_constant_that_stays_behind_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="two devices"):
        trains_and_predicts(Forgetful())


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035", "test_vit"])
def test_photos_are_predicted_and_walked_over_on_their_device(name: str) -> None:
    backbone = Backbone(name, frozen_norm=False)
    head = HEADS["none"](backbone.channels, backbone.strides, CLASSES, SMALL, None)
    segmenter = Segmenter(backbone, head).eval()
    settings = AffinityConfig(levels=2)
    pixels = PixelClassifier(sum(backbone.channels[-2:]), CLASSES)
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved(segmenter)
        moved(pixels)
        images = torch.zeros(2, 3, 61, 90, dtype=torch.uint8, device="cuda")
        found = [
            segmenter.predict(images),
            segmenter.predict(images, scales=(0.5, 1.5), flip=True),
        ]
        affinity = Affinity(backbone, images, settings)
        cams = torch.ones(3, 16, 23, device="cuda")
        found.append(walked(cams, affinity.of(1), affinity.grid, steps=2))
        with torch.inference_mode():
            maps, grid = dense_features(backbone, images, scale=2.0, levels=2)
            logits = pixels(torch.cat(maps, dim=1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            found.append(grid.to_maps(logits[0]))
        assert {one.device.type for one in found} == {"cuda"}
