"""segment with every head: a training that was killed ends in the bits of one that was not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import segment_training
from tests.stages.test_segment import TINY, KillAt, Killed, trained

HEADS: dict[str, dict[str, Any]] = {
    "sgr": {"sgr": {"tokens": 4, "width": 8, "heads": 2, "layers": 1}},
    "rsp": {"rsp": {"groups": 4}},
    "ece": {"ece": {"channels": 16, "heads": 2}},
    "aspp": {"aspp": {"rates": (1, 2, 3)}},
    "deeplabv3plus": {"aspp": {"low_width": 8}},
    "none": {},
}
"""Head -> what makes it small; stage `segment`'s own tests train `grm`."""


@pytest.mark.parametrize("head", HEADS)
def test_killed_and_resumed_ends_in_the_same_bits(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    """Dropout, running means and what a head draws go on where they were; the loss too."""
    monkeypatch.setattr(segment_training, "CHECKPOINT_SECONDS", 0.0)
    features = "trained" if head == "rsp" else "cached"
    settings = {**TINY, **HEADS[head], "head": head, "features": features, "dropout": 0.3}
    whole = trained(tiny_run, tmp_path / "whole", **settings)
    killing = replace(tiny_run.context, listener=KillAt(3))
    with pytest.raises(Killed):
        trained(tiny_run, tmp_path / "killed", killing, **settings)
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    resumed = trained(tiny_run, tmp_path / "killed", **settings)
    assert whole.keys() == resumed.keys()
    assert any(name.startswith("head.") for name in whole)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    said = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert said[0] == said[1]
