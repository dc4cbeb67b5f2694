"""The walk between boundaries from artifacts to files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.cams import Cam, map_size, read_cam, write_cam
from data.labels import write_grey
from data.manifest import Manifest
from pipeline.context import Context
from stages import spread
from tests.stages.conftest import SIZE, TinyRun
from tests.stages.test_cams import files
from tests.stages.test_walk import resized


@pytest.fixture
def bounded(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """The tiny run with a boundary down the middle of every photo."""
    folder = tmp_path / "bounds"
    folder.mkdir()
    boundary = np.zeros(map_size(SIZE), np.uint8)
    boundary[:, boundary.shape[1] // 2] = 255
    for photo in Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train"):
        write_grey(folder / f"{photo.id}.png", boundary)
    return replace(tiny_run, inputs={**tiny_run.inputs, "edges": folder})


def run(given: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    out.mkdir(exist_ok=True)
    spread.run(spread.Config(**changes), given.inputs, out, context or given.context)
    return out


def probable(given: TinyRun, folder: Path) -> TinyRun:
    """`given` with scores that are probabilities, of the left and the right half of each photo."""
    folder.mkdir()
    for photo in Manifest.of(given.inputs, given.context.places).split("train"):
        cam = read_cam(given.inputs["cams"] / f"{photo.id}.npz")
        maps = np.zeros_like(cam.maps)
        maps[:, :, : maps.shape[2] // 3] = 0.8 / len(maps)
        background = 1 - maps.sum(axis=0)
        write_cam(folder / f"{photo.id}.npz", Cam(cam.classes, maps, cam.size, background))
    return replace(given, inputs={**given.inputs, "cams": folder})


def test_activations_keep_classes_and_size_and_fill_their_half(
    bounded: TinyRun, tmp_path: Path
) -> None:
    cam = read_cam(bounded.inputs["cams"] / "photo-1.npz")
    maps = np.zeros_like(cam.maps)
    maps[:, 2:4, 1:3] = 1
    write_cam(bounded.inputs["cams"] / "photo-1.npz", Cam(cam.classes, maps, cam.size))
    out = run(bounded, tmp_path / "spread", steps=60)
    assert set(files(out)) == set(files(bounded.inputs["cams"]))
    found, middle = read_cam(out / "photo-1.npz"), map_size(SIZE)[1] // 2
    assert found.classes.tolist() == cam.classes.tolist()
    assert (found.size, found.maps.shape, found.background) == (cam.size, cam.maps.shape, None)
    assert found.maps[0, :, :middle].min() > 0.02
    assert found.maps[0, :, middle:].max() == 0


@pytest.mark.parametrize("damped", [False, True])
def test_probabilities_still_add_up_to_one(bounded: TinyRun, tmp_path: Path, damped: bool) -> None:
    given = probable(bounded, tmp_path / "probable")
    out = run(given, tmp_path / "spread", steps=40, damped=damped)
    middle = map_size(SIZE)[1] // 2
    for name in files(out):
        cam, before = read_cam(out / name), read_cam(given.inputs["cams"] / name)
        assert cam.background is not None
        assert before.background is not None
        np.testing.assert_allclose(cam.maps.sum(axis=0) + cam.background, 1, atol=0.01)
        if not len(cam.maps):
            continue
        left, right = cam.background[:, :middle], cam.background[:, middle + 1 :]
        assert left.std() < before.background[:, :middle].std()
        assert left.max() < right.min()


def test_no_step_changes_nothing(bounded: TinyRun, tmp_path: Path) -> None:
    given = probable(bounded, tmp_path / "probable")
    out = run(given, tmp_path / "spread", steps=0)
    for name in files(out):
        cam, before = read_cam(out / name), read_cam(given.inputs["cams"] / name)
        np.testing.assert_allclose(cam.maps, before.maps, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 50)])
@pytest.mark.parametrize("tags", [0, 2])
def test_a_photo_smaller_than_a_cell_or_without_a_tag(
    bounded: TinyRun, tmp_path: Path, size: tuple[int, int], tags: int
) -> None:
    identity = resized(bounded, size, tags)
    write_grey(bounded.inputs["edges"] / f"{identity}.png", np.zeros(map_size(size), np.uint8))
    cam = read_cam(run(bounded, tmp_path / "spread") / f"{identity}.npz")
    assert cam.maps.shape == (tags, *map_size(size))


def test_only_missing_photos_are_made_and_workers_change_nothing(
    bounded: TinyRun, tmp_path: Path
) -> None:
    whole = files(run(bounded, tmp_path / "whole"))
    out = tmp_path / "spread"
    out.mkdir()
    first = sorted(whole)[0]
    (out / first).write_bytes(b"as it was")
    run(bounded, out, replace(bounded.context, workers=2))
    assert files(out) == {**whole, first: b"as it was"}


def test_two_ranks_write_what_one_writes(bounded: TinyRun, tmp_path: Path) -> None:
    one, two = files(run(bounded, tmp_path / "one")), tmp_path / "two"
    shares = []
    for rank in (0, 1):
        run(bounded, two, replace(bounded.context, rank=rank, world=2))
        shares.append(len(files(two)))
    assert shares == [3, 6]
    assert files(two) == one


def test_a_boundary_map_of_another_photo_is_named(bounded: TinyRun, tmp_path: Path) -> None:
    write_grey(bounded.inputs["edges"] / "photo-1.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"photo-1\.png is \(2, 2\)"):
        run(bounded, tmp_path / "spread")
