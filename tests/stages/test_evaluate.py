"""evaluate: predictions of the right size, one confusion over the split, cost beside the score."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.labels import read_label, write_grey, write_label
from data.manifest import Manifest, write_photos
from data.masks import MaskIndex, write_masks
from pipeline.context import Context
from stages import evaluate
from stages.confusion import Confusion
from stages.nets.segmenter import load_segmenter


def evaluated(run, out: Path, context: Context | None = None, **settings) -> dict:
    out.mkdir(exist_ok=True)
    config = evaluate.Config(**{"cost_size": (64, 64), **settings})
    evaluate.run(config, run.inputs, out, context or run.context)
    return json.loads((out / "scores.json").read_text())


def test_scores_are_those_of_the_predictions_on_disk(ready, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scores = evaluated(ready, out)
    manifest = Manifest.of(ready.inputs, ready.context.places)
    masks = MaskIndex.of(ready.inputs, ready.context.places)
    network = load_segmenter(ready.inputs["segment"])
    confusion = Confusion(4)
    for photo in manifest.split("val"):
        prediction = read_label(out / f"{photo.id}.png")
        assert prediction.shape == photo.size
        confusion.add(masks.read(photo), prediction)
    assert scores["confusion"] == confusion.matrix.tolist()
    assert scores["miou"] == pytest.approx(confusion.miou())
    assert scores["miou_present"] == pytest.approx(confusion.miou_present())
    assert scores["miou_eps"] == pytest.approx(confusion.miou_eps())
    assert scores["miou_all_background"] == pytest.approx(confusion.trivial().miou())
    assert scores["pixel_accuracy"] == pytest.approx(confusion.pixel_accuracy())
    assert scores["images"] == scores["predicted"] == 3
    assert next(iter(scores["classes"])) == "background"
    assert scores["params"] == sum(p.numel() for p in network.parameters())
    assert scores["multiply_adds"] > 0
    assert scores["multiply_adds_size"] == [64, 64]
    assert scores["peak_memory_bytes"] > 1 << 20
    assert scores["images_per_second"] > 0
    assert scores["reason"] is None
    assert scores["trained_on"] == {"labels": "pseudo-labels"}


def test_without_masks_predictions_are_written_and_the_score_says_why(
    ready, tmp_path: Path
) -> None:
    empty = tmp_path / "no-masks"
    empty.mkdir()
    write_masks(empty, [], by_category=False)
    (empty / "classes.json").write_bytes((ready.inputs["masks"] / "classes.json").read_bytes())
    run = replace(ready, inputs={**ready.inputs, "masks": empty})
    scores = evaluated(run, tmp_path / "out")
    assert scores["miou"] is None
    assert scores["miou_all_background"] is None
    assert scores["reason"] == "none of the 3 val photos has a mask"
    assert scores["images"] == 0
    assert len(list((tmp_path / "out").glob("photo-*.png"))) == 3


def test_tags_of_val_photos_change_nothing(ready, tmp_path: Path) -> None:
    manifest = Manifest.of(ready.inputs, ready.context.places)
    stripped = tmp_path / "index"
    stripped.mkdir()
    write_photos(stripped, [replace(photo, tags=()) for photo in manifest.photos])
    (stripped / "classes.json").write_bytes((ready.inputs["index"] / "classes.json").read_bytes())
    evaluated(ready, tmp_path / "a")
    evaluated(replace(ready, inputs={**ready.inputs, "index": stripped}), tmp_path / "b")
    for path in (tmp_path / "a").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_predictions_that_exist_are_kept(ready, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = evaluated(ready, out)
    kept, missing = out / "photo-6.png", out / "photo-7.png"
    before, lost = kept.stat().st_mtime_ns, missing.read_bytes()
    missing.unlink()
    again = evaluated(ready, out)
    assert kept.stat().st_mtime_ns == before
    assert missing.read_bytes() == lost
    assert again["confusion"] == whole["confusion"]
    assert evaluated(ready, out)["images_per_second"] is None


def test_a_prediction_of_255_or_of_another_size_names_the_file(ready, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluated(ready, out)
    manifest = Manifest.of(ready.inputs, ready.context.places)
    write_label(out / "photo-7.png", np.full((64, 48), 255, np.uint8), manifest.classes)
    with pytest.raises(ValueError, match=r"photo-7\.png: a prediction holds 255"):
        evaluated(ready, out)
    write_grey(out / "photo-7.png", np.zeros((64, 47), np.uint8))
    with pytest.raises(ValueError, match=r"photo-7\.png is \(64, 47\).*\(64, 48\)"):
        evaluated(ready, out)


def test_a_photo_that_changed_since_the_index_names_the_file(ready, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 64)).save(ready.root / "photos" / "photo-8.png")
    with pytest.raises(ValueError, match=r"photo-8\.png is \(64, 40\).*indexed as \(64, 48\)"):
        evaluated(ready, tmp_path / "out")


def test_several_scales_and_mirror_image(ready, tmp_path: Path) -> None:
    scores = evaluated(ready, tmp_path / "out", scales=(0.5, 1.0), flip=True)
    assert scores["scales"] == [0.5, 1.0]
    assert scores["flip"] is True
    assert scores["miou"] is not None


def test_streams_give_the_same_predictions(ready, tmp_path: Path) -> None:
    one = replace(ready.context, precision="float32", workers=1)
    evaluated(ready, tmp_path / "a", one)
    evaluated(ready, tmp_path / "b", replace(one, workers=3))
    for path in (tmp_path / "a").glob("*.png"):
        same = read_label(path) == read_label(tmp_path / "b" / path.name)
        assert same.mean() > 0.999


def test_variants_are_scored_apart_and_leave_the_primary_figure_alone(
    ready, tmp_path: Path
) -> None:
    alone = evaluated(ready, tmp_path / "alone")
    names = ("ms-flip", "crf", "ms-flip-crf")
    with_more = evaluated(
        ready, tmp_path / "more", also=names, variant_scales=(0.5, 1.0), crf={"iterations": 3}
    )
    assert alone["variants"] == {}
    assert with_more["miou"] == alone["miou"]
    assert list(with_more["variants"]) == list(names)
    assert with_more["variants"]["crf"]["crf"]["iterations"] == 3
    assert with_more["variants"]["crf"]["scales"] == [1.0]
    assert with_more["variants"]["ms-flip"]["crf"] is None
    assert with_more["variants"]["ms-flip-crf"]["flip"] is True
    manifest = Manifest.of(ready.inputs, ready.context.places)
    masks = MaskIndex.of(ready.inputs, ready.context.places)
    for name in names:
        confusion = Confusion(4)
        for photo in manifest.split("val"):
            path = tmp_path / "more" / "variants" / name / f"{photo.id}.png"
            confusion.add(masks.read(photo), read_label(path))
        assert with_more["variants"][name]["miou"] == pytest.approx(confusion.miou())


def test_a_crf_without_iterations_changes_nothing(ready, tmp_path: Path) -> None:
    evaluated(ready, tmp_path / "out", also=("crf",), crf={"iterations": 0})
    manifest = Manifest.of(ready.inputs, ready.context.places)
    for photo in manifest.split("val"):
        plain = read_label(tmp_path / "out" / f"{photo.id}.png")
        refined = read_label(tmp_path / "out" / "variants" / "crf" / f"{photo.id}.png")
        assert (plain == refined).mean() > 0.999  # ties alone may fall another way
