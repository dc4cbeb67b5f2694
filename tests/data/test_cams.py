"""Activation maps survive the file within half a step, and upsampling is the field's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from data.cams import Cam, fitting_cam, map_size, read_cam, rounded, write_cam


def _cam(seed: int, k: int, size: tuple[int, int], scale: float = 3.0) -> Cam:
    random = np.random.default_rng(seed)
    maps = random.random((k, *map_size(size)), dtype=np.float32) * np.float32(scale)
    return Cam(np.sort(random.choice(80, k, replace=False)), maps, size)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 99),
    k=st.integers(0, 18),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
)
def test_maps_come_back_within_half_a_step_of_their_own_maximum(
    tmp_path: Path, seed: int, k: int, size: tuple[int, int], scale: float
) -> None:
    cam = _cam(seed, k, size, scale)
    write_cam(tmp_path / "a.npz", cam)
    back = read_cam(tmp_path / "a.npz")
    assert back.size == size
    np.testing.assert_array_equal(back.classes, cam.classes)
    top = cam.maps.max(axis=(1, 2), keepdims=True, initial=0)
    assert (np.abs(back.maps - cam.maps) <= top * (0.5 / 255 + 1e-6)).all()
    np.testing.assert_allclose(back.maps.max(axis=(1, 2), initial=0), top[:, 0, 0], rtol=1e-6)


def test_a_map_without_activation_stays_zero(tmp_path: Path) -> None:
    cam = Cam(np.array([3]), np.zeros((1, 2, 3), np.float32), (8, 12))
    write_cam(tmp_path / "a.npz", cam)
    back = read_cam(tmp_path / "a.npz")
    assert not back.maps.any()
    assert not back.normalised().any()


def test_each_class_is_normalised_by_its_own_maximum() -> None:
    maps = np.array([[[1.0, 2.0]], [[10.0, 40.0]]], np.float32)
    cam = Cam(np.array([0, 1]), maps, (4, 8))
    np.testing.assert_allclose(cam.normalised(), [[[0.5, 1.0]], [[0.25, 1.0]]], rtol=1e-4)
    assert cam.normalised().dtype == np.float32


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (37, 50), (40, 41)])
def test_upsampling_equals_torch(size: tuple[int, int]) -> None:
    cam = _cam(1, 3, size)
    expected = interpolate(torch.from_numpy(cam.maps)[None], size=size, mode="bilinear")[0]
    np.testing.assert_allclose(cam.upsampled(cam.maps), expected.numpy(), atol=1e-5)


def test_upsampling_the_mirrored_map_mirrors_the_result() -> None:
    cam = _cam(2, 2, (30, 43))
    flipped = np.ascontiguousarray(cam.maps[:, :, ::-1])
    np.testing.assert_allclose(
        cam.upsampled(flipped), cam.upsampled(cam.maps)[:, :, ::-1], atol=1e-6
    )


def test_the_same_maps_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_cam(tmp_path / name, _cam(3, 2, (20, 20)))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_maps_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    good = np.ones((2, 2, 2), np.float32)
    bad = good.copy()
    bad[0, 0, 0] = np.nan
    for maps, classes in ((bad, [0, 1]), (-good, [0, 1]), (good, [1, 0]), (good, [1, 1])):
        with pytest.raises(ValueError, match=r"a\.npz"):
            write_cam(tmp_path / "a.npz", Cam(np.array(classes), maps, (8, 8)))
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_named_and_nothing_is_unpickled(tmp_path: Path) -> None:
    write_cam(tmp_path / "a.npz", _cam(4, 2, (20, 20)))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "c.npz", maps=np.array([{"a": 1}], dtype=object))
    for name in ("b.npz", "c.npz"):
        with pytest.raises(ValueError, match=name):
            read_cam(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_cam(tmp_path / "d.npz")


def _probabilities(seed: int, k: int, size: tuple[int, int]) -> Cam:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(k + 1), map_size(size)).transpose(2, 0, 1)
    shares = shares.astype(np.float32)
    return Cam(np.arange(k), shares[1:], size, background=shares[0])


@pytest.mark.parametrize("k", [0, 1, 5])
@pytest.mark.parametrize("size", [(1, 1), (13, 30)])
def test_a_background_comes_back_beside_the_maps(
    tmp_path: Path, k: int, size: tuple[int, int]
) -> None:
    cam = _probabilities(1, k, size)
    write_cam(tmp_path / "a.npz", cam)
    back = read_cam(tmp_path / "a.npz")
    assert back.maps.shape == cam.maps.shape
    assert back.background is not None
    np.testing.assert_allclose(back.background, cam.background, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(back.maps, cam.maps, atol=0.5 / 255 + 1e-6)
    total = back.scores().sum(axis=0)
    np.testing.assert_allclose(total, 1, atol=(k + 1) / 255)


def test_activations_compete_with_a_background_of_one() -> None:
    cam = _cam(5, 2, (9, 14))
    scores = cam.scores()
    assert scores.shape == (3, *map_size((9, 14)))
    assert (scores[0] == 1).all()
    np.testing.assert_array_equal(scores[1:], cam.normalised())
    alone = _cam(5, 0, (9, 14)).scores()
    assert alone.shape == (1, *map_size((9, 14)))
    assert (alone == 1).all()


def test_probabilities_are_never_zero_where_their_class_shows_at_all() -> None:
    background = np.array([[1.0, 0.25]], np.float32)
    cam = Cam(np.array([0]), 1 - background[None], (4, 8), background=background)
    scores = cam.scores()
    assert scores[1, 0, 0] == pytest.approx(0.75 / 510)
    np.testing.assert_array_equal(scores[:, 0, 1], [0.25, 0.75])


def test_a_background_of_another_shape_or_sign_is_refused(tmp_path: Path) -> None:
    maps = np.ones((1, 2, 2), np.float32)
    with pytest.raises(ValueError, match=r"a\.npz"):
        write_cam(tmp_path / "a.npz", Cam(np.array([0]), maps, (8, 8), background=-maps[0]))


def test_maps_that_outnumber_their_classes_by_two_are_damaged(tmp_path: Path) -> None:
    write_cam(tmp_path / "a.npz", _cam(4, 3, (8, 8)))
    with np.load(tmp_path / "a.npz") as file:
        parts = {**file, "classes": file["classes"][:1]}
    np.savez(tmp_path / "a.npz", **parts)
    with pytest.raises(ValueError, match=r"3 maps for 1 classes"):
        read_cam(tmp_path / "a.npz")


def test_only_the_cam_of_a_photo_of_this_size_fits(tmp_path: Path) -> None:
    write_cam(tmp_path / "a.npz", _cam(4, 2, (20, 24)))
    assert fitting_cam(tmp_path / "a.npz", (20, 24)).size == (20, 24)
    with pytest.raises(ValueError, match=r"a\.npz is of a photo of \(20, 24\).*\(24, 20\)"):
        fitting_cam(tmp_path / "a.npz", (24, 20))


def test_rounding_is_what_a_file_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = (rng.random((3, 4, 5)) * np.array([3.0, 0.0, 1e-6])[:, None, None]).astype(np.float32)
    cam = Cam(np.array([0, 2, 5]), maps, (15, 19))
    write_cam(tmp_path / "a.npz", cam)
    assert np.array_equal(rounded(cam).maps, read_cam(tmp_path / "a.npz").maps)
    assert not np.array_equal(rounded(cam).maps, maps)
    assert rounded(cam).size == cam.size
    nothing = Cam(np.array([], dtype=np.int64), np.zeros((0, 4, 5), np.float32), (15, 19))
    assert rounded(nothing).maps.shape == (0, 4, 5)
