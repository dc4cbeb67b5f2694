"""The network as a whole: any size, its place on the photo, its file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.segmenter import Segmenter, build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import GrmConfig, HeadConfig

NAMES = ("a", "b", "c")
SMALL = HeadConfig(width=16, step_width=8, dilations=(1,), grm=GrmConfig(width=12))


def graph_of(names: tuple[str, ...] = NAMES) -> ClassGraph:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(len(names), 6)).astype(np.float32)
    adjacency = np.full((len(names), len(names)), 1 / len(names), np.float32)
    return ClassGraph(names, embeddings, adjacency, {})


def network(head: str = "grm") -> Segmenter:
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    built = build_segmenter(backbone, head, SMALL, classes=4, graph=graph_of())
    if head == "grm":
        torch.nn.init.constant_(built.head.grm.gamma, 0.5)
    return built.eval()


def photos(*size: int, count: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("head", ["none", "grm"])
@pytest.mark.parametrize("size", [(64, 48), (61, 35), (1, 1)])
def test_every_pixel_of_any_photo_gets_a_class(head: str, size: tuple[int, int]) -> None:
    labels = network(head).predict(photos(*size))
    assert labels.shape == (2, *size)
    assert labels.dtype == torch.uint8
    assert labels.max() <= 3


def test_bytes_and_floats_are_the_same_photo() -> None:
    images = photos(48, 40)
    net = network()
    assert torch.equal(net(images).logits, net(images.float()).logits)


def test_padding_at_the_end_leaves_the_pixels_of_a_local_network_in_place() -> None:
    """The logits of a photo start at its top left: their cells lie `stride` pixels apart."""
    net = network("none")
    images = photos(61, 35)
    logits = net(images).logits
    assert logits.shape[2:] == (64 // net.head.stride, 48 // net.head.stride)
    full = net.full_size(logits, (61, 35))
    assert torch.equal(full.argmax(1).to(torch.uint8), net.predict(images))


def test_many_classes_are_compared_some_at_a_time() -> None:
    net = network("none")
    logits = torch.randn(2, 600, 16, 12, generator=torch.Generator().manual_seed(0))
    logits[:, 580:, :8] += 3
    labels = net.winner(logits, (61, 35))
    assert labels.dtype == torch.int16
    assert torch.equal(labels.long(), net.full_size(logits, (61, 35)).argmax(1))
    assert net.winner(logits[:, :255], (61, 35)).dtype == torch.uint8


def test_one_scale_without_flip_is_the_plain_prediction_and_flip_is_symmetric() -> None:
    net = network()
    images = photos(64, 64)
    assert torch.equal(net.predict(images, scales=(1.0,)), net.predict(images))
    both = net.predict(images, flip=True)
    mirrored = net.predict(images.flip(3), flip=True).flip(2)
    assert (both == mirrored).float().mean() > 0.99
    assert net.predict(images, scales=(0.5, 1.0, 1.5)).shape == (2, 64, 64)


def test_file_and_back_is_the_same_network_with_its_graph(tmp_path: Path) -> None:
    net = network()
    save_segmenter(tmp_path, net, head="grm", config=SMALL, graph=graph_of(), card={"seed": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    for graph in (None, graph_of()):
        again = load_segmenter(tmp_path, graph)
        assert not again.training
        assert torch.equal(again(photos(48, 40)).logits, net(photos(48, 40)).logits)
    described = json.loads((tmp_path / "model.json").read_text())
    assert described["names"] == list(NAMES)
    assert described["weights"]["weights"] == "scratch"
    assert described["card"] == {"seed": 1}


def test_file_of_other_classes_or_damaged_is_refused(tmp_path: Path) -> None:
    save_segmenter(tmp_path, network(), head="grm", config=SMALL, graph=graph_of(), card={})
    with pytest.raises(ValueError, match="same names in another order"):
        load_segmenter(tmp_path, graph_of(("b", "a", "c")))
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{tmp_path.name} holds no usable"):
        load_segmenter(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_segmenter(tmp_path / "nothing")


def test_unknown_head_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use none, aspp"):
        build_segmenter(network().backbone, "gmr", SMALL, classes=4, graph=graph_of())


def test_same_seed_gives_both_heads_the_same_logits_at_the_start() -> None:
    logits = []
    for head in ("none", "grm"):
        torch.manual_seed(0)
        backbone = Backbone("mobilenetv2_035", frozen_norm=False)
        net = build_segmenter(backbone, head, SMALL, classes=4, graph=graph_of()).eval()
        logits.append(net(photos(48, 40)).logits)
    assert torch.equal(*logits)
