"""Head sgr on photos of any size, with any count of tokens and classes; its training and file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.heads.sgr import SgrHead
from stages.nets.losses import Criterion
from stages.nets.segmenter import build_segmenter, load_segmenter, save_segmenter
from stages.nets.settings import SgrConfig
from tests.stages.nets.heads.sgr_cases import head_of, labels, maps, small


def graph_of(classes: int) -> ClassGraph:
    names = tuple(f"class {i}" for i in range(classes))
    return ClassGraph(
        names, np.eye(classes, dtype=np.float32), np.eye(classes, dtype=np.float32), {}
    )


@pytest.mark.parametrize("settings", [{"tokens": 1}, {"place": "before_decoder"}, {"layers": 0}])
@pytest.mark.parametrize(("classes", "size"), [(1, (61, 35)), (2, (1, 1)), (6, (64, 48))])
def test_any_count_of_tokens_and_classes_and_any_size(
    settings: dict[str, object], classes: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    backbone = Backbone("mobilenetv2_035", frozen_norm=False)
    net = build_segmenter(backbone, "sgr", small(**settings), classes=classes, graph=None).eval()
    assert isinstance(net.head, SgrHead)
    truth = labels(*size).clamp(max=classes - 1)
    prediction = net(torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8))
    made = net.head.targets(truth)
    grid = prediction.aux["regions"].shape[2:]
    assert made["masks"].shape[2] <= grid[0]
    assert made["masks"].shape[3] <= grid[1]
    assert torch.isfinite(net.head.loss(prediction.aux, truth, made))
    assert net.predict(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape == (1, *size)


@pytest.mark.parametrize("nothing", ["ignored", "specks"])
def test_without_a_component_the_region_losses_are_zero(nothing: str) -> None:
    head = head_of(min_area=65 if nothing == "specks" else 1)
    truth = torch.full((2, 64, 64), 255) if nothing == "ignored" else torch.zeros(2, 64, 64).long()
    _, aux = head.train()(maps())
    made = head.targets(truth)
    loss = head.loss(aux, truth, made)
    assert made["counts"].tolist() == [0, 0]
    assert float(loss.detach()) == 0
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_targets_are_the_components_on_the_grid_of_the_regions() -> None:
    made = head_of(min_area=1).targets(labels(64, 64))
    assert made["masks"].shape == (2, 4, 8, 8)
    assert made["masks"].dtype == torch.bool
    assert made["counts"].tolist() == [4, 3]
    assert made["masks"].sum(dim=(2, 3)).tolist() == [[18, 6, 8, 32], [50, 6, 8, 0]]
    assert head_of(lambda_d=0, lambda_b=0, lambda_c=0).targets(labels(64, 64)) == {}
    coarse = head_of(place="before_decoder").targets(labels(64, 64))
    assert coarse["masks"].shape[2:] == (4, 4)


def test_loss_makes_missing_targets_and_weighs_its_terms() -> None:
    truth = labels(64, 64)
    head = head_of().eval()
    _, aux = head(maps())
    whole = head.loss(aux, truth, head.targets(truth))
    assert torch.equal(head.loss(aux, truth, {}), whole)
    none = {"lambda_d": 0.0, "lambda_b": 0.0, "lambda_c": 0.0}
    single = {n: head_of(**{**none, n: 1.0}).loss(aux, truth, {}) for n in none}
    weights = {"lambda_d": 0.5, "lambda_b": 0.5, "lambda_c": 0.1}
    torch.testing.assert_close(whole, sum(weights[n] * single[n] for n in none))
    assert float(head_of(**none).loss(aux, truth, {})) == 0


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="7 attention heads do not divide a token width of 16"):
        SgrConfig(width=16, heads=7)


def test_network_trains_is_saved_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone, graph = Backbone("mobilenetv2_035", frozen_norm=False), graph_of(5)
    config = small(min_area=1)
    net = build_segmenter(backbone, "sgr", config, classes=6, graph=graph).train()
    criterion = Criterion(net.head, stride=8, lovasz=0.5)
    images, truth = torch.randint(0, 256, (2, 3, 61, 45), dtype=torch.uint8), labels(61, 45)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        logits, aux = net(images)
        loss = criterion(logits, aux, truth, None, net.head.targets(truth))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    net.eval()
    save_segmenter(tmp_path, net, head="sgr", config=config, graph=graph, card={})
    again = load_segmenter(tmp_path, graph)
    assert torch.equal(again(images).logits, net(images).logits)
