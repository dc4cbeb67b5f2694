"""The decoder: which maps it reads, and that a photo's pixel keeps its place."""

import pytest
import torch

from stages.nets.decoder import Decoder, resized
from stages.nets.settings import HeadConfig

SMALL = HeadConfig(width=16, step_width=8, dilations=(1, 2), dropout=0.5)


def test_it_reads_the_deep_maps_and_the_next_finer_one() -> None:
    decoder = Decoder([3, 4, 5, 6], [4, 8, 16, 16], SMALL).eval()
    assert decoder.levels == (1, 2, 3)
    pairs = zip((3, 4, 5, 6), (4, 8, 16, 16), strict=True)
    maps = [torch.randn(1, c, 64 // s, 48 // s) for c, s in pairs]
    before = decoder(maps)
    assert before.shape == (1, 24, 8, 6)
    for level in range(4):
        changed = [m + (i == level) for i, m in enumerate(maps)]
        assert torch.equal(decoder(changed), before) == (level == 0)


def test_scale_of_a_level_does_not_matter() -> None:
    torch.manual_seed(0)
    decoder = Decoder([4, 5], [8, 16], SMALL.model_copy(update={"dropout": 0.0})).train()
    maps = [torch.randn(4, 4, 8, 8), torch.randn(4, 5, 4, 4)]
    louder = [maps[0] * 50 + 3, maps[1] * 0.2 - 1]
    torch.testing.assert_close(decoder(louder), decoder(maps), atol=1e-3, rtol=1e-3)


def test_dropout_is_off_in_eval_mode() -> None:
    decoder = Decoder([4, 5], [8, 16], SMALL)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 5, 4, 4)]
    assert not torch.equal(decoder.train()(maps), decoder(maps))
    assert torch.equal(decoder.eval()(maps), decoder(maps))


def test_maps_must_go_from_fine_to_coarse() -> None:
    with pytest.raises(ValueError, match="fine to coarse"):
        Decoder([3, 4], [16, 8], SMALL)


@pytest.mark.parametrize("size", [(32, 48), (29, 45), (1, 1)])
def test_a_pixel_keeps_its_place(size: tuple[int, int]) -> None:
    """Logits that name a cell's own centre give every pixel its own place, whatever is cut off."""
    stride = 8
    cells = [-(-side // stride) + 1 for side in size]
    rows = torch.arange(cells[0]) * stride + (stride - 1) / 2
    columns = torch.arange(cells[1]) * stride + (stride - 1) / 2
    logits = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
    found = resized(logits, stride, size)
    assert found.shape == (1, 2, *size)
    expected = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")
    inner = slice(stride // 2, None)  # nearer to the edge the outermost cell is repeated
    for axis in (0, 1):
        torch.testing.assert_close(found[0, axis, inner, inner], expected[axis][inner, inner])
