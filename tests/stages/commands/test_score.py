"""score: the protocol on folders of PNGs, a known answer on real ones, every bad input by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data.labels import write_grey, write_label
from knowledge.classes import DEMO, VOC, ClassTable
from stages.commands import score
from stages.confusion import Confusion
from stages.quality.boundary import band_width
from stages.quality.pairs import boundary_counts

GOLDEN = np.array([[8, 0, 2, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
TABLE = ClassTable.of_names("three", ["a", "b", "c"])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions and masks of six photos, one in a folder of its own; random blocks."""
    rng = np.random.default_rng(0)
    for place in range(6):
        name = f"more/{place}" if place == 5 else str(place)
        mask, prediction = (rng.integers(0, 4, (5, 6), dtype=np.uint8).repeat(8, 0) for _ in "ab")
        mask[0] = 255
        write_label(tmp_path / "masks" / f"{name}.png", mask, TABLE)
        write_label(tmp_path / "found" / f"{name}.png", prediction, TABLE)
    (tmp_path / "names.txt").write_text("background\na\nb\nc\n")
    return tmp_path / "found", tmp_path / "masks"


def scored(folders: tuple[Path, Path], *more: str) -> dict:
    out = folders[0].parent / "scores.json"
    names = [] if "--classes" in more else ["--classes", str(out.with_name("names.txt"))]
    arguments = [*map(str, folders), *names, "--json", str(out), "--workers", "1", *more]
    assert score.main(arguments) == 0
    return json.loads(out.read_text())


def of_matrix(folder: Path, matrix: np.ndarray) -> tuple[Path, Path]:
    """One photo whose confusion is `matrix`."""
    pairs = [(t, p) for t, p in np.ndindex(matrix.shape) for _ in range(matrix[t, p])]
    true, found = np.array(pairs, np.uint8).T
    write_label(folder / "masks" / "x.png", true[None], TABLE)
    write_label(folder / "found" / "x.png", found[None], TABLE)
    (folder / "names.txt").write_text("a\nb\nc\n")
    return folder / "found", folder / "masks"


def test_the_three_definitions_give_the_golden_values(tmp_path: Path, capsys) -> None:
    scores = scored(of_matrix(tmp_path, GOLDEN))
    assert scores["miou"] == pytest.approx(0.5091, abs=5e-5)
    assert scores["miou_present"] == pytest.approx(0.7636, abs=5e-5)
    assert scores["miou_eps"] == pytest.approx(0.3818, abs=5e-5)
    assert scores["confusion"] == GOLDEN.tolist()
    assert scores["classes"]["c"]["iou"] is None
    said = capsys.readouterr().out
    assert all(figure in said for figure in ("50.91", "76.36", "38.18"))


def test_all_photos_add_up_to_one_matrix(folders) -> None:
    scores = scored(folders)
    confusion = Confusion(4)
    for path in folders[1].rglob("*.png"):
        found = folders[0] / path.relative_to(folders[1])
        confusion.add(np.asarray(Image.open(path)), np.asarray(Image.open(found)))
    assert scores["confusion"] == confusion.matrix.tolist()
    assert scores["miou"] == scores["miou_covered"] == confusion.miou()
    assert scores["classes"]["a"]["precision"] == confusion.precision()[1]
    assert scores["classes"]["a"]["recall"] == confusion.recall()[1]
    assert scores["images"] == 6
    assert scores["coverage"] == scores["coverage_scored"] == 1.0
    assert scores["pixels"] == 6 * 39 * 6


def test_several_processes_give_what_one_gives(folders) -> None:
    one = scored(folders)
    assert scored(folders, "--workers", "2") == one


def test_the_kind_of_png_changes_nothing(folders) -> None:
    before = scored(folders)
    for place, path in enumerate(sorted(folders[0].rglob("*.png"))):
        label = np.asarray(Image.open(path))
        if place % 2:
            write_grey(path, label)
        else:
            colours = np.array(TABLE.palette(), np.uint8).reshape(-1, 3)[label]
            Image.fromarray(colours).save(path)
    assert scored(folders) == before


def test_a_list_scores_a_part_of_the_split(folders) -> None:
    names = folders[0].parent / "ids.txt"
    names.write_text("0\nmore/5\n")
    (folders[0] / "1.png").unlink()
    scores = scored(folders, "--list", str(names))
    assert scores["images"] == 2
    assert scores["masks_sha256"] != scored((folders[1], folders[1]), "--ignore-band")


def test_255_in_a_prediction_is_an_error_unless_it_is_an_ignore_band(folders) -> None:
    before = scored(folders, "--ignore-band")
    path = folders[0] / "2.png"
    label = np.asarray(Image.open(path)).copy()
    label[:20] = 255
    write_label(path, label, TABLE)
    with pytest.raises(ValueError, match=r"2\.png holds 255 at 120 pixels.*--ignore-band"):
        scored(folders)
    scores = scored(folders, "--ignore-band")
    assert scores["coverage"] == pytest.approx(1 - 120 / (6 * 240))
    assert scores["predictions_with_ignored"] == 1
    # The mask keeps its pixels: what is ignored costs the score that is shown first.
    assert scores["pixels"] == before["pixels"]
    assert scores["miou"] == scores["miou_ignored_as_background"]
    assert np.sum(scores["confusion_covered"]) == before["pixels"] - 19 * 6
    filled = np.where(label == 255, 0, label).astype(np.uint8)
    write_label(path, filled, TABLE)
    assert scored(folders)["confusion"] == scores["confusion"]


