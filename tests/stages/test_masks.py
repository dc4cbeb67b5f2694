"""The only door to masks: what is usable, what is not, and none at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.manifest import Manifest, read_problems
from data.masks import MaskIndex
from data.records import Problem
from knowledge.classes import VOC, ClassTable
from pipeline.context import Context
from pipeline.key import places
from stages import index, masks
from stages.index import Demo
from stages.masks import Config
from tests.coco_files import thing, write_coco
from tests.datasets import write_list, write_mask, write_photo, write_voc

LABEL = np.zeros((24, 32), np.uint8)
LABEL[4:12, 5:20] = 8
LABEL[12:14] = 255


def _index(out: Path, **settings: object) -> Path:
    out.mkdir(parents=True)
    index.run(index.Config(**settings), {}, out, Context())
    return out


def _run(
    config: Config, artifact: Path, out: Path, root: Path | None = None, workers: int = 1
) -> tuple[MaskIndex, list[Problem]]:
    config = masks.beside(config, root)
    surroundings = places("masks", config)
    if root is not None:
        surroundings["dataset.root"] = root
    out.mkdir(parents=True)
    inputs = {"index": artifact}
    masks.run(config, inputs, out, Context(places=surroundings, workers=workers))
    return MaskIndex.of({**inputs, "masks": out}, surroundings), list(read_problems(out))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Four training and two val photos; their masks lie in SegmentationClass."""
    train = {name: ["cat"] for name in "abcd"}
    root = write_voc(tmp_path / "voc", train, {"v": ["cat"], "w": ["cat"]})
    for name in "abcdvw":
        write_mask(root / "SegmentationClass" / f"{name}.png", LABEL, VOC)
    return root


def test_masks_are_found_beside_the_photos(voc: Path, tmp_path: Path) -> None:
    artifact = _index(tmp_path / "index", reader="voc", root=voc)
    found, problems = _run(Config(), artifact, tmp_path / "out", voc)
    assert found.ids == tuple("abcdvw")
    assert [mask.id for mask in found.split("val")] == ["v", "w"]
    assert found.masks[0].labels == (8,)
    assert found.masks[0].size == (24, 32)
    assert not problems
    photo = Manifest.read(artifact, voc).photos[0]
    np.testing.assert_array_equal(found.read(photo), LABEL)


def test_lists_choose_what_is_scored(voc: Path, tmp_path: Path) -> None:
    write_list(voc, "scored", ["a", "c", "v", "gone"])
    artifact = _index(tmp_path / "index", reader="voc", root=voc)
    found, problems = _run(Config(train_list="scored"), artifact, tmp_path / "out", voc)
    assert found.ids == ("a", "c", "v", "w")
    assert [(one.id, one.problem) for one in problems] == [
        ("gone", "not-indexed"),
        ("v", "not-indexed"),
    ]
    (tmp_path / "mine.txt").write_text("w\n")
    config = Config(train_list="scored", val_list=str(tmp_path / "mine.txt"))
    assert _run(config, artifact, tmp_path / "out2", voc)[0].ids == ("a", "c", "w")
    with pytest.raises(FileNotFoundError, match=r"no list 'no'.*--masks\.val-list"):
        masks.sources(masks.beside(Config(val_list="no"), voc))


def test_every_kind_of_bad_mask_is_listed_and_the_good_ones_used(voc: Path, tmp_path: Path) -> None:
    folder = voc / "SegmentationClass"
    write_mask(folder / "b.png", LABEL[:, :30].copy(), VOC)
    write_mask(folder / "c.png", np.full_like(LABEL, 21), VOC)
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:80])
    with Image.open(folder / "v.png") as image:
        image.convert("RGB").save(folder / "v.png")
    (folder / "w.png").unlink()
    artifact = _index(tmp_path / "index", reader="voc", root=voc)
    found, problems = _run(Config(), artifact, tmp_path / "out", voc, workers=2)
    assert found.ids == ("a", "v")
    assert [(one.path, one.problem, one.used) for one in problems] == [
        ("b.png", "size", False),
        ("c.png", "ids", False),
        ("d.png", "damaged", False),
        ("v.png", "coloured", True),
        ("w", "mask-missing", False),
    ]
    assert not any(str(tmp_path) in one.reason for one in problems)


