import torch
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from stages.nets.backbone import Backbone
from stages.nets.cost import cost
from stages.nets.heads import HEADS
from stages.nets.heads.aspp import AsppHead
from stages.nets.heads.deeplabv3plus import DeepLabV3PlusHead
from stages.nets.segmenter import Segmenter
from stages.nets.settings import AsppConfig, HeadConfig

CHANNELS, STRIDES = [256, 512, 1024, 2048], [4, 8, 16, 16]


def params(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_as_many_parameters_as_torchvision_has() -> None:
    with torch.device("meta"):
        ours = HEADS["aspp"](CHANNELS, STRIDES, 21, HeadConfig(width=256), None)
        theirs = DeepLabHead(2048, 21)
    assert params(ours) == params(theirs) == 16_130_837


@torch.no_grad()
def test_the_same_weights_give_torchvision_s_numbers() -> None:
    torch.manual_seed(0)
    ours = AsppHead([12], [16], 3, HeadConfig(width=256, dropout=0.0)).eval()
    theirs = DeepLabHead(12, 3, atrous_rates=(6, 12, 18)).eval()
    renamed = dict(zip(ours.state_dict(), theirs.state_dict(), strict=True))
    ours.load_state_dict({name: theirs.state_dict()[t] for name, t in renamed.items()})
    x = torch.randn(2, 12, 9, 7)
    torch.testing.assert_close(ours([x])[0], theirs(x), rtol=1e-4, atol=1e-5)


def test_rates_span_the_same_pixels_at_every_stride() -> None:
    config = HeadConfig(width=8, aspp=AsppConfig(rates=(6, 12, 18)))
    rates = {s: AsppHead([4], [s], 3, config).aspp.rates for s in (8, 14, 16, 32)}
    assert rates == {8: [12, 24, 36], 14: [7, 14, 21], 16: [6, 12, 18], 32: [3, 6, 9]}


def test_a_batch_of_one_photo_trains() -> None:
    """Its pooled branch holds one value a channel, which has no variance; so does a 1 x 1 map."""
    head = AsppHead([4], [16], 3, HeadConfig(width=8)).train()
    for size in ((3, 5), (1, 1)):
        head([torch.randn(1, 4, *size)])[0].square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    norm = head.aspp.pool[1]
    assert torch.equal(norm.running_mean, torch.zeros(8))  # type: ignore[arg-type]
    head([torch.randn(2, 4, 3, 5)])
    assert not torch.equal(norm.running_mean, torch.zeros(8))  # type: ignore[arg-type]


def test_deeplabv3plus_adds_its_decoder_to_the_same_pooling() -> None:
    with torch.device("meta"):
        head = HEADS["deeplabv3plus"](CHANNELS, STRIDES, 21, HeadConfig(width=256), None)
        plain = HEADS["aspp"](CHANNELS, STRIDES, 21, HeadConfig(width=256), None)
    low = 256 * 48 + 2 * 48
    refine = 9 * (256 + 48) * 256 + 9 * 256 * 256 + 4 * 256
    assert isinstance(head, DeepLabV3PlusHead)
    assert isinstance(plain, AsppHead)
    assert params(head) == params(plain.aspp) + low + refine + 257 * 21
    assert (head.stride, head.levels) == (4, (0, 3))
    assert (plain.stride, plain.levels) == (16, (3,))


def test_resnet50_costs_what_the_reference_costs() -> None:
    """torchvision's DeepLabV3, 19 classes, convolutions only: 39.6 M, 48.4 and 163.6 GMACs."""
    for stride, gmacs in ((16, 48.4), (8, 163.6)):
        with torch.device("meta"):
            backbone = Backbone("resnet50", output_stride=stride)
            head = HEADS["aspp"](
                backbone.channels, backbone.strides, 19, HeadConfig(width=256), None
            )
            price = cost(Segmenter(backbone, head), (512, 512))
        assert round(price.multiply_adds / 1e9, 1) == gmacs
        assert round(price.params / 1e6, 1) == 39.6
