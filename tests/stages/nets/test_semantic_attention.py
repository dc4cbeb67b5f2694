"""Attention between pixels and classes: what the masks are, and which classes a pixel reads."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from stages.nets.semantic_attention import SemanticAttention
from stages.nets.settings import EceConfig

WIDTH, HEADS = 12, 3
SMALL = EceConfig(channels=WIDTH, heads=HEADS, mlp_ratio=2)


def attention(sign: Literal[-1, 1] = -1, seed: int = 0) -> SemanticAttention:
    torch.manual_seed(seed)
    return SemanticAttention(SMALL.model_copy(update={"attn_sign": sign}))


def pixels_and_classes(classes: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, WIDTH, 5, 3, generator=rng)
    return pixels, torch.randn(2, classes, WIDTH, generator=rng)


def by_hand(module: SemanticAttention, x: Tensor, embeddings: Tensor) -> Tensor:
    """q . k / sqrt(d), head by head: b heads p k."""
    query = module.query(module.pixel_norm(x)).flatten(2)  # b width p
    key = module.class_norm(embeddings) @ module.key.weight.T  # b k width
    d = WIDTH // HEADS
    heads = []
    for h in range(HEADS):
        rows = slice(h * d, (h + 1) * d)
        heads.append(torch.einsum("bdp,bkd->bpk", query[:, rows], key[:, :, rows]) / d**0.5)
    return torch.stack(heads, dim=1)


@pytest.mark.parametrize("sign", [-1, 1])
def test_masks_are_the_mean_of_the_scores_with_their_own_sign(sign: Literal[-1, 1]) -> None:
    module = attention(sign)
    x, embeddings = pixels_and_classes()
    _, masks = module(x, embeddings)
    expected = by_hand(module, x, embeddings).mean(dim=1).transpose(1, 2).reshape(2, 4, 5, 3)
    torch.testing.assert_close(masks, expected)


@pytest.mark.parametrize("sign", [-1, 1])
def test_values_are_shared_out_by_the_signed_scores(sign: Literal[-1, 1]) -> None:
    module = attention(sign)
    nn.init.zeros_(module.mlp[-1].weight)
    nn.init.zeros_(module.mlp[-1].bias)
    x, embeddings = pixels_and_classes()
    read, _ = module(x, embeddings)
    scores = by_hand(module, x, embeddings)
    released = scores if sign == 1 else scores.amax(dim=3, keepdim=True) - scores
    values = (module.class_norm(embeddings) @ module.value.weight.T).unflatten(2, (HEADS, -1))
    said = torch.einsum("bhpk,bkhd->bhdp", released.softmax(dim=3), values).reshape(x.shape)
    torch.testing.assert_close(read, x + module.out(said))


def test_released_sign_prefers_the_class_that_is_less_alike() -> None:
    scores = torch.tensor([2.0, 1.0]).reshape(1, 1, 1, 2)
    more, less = attention(-1).shares(scores).flatten().tolist()
    assert less > more
    assert more + less == pytest.approx(1)
    more, less = attention(1).shares(scores).flatten().tolist()
    assert more > less


def test_sign_changes_what_is_read_and_not_the_masks() -> None:
    x, embeddings = pixels_and_classes()
    (read, masks), (other, same) = (attention(sign)(x, embeddings) for sign in (-1, 1))
    assert torch.equal(masks, same)
    assert (read - other).abs().max() > 1e-3


def test_activation_of_the_query_is_a_choice() -> None:
    x, _ = pixels_and_classes()
    plain = attention()
    torch.manual_seed(0)
    ported = SemanticAttention(SMALL.model_copy(update={"q_activation": "relu"}))
    assert ported.state_dict().keys() == plain.state_dict().keys()
    assert plain.query(x).min() < 0
    assert ported.query(x).min() == 0


def test_order_of_classes_means_nothing() -> None:
    module, order = attention(), [2, 0, 3, 1]
    x, embeddings = pixels_and_classes()
    read, masks = module(x, embeddings)
    again, permuted = module(x, embeddings[:, order])
    torch.testing.assert_close(again, read)
    torch.testing.assert_close(permuted, masks[:, order])
