import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.cams import map_size, read_cam
from data.manifest import Manifest
from pipeline.context import Context
from stages import cams, classify, features
from stages.nets.classify_settings import NodesConfig, RecamConfig
from tests.stages.conftest import TinyRun
from tests.stages.test_classify import SMALL


@pytest.fixture
def trained(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """The tiny run with a real, barely trained classifier."""
    out = tmp_path / "classify"
    out.mkdir()
    config = classify.Config(
        **{**SMALL, "epochs": 0, "epochs_head": 1},
        nodes=NodesConfig(graph="seeded", width=8, epochs=2),
        recam=RecamConfig(epochs=1),
    )
    inputs = {**tiny_run.inputs, "features": tmp_path / "features"}
    features.run(features.Config.of(config), inputs, inputs["features"], tiny_run.context)
    classify.run(config, inputs, out, tiny_run.context)
    tiny_run.inputs["classify"] = out
    return tiny_run


def run(tiny_run: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    config = cams.Config(**{"scales": (1.0, 0.5), "competition": 1.0, **changes})
    cams.run(config, tiny_run.inputs, out, context or tiny_run.context)
    return out


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.npz")}


def test_every_train_photo_has_the_maps_of_its_own_tags(trained: TinyRun, tmp_path: Path) -> None:
    out = run(trained, tmp_path / "cams")
    manifest = Manifest.of(trained.inputs, trained.context.places)
    photos = manifest.split("train")
    assert set(files(out)) == {f"{photo.id}.npz" for photo in photos}
    for photo in photos:
        cam = read_cam(out / f"{photo.id}.npz")
        assert tuple(cam.classes) == manifest.tag_indices(photo)
        assert cam.maps.shape[1:] == map_size(photo.size)
        assert cam.size == photo.size


def test_only_missing_photos_are_made(trained: TinyRun, tmp_path: Path) -> None:
    whole = files(run(trained, tmp_path / "whole"))
    out = run(trained, tmp_path / "cams")
    first, second = sorted(whole)[:2]
    (out / first).unlink()
    (out / second).write_bytes(b"as it was")
    run(trained, out)
    assert files(out) == {**whole, second: b"as it was"}


def test_two_ranks_write_what_one_writes(trained: TinyRun, tmp_path: Path) -> None:
    one = run(trained, tmp_path / "one")
    two = tmp_path / "two"
    shares = []
    for rank in (0, 1):
        run(trained, two, replace(trained.context, rank=rank, world=2))
        shares.append(len(files(two)))
    assert shares == [3, 6]
    for name in files(one):
        ours, theirs = read_cam(one / name), read_cam(two / name)
        np.testing.assert_allclose(ours.maps, theirs.maps, rtol=1e-2, atol=1e-3 * ours.maps.max())


def test_the_settings_change_the_maps(trained: TinyRun, tmp_path: Path) -> None:
    made = [
        files(run(trained, tmp_path / str(at), **changes))
        for at, changes in enumerate(
            [
                {},
                {"competition": 0.0},
                {"scales": (1.0,)},
                {"flip": False},
                *({"classifier": kind} for kind in ("graph", "recam", "nodes", "readout")),
            ]
        )
    ]
    assert all(one != other for one, other in combinations(made, 2))


def test_a_photo_without_a_tag_has_no_map(trained: TinyRun, tmp_path: Path) -> None:
    path = trained.inputs["index"] / "manifest.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["tags"] = []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = run(trained, tmp_path / "cams")
    assert len(read_cam(out / f"{lines[0]['id']}.npz").classes) == 0
    assert len(files(out)) == 6


def test_a_branch_that_is_not_there_is_named(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = tmp_path / "classify"
    out.mkdir()
    config = classify.Config(**{**SMALL, "epochs": 0, "epochs_head": 0, "graph_branch": False})
    classify.run(config, tiny_run.inputs, out, tiny_run.context)
    tiny_run.inputs["classify"] = out
    with pytest.raises(ValueError, match=r"cams\.classifier to linear"):
        run(tiny_run, tmp_path / "cams", classifier="graph")
