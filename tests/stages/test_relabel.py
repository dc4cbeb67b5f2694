"""Self-training: labels of the first network, in the form of pseudo-labels, without a mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.labels import IGNORE, read_grey, read_label
from data.manifest import Manifest
from stages import relabel
from stages.nets.segmenter import load_segmenter
from stages.pixel_labels import PixelLabels


def relabelled(run, out: Path, **settings) -> Manifest:
    out.mkdir(exist_ok=True)
    relabel.run(relabel.Config(**settings), run.without("masks"), out, run.context)
    return Manifest.of(run.inputs, run.context.places)


def test_a_photo_shows_its_own_tags_or_background_and_serves_as_pseudo_label(
    ready, tmp_path: Path
) -> None:
    manifest = relabelled(ready, tmp_path / "out")
    labels = PixelLabels.pseudo(manifest, tmp_path / "out", ignore_band=True, confidence=0.0)
    for photo in manifest.split("train"):
        allowed = {0, *(tag + 1 for tag in manifest.tag_indices(photo))}
        assert set(np.unique(labels.label(photo))) <= allowed


def test_without_tags_it_is_what_the_network_predicts(ready, tmp_path: Path) -> None:
    import torch

    from data.photos import read_photo

    manifest = relabelled(ready, tmp_path / "out", tags=False, flip=False)
    network = load_segmenter(ready.inputs["segment"])
    for photo in manifest.split("train"):
        image = torch.from_numpy(np.array(read_photo(manifest.path(photo)))).permute(2, 0, 1)
        expected = network.predict(image[None])[0].numpy()
        found = read_label(tmp_path / "out" / f"{photo.id}.png")
        assert (found == expected).mean() > 0.97  # of an untrained network: many near ties


def test_what_is_not_sure_is_ignored(ready, tmp_path: Path) -> None:
    manifest = relabelled(ready, tmp_path / "all")
    shown = [
        read_grey(tmp_path / "all" / "confidence" / f"{p.id}.png") for p in manifest.split("train")
    ]
    middle = float(np.median(np.concatenate([one.ravel() for one in shown]))) / 255
    relabelled(ready, tmp_path / "sure", confidence=middle)
    ignored = [
        (read_label(tmp_path / "sure" / f"{p.id}.png") == IGNORE).mean()
        for p in manifest.split("train")
    ]
    assert 0.2 < float(np.mean(ignored)) < 0.8


def test_labels_that_exist_are_kept(ready, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = relabelled(ready, out)
    first = out / f"{manifest.split('train')[0].id}.png"
    before = first.stat().st_mtime_ns
    relabelled(ready, out)
    assert first.stat().st_mtime_ns == before


@pytest.mark.parametrize("folder", [".", "full", "confidence"])
def test_any_file_that_a_repair_took_away_is_made_again(ready, tmp_path: Path, folder: str) -> None:
    out = tmp_path / "out"
    manifest = relabelled(ready, out)
    lost = out / folder / f"{manifest.split('train')[0].id}.png"
    before = lost.read_bytes()
    lost.unlink()
    relabelled(ready, out)
    assert lost.read_bytes() == before


def test_a_damaged_network_is_named(ready, tmp_path: Path) -> None:
    broken = tmp_path / "segment"
    broken.mkdir()
    for path in ready.inputs["segment"].iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[:40])
    run = replace(ready, inputs={**ready.inputs, "segment": broken})
    with pytest.raises(ValueError, match="no usable segmentation network"):
        relabelled(run, tmp_path / "out")