def test_a_mask_that_is_not_turned_with_its_photo_is_found(voc: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(voc / "JPEGImages" / "a.jpg") as image:
        image.save(voc / "JPEGImages" / "a.jpg", exif=exif)
    artifact = _index(tmp_path / "index", reader="voc", root=voc)
    found, problems = _run(Config(), artifact, tmp_path / "out", voc)
    assert "a" not in found.ids
    assert [(one.id, one.problem) for one in problems] == [("a", "size")]
    assert "upright" in problems[0].reason


def test_a_link_that_leads_out_is_no_mask(voc: Path, tmp_path: Path) -> None:
    outside = write_mask(tmp_path / "outside.png", LABEL, VOC)
    (voc / "SegmentationClass" / "a.png").unlink()
    (voc / "SegmentationClass" / "a.png").symlink_to(outside)
    artifact = _index(tmp_path / "index", reader="voc", root=voc)
    found, problems = _run(Config(), artifact, tmp_path / "out", voc)
    assert "a" not in found.ids
    assert [(one.path, one.problem) for one in problems] == [("a.png", "outside")]


def test_no_masks_at_all_is_an_empty_list(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"]}, {"v": ["cat"]})
    artifact = _index(tmp_path / "index", reader="voc", root=root)
    config = masks.beside(Config(), root)
    assert masks.sources(config) == {}
    found, problems = _run(Config(), artifact, tmp_path / "out", root)
    assert found.ids == ()
    assert problems == []


def test_without_masks_no_list_of_them_has_to_be_there(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"]}, {"v": ["cat"]})
    (root / "ImageSets" / "Segmentation" / "train.txt").rename(tmp_path / "weak.txt")
    artifact = _index(
        tmp_path / "index", reader="voc", root=root, train_list=f"{tmp_path}/weak.txt"
    )
    config = Config(train_list="train", val_list="val")
    assert list(masks.sources(masks.beside(config, root))) == ["val list"]
    assert _run(config, artifact, tmp_path / "out", root)[0].ids == ()


def test_masks_that_were_asked_for_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"set --masks\.root"):
        masks.sources(Config(root=tmp_path / "no"))


def test_sources_are_the_mask_files_by_name(voc: Path) -> None:
    config = masks.beside(Config(train_list="train"), voc)
    names = [f"{name}.png" for name in "abcdvw"]
    assert sorted(masks.sources(config)) == sorted([*names, "train list"])


def test_class_numbers_with_gaps_stop_unless_declared(tmp_path: Path) -> None:
    root = tmp_path / "own"
    for name in ("a", "b"):
        write_photo(root / "images" / f"{name}.jpg", ord(name))
        write_mask(root / "SegmentationClass" / f"{name}.png", LABEL, VOC)
    (root / "labels.txt").write_text("0\tnull\n3\tcat\n8\tdog\n")
    (root / "tags.json").write_text('{"a": [3], "b": [8]}')
    artifact = _index(tmp_path / "index", reader="folder", root=root, tags="tags.json")
    with pytest.raises(ValueError, match=r"with gaps.*--masks\.ids categories"):
        _run(Config(), artifact, tmp_path / "out", root)
    found, problems = _run(Config(ids="categories"), artifact, tmp_path / "out2", root)
    assert not problems
    assert [mask.labels for mask in found.masks] == [(2,), (2,)]
    photo = Manifest.read(artifact, root).photos[0]
    assert set(np.unique(found.read(photo)).tolist()) == {0, 2, 255}


def test_the_demo_brings_its_masks(tmp_path: Path) -> None:
    artifact = _index(tmp_path / "index", demo=Demo(photos=8, val=8, size=48))
    config = masks.beside(Config(), None)
    assert masks.sources(config) == {}
    found, problems = _run(config, artifact, tmp_path / "out")
    assert not problems
    assert (len(found.split("train")), len(found.split("val"))) == (8, 8)
    manifest = Manifest.read(artifact, None)
    for photo, mask in zip(manifest.photos, found.masks, strict=True):
        assert [index + 1 for index in manifest.tag_indices(photo)] == list(mask.labels)


def test_the_small_voc(shared: Path, tmp_path: Path) -> None:
    root = shared / "voc-mini" / "VOC2012"
    train = (root / "ImageSets" / "Segmentation" / "train_weak.txt").read_text().split()[:60]
    (tmp_path / "some.txt").write_text("\n".join(train))
    artifact = _index(
        tmp_path / "index", reader="voc", root=root, train_list=f"{tmp_path}/some.txt"
    )
    found, problems = _run(Config(), artifact, tmp_path / "out", root)
    manifest = Manifest.read(artifact, root)
    assert not problems
    assert len(found.split("val")) == 160
    for mask in found.split("train"):
        photo = next(photo for photo in manifest.photos if photo.id == mask.id)
        assert {1 + place for place in manifest.tag_indices(photo)} >= set(mask.labels), mask.id


def test_colours_mean_the_table_of_the_data_set(tmp_path: Path) -> None:
    """The palette of a user's own table is its own: the masks artifact carries the table."""
    root = tmp_path / "own"
    write_photo(root / "images" / "a.jpg")
    (root / "tags.csv").write_text("a,zebra\n")
    table = ClassTable.of_names("own", ["zebra"])
    path = write_mask(root / "SegmentationClass" / "a.png", (LABEL == 8).astype(np.uint8), table)
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    artifact = _index(tmp_path / "index", reader="folder", root=root)
    found, _ = _run(Config(), artifact, tmp_path / "out", root)
    assert found.classes.names == ("zebra",)
    assert found.masks[0].labels == (1,)


def _coco(root: Path) -> Path:
    """Two training photos, one without objects, and one val photo with a crowd."""
    crowd = {"size": [24, 32], "counts": [700, 68]}
    write_coco(root, "train2014", {"a": [thing(18), thing(90)], "b": []})
    write_coco(root, "val2014", {"v": [thing(1), thing(1, crowd, crowd=True)]})
    return root


def test_masks_are_drawn_from_instances(tmp_path: Path) -> None:
    root = _coco(tmp_path / "coco")
    write_mask(root / "SegmentationClass" / "a.png", LABEL, VOC)  # other masks lie beside them
    artifact = _index(tmp_path / "index", reader="coco", root=root, untagged="negative")
    config = Config(source="instances")
    found, problems = _run(config, artifact, tmp_path / "out", root, workers=2)
    assert not problems
    assert [(one.id, one.split, one.labels) for one in found.masks] == [
        ("a", "train", (80,)),
        ("b", "train", ()),
        ("v", "val", (1,)),
    ]
    val = found.read(Manifest.read(artifact, root).split("val")[0])
    assert {0, 1, 255} == set(np.unique(val).tolist())
    policy = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert len(policy.pop("sha256")) == 64
    assert policy == {
        "source": "instances",
        "overlap": "later",
        "crowd": "ignore",
        "files": ["instances_train2014.json", "instances_val2014.json"],
        "masks": 3,
    }


def test_the_digest_of_the_set_follows_the_policy(tmp_path: Path) -> None:
    root = _coco(tmp_path / "coco")
    artifact = _index(tmp_path / "index", reader="coco", root=root)
    digests = []
    for place, crowd in enumerate(("ignore", "class", "ignore")):
        out = tmp_path / str(place)
        _run(Config(source="instances", crowd=crowd), artifact, out, root)
        digests.append(json.loads((out / "policy.json").read_text())["sha256"])
    assert digests[0] == digests[2] != digests[1]


def test_drawn_masks_are_kept_when_a_killed_run_goes_on(tmp_path: Path) -> None:
    root = _coco(tmp_path / "coco")
    artifact = _index(tmp_path / "index", reader="coco", root=root)
    kept = write_mask(tmp_path / "out" / "masks" / "a.png", LABEL, VOC)
    config = masks.beside(Config(source="instances"), root)
    masks.run(config, {"index": artifact}, tmp_path / "out", Context(places={"dataset.root": root}))
    with Image.open(kept) as image:
        assert (np.asarray(image) == LABEL).all()


def test_an_outline_that_cannot_be_drawn_leaves_its_photo_unscored(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    write_coco(root, "train2014", {"a": [thing(18)], "b": [thing(18, [[1.0, 2.0]])]})
    artifact = _index(tmp_path / "index", reader="coco", root=root)
    found, problems = _run(Config(source="instances"), artifact, tmp_path / "out", root)
    assert found.ids == ("a",)
    assert [(one.id, one.problem, one.used) for one in problems] == [("b", "outline", False)]


def test_instances_that_are_not_there(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"a": ["cat"]})
    artifact = _index(tmp_path / "index", reader="voc", root=root)
    config = Config(source="instances")
    assert not masks.known(masks.beside(config, root))
    assert masks.sources(masks.beside(config, root)) == {}
    assert _run(config, artifact, tmp_path / "out", root)[0].ids == ()
    with pytest.raises(FileNotFoundError, match=r"set --masks\.instances"):
        masks.sources(Config(source="instances", instances=tmp_path))


def test_sources_of_drawn_masks_are_the_instances_files(tmp_path: Path) -> None:
    root = _coco(tmp_path / "coco")
    config = masks.beside(Config(source="instances"), root)
    assert masks.known(config)
    assert sorted(masks.sources(config)) == ["instances_train2014.json", "instances_val2014.json"]
    one = Config(source="instances", instances=root / "annotations" / "instances_val2014.json")
    assert list(masks.sources(one)) == ["instances_val2014.json"]


def test_masks_of_the_real_coco_photos(shared: Path, tmp_path: Path) -> None:
    """Drawn at the photos' own size, all 50 of them; a mask's classes are among the tags."""
    root = shared / "coco-tiny"
    artifact = _index(tmp_path / "index", reader="coco", root=root, untagged="negative")
    config = Config(source="instances", overlap="smaller")
    found, problems = _run(config, artifact, tmp_path / "out", root)
    assert not problems
    assert len(found.masks) == 50
    manifest = Manifest.read(artifact, root)
    for photo, mask in zip(manifest.photos, found.masks, strict=True):
        assert set(mask.labels) <= {1 + place for place in manifest.tag_indices(photo)}
