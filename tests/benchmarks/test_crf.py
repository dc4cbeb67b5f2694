"""The benchmark of the dense CRF: every figure that it promises, on photos and without them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import crf
from benchmarks.crf_photos import photos_of

ALWAYS = {"pydensecrf_ms", "ratio", "labels_equal", "photos_all_equal", "lattice_points"}
AT_THREE = {"frozen_ratio", "two_threads_over_one", "two_threads_over_pydensecrf", "tagmask_mb"}


def test_figures_of_small_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in "ab":
        pixels = np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    out = tmp_path / "crf.json"
    flags = ["--photos", str(tmp_path / "photos"), "--settings", "B", "--labels", "2", "3"]
    assert crf.main([*flags, "--count", "2", "--repeats", "1", "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["about"]["photos"] == "photos"
    assert set(written["figures"]) == {"B K=2", "B K=3"}
    assert set(written["figures"]["B K=2"]) >= ALWAYS
    found = written["figures"]["B K=3"]
    assert set(found) >= ALWAYS | AT_THREE
    assert found["labels_equal"] == 1
    assert found["three_labellings_over_one_by_one"] > 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_scenes_of_the_demo_stand_in_for_photos() -> None:
    photos = photos_of(None, None, 2)
    assert [photo.image.shape for photo in photos] == [(500, 375, 3)] * 2
    assert all(photo.maps.shape == (20, 500, 375) for photo in photos)
    assert (photos[0].image != photos[1].image).any()
