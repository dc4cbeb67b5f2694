"""The weight of the background: the factor whose labels agree most with those before."""

from pathlib import Path

import numpy as np
import pytest

from data.cams import Cam, map_size, read_cam, write_cam
from data.labels import write_label
from knowledge.classes import ClassTable
from stages.agreement import FACTORS, Pair, best_factor, confusions
from stages.pseudo_label import weighed

TABLE = ClassTable.of_names("things", ["a", "b", "c"])
SIZE = (40, 56)


def written(folder: Path, cam: Cam, label: np.ndarray) -> Pair:
    pair = Pair(folder / "scores.npz", folder / "label.png")
    write_cam(pair.cam, cam)
    write_label(pair.label, label, TABLE)
    return pair


def scored(folder: Path, seed: int, tags: tuple[int, ...] = (0, 2)) -> Cam:
    """Probabilities of the classes `tags` and of the background, as they come back from a file."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(len(tags) + 1), map_size(SIZE)).transpose(2, 0, 1)
    shares = shares.astype(np.float32)
    cam = Cam(np.array(tags, np.int64), shares[1:], SIZE, background=shares[0])
    write_cam(folder / "scores.npz", cam)
    return read_cam(folder / "scores.npz")


def label_of(cam: Cam, factor: float) -> np.ndarray:
    """The label of every pixel at this factor, a map cell on four by four pixels."""
    names = np.array([0, *(cam.classes + 1)], np.uint8)
    cells = names[weighed(cam.scores(), factor).argmax(axis=0)]
    return cells.repeat(4, axis=0).repeat(4, axis=1)[: SIZE[0], : SIZE[1]]


@pytest.mark.parametrize("planted", [FACTORS[0], FACTORS[4], FACTORS[-1]])
def test_the_planted_factor_is_found(tmp_path: Path, planted: float) -> None:
    pairs = []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        cam = scored(tmp_path / str(seed), seed)
        pairs.append(written(tmp_path / str(seed), cam, label_of(cam, planted)))
    matrices = confusions(pairs, classes=4)
    factor, agreement = best_factor(matrices)
    assert factor == planted
    assert agreement[FACTORS.index(planted)] == 1
    assert sorted(agreement)[-2] < 1
    cells = np.prod(map_size(SIZE))
    assert (matrices.sum(axis=(1, 2)) == 3 * cells).all()


def test_photos_add_up(tmp_path: Path) -> None:
    cam = scored(tmp_path, 7)
    pair = written(tmp_path, cam, label_of(cam, 1.0))
    once = confusions([pair], classes=4)
    np.testing.assert_array_equal(confusions([pair, pair], classes=4), 2 * once)
    assert not confusions((), classes=4).any()


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (3, 9), (17, 2)])
def test_any_size_of_photo(tmp_path: Path, size: tuple[int, int]) -> None:
    maps = np.full((1, *map_size(size)), 0.75, np.float32)
    cam = Cam(np.array([1]), maps, size, background=1 - maps[0])
    pair = written(tmp_path, cam, np.full(size, 2, np.uint8))
    factor, agreement = best_factor(confusions([pair], classes=4))
    assert agreement[FACTORS.index(1.0)] == 1
    assert factor == FACTORS[0]
    assert agreement[-1] == 0


def test_photos_without_a_tag_choose_nothing_and_break_nothing(tmp_path: Path) -> None:
    cam = Cam(
        np.zeros(0, np.int64),
        np.zeros((0, *map_size(SIZE)), np.float32),
        SIZE,
        background=np.ones(map_size(SIZE), np.float32),
    )
    pair = written(tmp_path, cam, np.zeros(SIZE, np.uint8))
    assert best_factor(confusions([pair], classes=4))[1] == [1.0] * len(FACTORS)


def test_a_label_of_another_size_is_named(tmp_path: Path) -> None:
    pair = written(tmp_path, scored(tmp_path, 0), np.zeros((5, 7), np.uint8))
    with pytest.raises(ValueError, match=r"label\.png is \(5, 7\).*\(40, 56\)"):
        confusions([pair], classes=4)
