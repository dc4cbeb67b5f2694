"""What a training keeps in memory, and what it does where that is too little."""

from dataclasses import replace
from pathlib import Path

import torch

from data.manifest import Manifest
from pipeline.context import Silent
from stages.nets.feature_cache import cache_bytes
from stages.nets.segmenter import load_segmenter
from tests.stages.test_segment import FROZEN, trained


class Listening(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_maps_that_do_not_fit_are_made_in_every_step(tiny_run, tmp_path: Path) -> None:
    small = trained(tiny_run, tmp_path / "small", **FROZEN, cache_gib=1e-6)
    frozen = trained(tiny_run, tmp_path / "frozen", **{**FROZEN, "features": "frozen"})
    key = "head.plain.classify.weight"
    assert torch.equal(small[key], frozen[key])
    assert not torch.equal(small[key], trained(tiny_run, tmp_path / "kept", **FROZEN)[key])


def test_a_head_that_reads_less_is_cached_no_sooner_than_head_none(
    tiny_run, tmp_path: Path
) -> None:
    """Between what the two would take, `aspp` alone would see whole photos, `none` crops."""
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    taken, listener = {}, Listening()
    context = replace(tiny_run.context, listener=listener)
    for head in ("aspp", "none"):
        trained(tiny_run, tmp_path / head, context, **FROZEN, head=head)
        network = load_segmenter(tmp_path / head)
        taken[head] = cache_bytes(network, manifest.split("train"), flip=True)
    assert taken["aspp"] < 0.8 * taken["none"]
    assert listener.said == []
    between = 0.9 * taken["none"] / 2**30
    for head in ("aspp", "none"):
        trained(tiny_run, tmp_path / head, context, **FROZEN, head=head, cache_gib=between)
    assert listener.said.count("the frozen backbone runs in every step instead") == 2


def test_a_cache_of_several_sizes_falls_back_to_one_and_then_to_none(
    tiny_run, tmp_path: Path
) -> None:
    listener = Listening()
    context = replace(tiny_run.context, listener=listener)
    settings = {**FROZEN, "features": "cached", "cache_scales": (1.0, 8.0)}
    trained(tiny_run, tmp_path / "one", context, **settings, cache_gib=1e-3)
    assert [text.split()[6] for text in listener.said] == ["2"]
    trained(tiny_run, tmp_path / "none", context, **settings, cache_gib=1e-6)
    assert listener.said[-1] == "the frozen backbone runs in every step instead"
