"""The picture of a run: a grid of what there is, of photos from good to poor."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.reports.artifacts import Run
from stages.reports.picture import CELL, GAP, HEAD, MARGIN, compose, main


def laid_out(run, folder: Path) -> Path:
    """The run as a person finds it: runs/<name>/<stage> are links."""
    folder.mkdir()
    for name, path in run.inputs.items():
        (folder / name).symlink_to(path)
    return folder


def test_one_command_writes_the_grid(tiny_run, tmp_path: Path) -> None:
    folder, picture = laid_out(tiny_run, tmp_path / "run"), tmp_path / "docs" / "picture.png"
    arguments = [str(folder), str(picture), "--root", str(tiny_run.root), "--rows", "3"]
    assert main([*arguments, "--masks", str(tiny_run.root / "masks")]) == 0
    with Image.open(picture) as image:
        # Photo, CAM, pseudo-label and mask; the run has no network to predict with.
        width = 2 * MARGIN + 4 * (CELL[0] + GAP) - GAP
        assert image.size == (width, HEAD + MARGIN + 3 * (CELL[1] + GAP) - GAP)
        pixels = np.asarray(image)
    for column in range(4):
        left = MARGIN + column * (CELL[0] + GAP)
        cell = pixels[HEAD : HEAD + CELL[1], left : left + CELL[0]]
        assert cell.std() > 5


def test_named_photos_are_shown_in_their_order(tiny_run) -> None:
    run = Run.of(tiny_run.inputs)
    both = compose(run, tiny_run.context, ids=["photo-3", "photo-1"])
    first = compose(run, tiny_run.context, ids=["photo-3"])
    rows = slice(HEAD, HEAD + CELL[1])
    assert (both[rows] == first[rows]).all()


def test_more_rows_than_photos_show_every_photo_once(tiny_run) -> None:
    grid = compose(Run.of(tiny_run.inputs), tiny_run.context, rows=50)
    assert grid.shape[0] == HEAD + MARGIN + 6 * (CELL[1] + GAP) - GAP


def test_an_unknown_photo_is_named(tiny_run, tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="'nobody' is no train photo"):
        compose(Run.of(tiny_run.inputs), tiny_run.context, ids=["nobody"])
    folder = laid_out(tiny_run, tmp_path / "run")
    given = [str(folder), str(tmp_path / "p.png"), "--root", str(tiny_run.root), "--ids", "nobody"]
    assert main([*given, "--masks", str(tiny_run.root / "masks")]) == 2
    assert "no train photo" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()
