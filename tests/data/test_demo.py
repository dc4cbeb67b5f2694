"""The demo's scenes: the same by seed, tags as drawn, and meetings that mean something."""

import hashlib
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import demo
from data.labels import read_label
from data.photos import read_photo
from data.records import Record
from data.scenes.canvas import BACKGROUND, Canvas, Outline, Pen, box
from data.scenes.setting import CLUTTER, KINDS, SETTINGS
from knowledge.classes import DEMO

TRAIN, VAL, SIZE = 64, 16, 80


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    out = tmp_path_factory.mktemp("demo")
    return out, list(demo.write_scenes(out, photos=TRAIN, val=VAL, size=SIZE, seed=3))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, photos, seed in (("a", 3, 0), ("b", 3, 0), ("more", 5, 0), ("other", 3, 1)):
        list(demo.write_scenes(tmp_path / name, photos=photos, val=1, size=64, seed=seed))
    first = digests(tmp_path / "a")
    assert len(first) == 8
    assert first == digests(tmp_path / "b")
    # A scene does not change when more of them are asked for.
    assert first.items() <= digests(tmp_path / "more").items()
    other = digests(tmp_path / "other")
    assert not any(first[name] == other[name] for name in first)


def test_a_second_call_leaves_the_same_files(tmp_path: Path) -> None:
    for _ in range(2):
        list(demo.write_scenes(tmp_path, photos=2, val=1, size=64, seed=0))
    assert len(digests(tmp_path)) == 6


def test_records_come_sorted_and_name_files_that_read(drawn: tuple[Path, list[Record]]) -> None:
    out, records = drawn
    assert [record.id for record in records] == sorted(record.id for record in records)
    assert Counter(record.split for record in records) == {"train": TRAIN, "val": VAL}
    for record in records:
        photo, label = read_photo(out / record.photo), read_label(out / f"masks/{record.id}.png")
        assert photo.shape[:2] == label.shape
        assert max(label.shape) <= SIZE
        assert photo.std() > 5


def test_tags_are_the_classes_of_the_mask(drawn: tuple[Path, list[Record]]) -> None:
    out, records = drawn
    for record in records:
        label = read_label(out / f"masks/{record.id}.png")
        values, counts = np.unique(label, return_counts=True)
        names = tuple(DEMO.names[value - 1] for value in values if value != BACKGROUND)
        assert record.tags == names
        assert 1 <= len(names) <= demo.MOST_CLASSES
        shares = dict(zip(values.tolist(), (counts / label.size).tolist(), strict=True))
        assert demo.BARE[0] <= shares.pop(BACKGROUND) <= demo.BARE[1]
        assert min(shares.values()) >= demo.SMALLEST


def test_half_to_three_quarters_are_background(drawn: tuple[Path, list[Record]]) -> None:
    out, records = drawn
    shares = [(read_label(out / f"masks/{one.id}.png") == BACKGROUND).mean() for one in records]
    assert 0.5 < np.mean(shares) < 0.75


def test_every_class_is_in_both_splits_however_small(drawn: tuple[Path, list[Record]]) -> None:
    for split, count in (("train", TRAIN), ("val", VAL)):
        seen = Counter(tag for one in drawn[1] if one.split == split for tag in one.tags)
        assert min(seen[name] for name in DEMO.names) >= count // len(DEMO)


def test_sizes_and_shapes_vary_but_not_wildly(drawn: tuple[Path, list[Record]]) -> None:
    out, records = drawn
    sizes = Counter(read_label(out / f"masks/{record.id}.png").shape for record in records)
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)
    assert 4 <= len(sizes) <= 2 * len(demo.ASPECTS)


def test_who_meets_whom_follows_the_settings(drawn: tuple[Path, list[Record]]) -> None:
    met = Counter(pair for one in drawn[1] for pair in combinations(sorted(one.tags), 2))
    possible = {
        pair for setting in SETTINGS.values() for pair in combinations(sorted(setting.guests), 2)
    }
    assert set(met) <= possible
    apart = set(combinations(sorted(DEMO.names), 2)) - possible
    for pair in (("boat", "car"), ("boat", "house"), ("boat", "sheep"), ("car", "sheep")):
        assert pair in apart
    boats = sum("boat" in one.tags for one in drawn[1])
    assert met["bird", "boat"] > 0.4 * boats
    cars = sum("car" in one.tags for one in drawn[1])
    assert met["car", "house"] > 0.5 * cars


def test_boats_always_lie_on_water() -> None:
    places = {one.guests["boat"].place for one in SETTINGS.values() if "boat" in one.guests}
    assert places == {"water"}


def test_the_tables_agree_on_the_classes() -> None:
    assert tuple(KINDS) == DEMO.names
    assert set(DEMO.names) == {name for one in SETTINGS.values() for name in one.guests}
    assert not set(CLUTTER) & set(DEMO.names)
    assert set(CLUTTER) == {name for one in SETTINGS.values() for name in one.clutter}


@pytest.mark.parametrize("name", [*KINDS, *CLUTTER])
def test_everything_draws_something_and_only_its_own_label(name: str) -> None:
    kind = (KINDS | CLUTTER)[name]
    label = DEMO.index(name) + 1 if name in KINDS else BACKGROUND
    covered = []
    for seed in range(6):
        canvas = Canvas(80, 120, np.random.default_rng(seed))
        canvas.colour[:] = 128
        canvas.label[:] = 99  # what is not painted
        kind.draw(Pen(canvas, 60.0, 70.0, 40.0, label, mirror=bool(seed % 2), aloft=seed % 3 == 0))
        assert set(np.unique(canvas.label).tolist()) == {label, 99}
        assert np.abs(canvas.colour[canvas.label == label] - 128).max() > 20
        covered.append(float((canvas.label == label).mean()))
    assert min(covered) > 0.005
    assert max(covered) < 0.6


def test_paint_marks_what_it_covers_by_half() -> None:
    canvas = Canvas(10, 10, np.random.default_rng(0))
    edge = np.array([[2.0, 0.0], [5.75, 0.0], [5.75, 10.0], [2.0, 10.0]])
    canvas.paint([Outline(edge)], (200, 100, 0), label=3)
    assert (canvas.label[:, 2:6] == 3).all()
    assert (canvas.label[:, 6:] == 0).all()
    assert 0 < canvas.colour[4, 5, 0] < 200.1
    canvas.paint([Outline(edge + 100)], (1, 1, 1), label=4)  # outside: nothing happens
    assert 4 not in canvas.label
    canvas.paint([Outline(edge)], (0, 0, 0), label=None, opacity=0.5)  # a shadow marks nothing
    assert (canvas.label[:, 2:6] == 3).all()
    assert canvas.colour[4, 3, 0] == pytest.approx(100, abs=1)


def test_pens_mirror_and_scale() -> None:
    canvas = Canvas(40, 40, np.random.default_rng(0))
    shape = box(0.0, 0.0, 0.5, 1.0)
    for mirror in (False, True):
        pen = Pen(canvas, 20.0, 30.0, 10.0, 1, mirror=mirror)
        x, y = pen.place(shape).T
        assert (x.min(), x.max()) == ((15, 20) if mirror else (20, 25))
        assert (y.min(), y.max()) == (20, 30)


def test_photos_are_ordinary_jpegs(drawn: tuple[Path, list[Record]]) -> None:
    with Image.open(drawn[0] / drawn[1][0].photo) as photo:
        assert photo.format == "JPEG"
        assert photo.mode == "RGB"
