"""The walk from artifacts to files: the maps of every train photo, shared among places alike."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.cams import Cam, map_size, read_cam, write_cam
from data.manifest import Manifest
from pipeline.context import Context
from stages import walk
from stages.nets.streams import one_thread
from tests.stages.conftest import TinyRun
from tests.stages.test_cams import files


def run(given: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    config = walk.Config.model_validate({"steps": 2, **changes})
    with one_thread():
        walk.run(config, given.inputs, out, context or given.context)
    return out


def resized(given: TinyRun, size: tuple[int, int], tags: int = 2) -> str:
    """Make the first photo one of `size`, noise with maps of noise; returns its id."""
    path = given.inputs["index"] / "manifest.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    first = lines[0]
    first |= {"size": size, "tags": ["disc", "bar"][:tags]}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
        given.root / first["photo"]
    )
    maps = rng.random((tags, *map_size(size)), np.float32)
    write_cam(given.inputs["cams"] / f"{first['id']}.npz", Cam(np.arange(tags), maps, size))
    return str(first["id"])


def test_every_train_photo_keeps_classes_and_size(looked: TinyRun, tmp_path: Path) -> None:
    out = run(looked, tmp_path / "walk")
    photos = Manifest.of(looked.inputs, looked.context.places).split("train")
    assert set(files(out)) == {f"{photo.id}.npz" for photo in photos}
    for photo in photos:
        before = read_cam(looked.inputs["cams"] / f"{photo.id}.npz")
        after = read_cam(out / f"{photo.id}.npz")
        assert after.classes.tolist() == before.classes.tolist()
        assert (after.size, after.maps.shape) == (before.size, before.maps.shape)
        assert after.background is None
        assert 0 < after.maps.max() < before.normalised().max() + 0.01


def test_more_steps_spread_more(looked: TinyRun, tmp_path: Path) -> None:
    spread = []
    for steps in (0, 1, 5):
        out = run(looked, tmp_path / str(steps), steps=steps)
        cams = [read_cam(out / name) for name in files(out)]
        spread.append(np.mean([cam.maps.std(axis=(1, 2)).mean() for cam in cams]))
    assert spread[0] > spread[1] > spread[2] > 0


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16)])
@pytest.mark.parametrize("tags", [0, 1, 2])
def test_a_photo_smaller_than_a_cell_or_without_a_tag(
    looked: TinyRun, tmp_path: Path, size: tuple[int, int], tags: int
) -> None:
    identity = resized(looked, size, tags)
    cam = read_cam(run(looked, tmp_path / "walk") / f"{identity}.npz")
    assert cam.maps.shape == (tags, *map_size(size))
    if tags:
        before = read_cam(looked.inputs["cams"] / f"{identity}.npz").normalised()
        assert before.min() - 0.01 <= cam.maps.min() <= cam.maps.max() <= before.max() + 0.01
        assert cam.maps.max() > 0.1


def test_only_missing_photos_are_made(looked: TinyRun, tmp_path: Path) -> None:
    whole = files(run(looked, tmp_path / "whole"))
    out = run(looked, tmp_path / "walk")
    first, second = sorted(whole)[:2]
    (out / first).unlink()
    (out / second).write_bytes(b"as it was")
    run(looked, out)
    kept = {**whole, second: b"as it was"}
    assert {name: content for name, content in files(out).items() if name != first} == {
        name: content for name, content in kept.items() if name != first
    }
    np.testing.assert_allclose(
        read_cam(out / first).maps, read_cam(tmp_path / "whole" / first).maps, atol=0.01
    )


def test_two_workers_write_what_one_writes(looked: TinyRun, tmp_path: Path) -> None:
    one = files(run(looked, tmp_path / "one"))
    two = files(run(looked, tmp_path / "two", replace(looked.context, workers=2)))
    assert one == two


def test_two_ranks_write_the_same_photos(looked: TinyRun, tmp_path: Path) -> None:
    one, two = files(run(looked, tmp_path / "one")), tmp_path / "two"
    shares = []
    for rank in (0, 1):
        run(looked, two, replace(looked.context, rank=rank, world=2))
        shares.append(len(files(two)))
    assert shares == [3, 6]
    assert set(files(two)) == set(one)


def test_a_map_of_another_photo_is_named(looked: TinyRun, tmp_path: Path) -> None:
    write_cam(
        looked.inputs["cams"] / "photo-1.npz",
        Cam(np.array([0, 1]), np.ones((2, 2, 2), np.float32), (8, 8)),
    )
    with pytest.raises(ValueError, match=r"photo-1\.npz is of a photo of \(8, 8\).*\(64, 48\)"):
        run(looked, tmp_path / "walk")


def test_more_levels_than_the_backbone_has_are_named(looked: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--walk\.affinity\.levels"):
        run(looked, tmp_path / "walk", affinity={"levels": 9})