def test_coverage_stands_beside_the_score_of_covered_pixels(folders, capsys) -> None:
    path = folders[0] / "2.png"
    write_grey(path, np.full((40, 6), 255, np.uint8))
    scored(folders, "--ignore-band")
    said = capsys.readouterr().out
    assert "coverage               83.33  1 photos ignore pixels" in said
    assert "mIoU, covered" in said
    assert "with ignored pixels as background" in said


def test_bad_files_are_named(folders) -> None:
    path = folders[0] / "3.png"
    good = path.read_bytes()
    write_grey(path, np.zeros((40, 7), np.uint8))
    with pytest.raises(ValueError, match=r"found/3\.png is 7 x 40 pixels.*masks/3\.png is 6 x 40"):
        scored(folders)
    path.write_bytes(good[:60])
    with pytest.raises(ValueError, match=r"found/3\.png cannot be decoded"):
        scored(folders)
    write_grey(path, np.full((40, 6), 7, np.uint8))
    with pytest.raises(ValueError, match=r"found/3\.png holds label 7, but there are 3 classes"):
        scored(folders, "--workers", "2")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"found/3\.png is missing \(1 of 6 photos have no"):
        scored(folders)


def test_bad_folders_lists_and_classes_are_named(folders, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        scored((tmp_path / "nowhere", folders[1]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no PNG"):
        scored((folders[0], tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match=r"--classes vok: neither a table \(voc, coco"):
        scored(folders, "--classes", "vok")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bad\.json: no class table"):
        scored(folders, "--classes", str(tmp_path / "bad.json"))
    (tmp_path / "ids.txt").write_text("0\nnobody\n")
    with pytest.raises(FileNotFoundError, match=r"masks/nobody\.png is missing.*check --list"):
        scored(folders, "--list", str(tmp_path / "ids.txt"))
    (tmp_path / "ids.txt").write_text("0\n../1\n")
    with pytest.raises(ValueError, match=r"ids\.txt names '../1', outside"):
        scored(folders, "--list", str(tmp_path / "ids.txt"))
    with pytest.raises(ValueError, match="leads out"):
        scored((folders[0], _linked_out(folders[1], tmp_path)))


def _linked_out(masks: Path, home: Path) -> Path:
    (home / "secret").mkdir()
    write_grey(home / "secret" / "s.png", np.zeros((4, 4), np.uint8))
    (masks / "out.png").symlink_to(home / "secret" / "s.png")
    return masks


def test_class_tables_come_by_name_from_json_and_from_text(tmp_path: Path) -> None:
    assert score.class_table("voc") == VOC
    (tmp_path / "classes.json").write_text(DEMO.dump())
    assert score.class_table(str(tmp_path / "classes.json")) == DEMO
    (tmp_path / "names.txt").write_text("0\tnull\n1\tshoe\n2\that\n")
    assert score.class_table(str(tmp_path / "names.txt")).names == ("shoe", "hat")


def test_boundary_counts_are_those_of_eroded_class_masks() -> None:
    rng = np.random.default_rng(1)
    size = (60, 80)
    mask = rng.integers(0, 3, (6, 8), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    label = np.roll(mask, (2, 1), axis=(0, 1))
    mask[:4, 20:40] = 255
    found = boundary_counts(mask, label, labels=3)
    width = band_width(size, 0.02)
    assert width == 2
    for c in range(3):
        bands = []
        for values in (mask, label):
            whole = (values == c) & (mask != 255)
            eroded = ndimage.binary_erosion(whole, np.ones((3, 3)), iterations=width)
            bands.append(whole & ~eroded)
        assert found[0, c] == (bands[0] & bands[1]).sum()
        assert found[1, c] == (bands[0] | bands[1]).sum()


def test_a_perfect_prediction_scores_one_everywhere(folders) -> None:
    for path in folders[1].rglob("*.png"):
        label = np.asarray(Image.open(path)).copy()
        label[0] = label[1]
        write_label(folders[0] / path.relative_to(folders[1]), label, TABLE)
    scores = scored(folders)
    assert scores["miou"] == scores["boundary_iou"] == 1.0


def test_real_pseudo_labels_of_a_published_method(shared: Path, tmp_path: Path) -> None:
    """A sixteenth of the split; the whole of it is the slow test below."""
    home = shared / "transcam-voc12-train"
    ids = sorted(path.stem for path in (home / "gt").glob("*.png"))
    assert len(ids) == 1464
    (tmp_path / "ids.txt").write_text("\n".join(ids[::16]))
    (tmp_path / "found").mkdir()
    folders = (home / "pseudo_labels" / "transcam", home / "gt")
    out = tmp_path / "s.json"
    arguments = [*map(str, folders), "--classes", "voc", "--list", str(tmp_path / "ids.txt")]
    assert score.main([*arguments, "--json", str(out), "--workers", "1"]) == 0
    scores = json.loads(out.read_text())
    assert scores["images"] == 92
    assert 0.6 < scores["miou"] < 0.8
    assert scores["miou_all_background"] < 0.05


@pytest.mark.slow
def test_the_known_answer_of_the_whole_split(shared: Path, tmp_path: Path) -> None:
    home, out = shared / "transcam-voc12-train", tmp_path / "s.json"
    folders = (home / "pseudo_labels" / "transcam", home / "gt")
    assert score.main([*map(str, folders), "--classes", "voc", "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert round(scores["miou"], 4) == 0.7014
    assert round(scores["miou_all_background"], 4) == 0.0349
    assert scores["pixels"] == 248_127_236
