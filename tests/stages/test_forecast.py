"""From a few photos to all: what is scaled by what, and what counts once."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.manifest import Manifest
from data.records import Photo
from knowledge.classes import DEMO
from knowledge.graph import ClassGraph
from pipeline.graph import Stage
from stages import rehearsal
from stages.classify import Config as Classify
from stages.edges import Config as Edges
from stages.features import Config as Features
from stages.forecast import Cost, forecast
from stages.nets.backbone import Backbone
from stages.nets.feature_cache import cache_bytes
from stages.nets.segmenter import build_segmenter, save_segmenter
from stages.rehearsal import Measured, Rehearsal, Segment, Watch, sample, smaller
from stages.segment import Config as Net


def manifest(train: int, val: int, side: int = 100) -> Manifest:
    photos = [
        Photo(f"{split}{n:03d}", "a.jpg", (side, side), ("disk",), split, "0")
        for split, count in (("train", train), ("val", val))
        for n in range(count)
    ]
    return Manifest(Path("x"), DEMO, tuple(photos))


def rehearsed(*stages: Measured) -> Rehearsal:
    return Rehearsal(manifest(16, 4), stages, Path("x"), 10**9)


def seconds(measured: Measured, config, whole: Manifest) -> float:
    stage = Stage(measured.name, f"stages.{measured.kind}", measured.kind, config)
    return forecast(rehearsed(measured), whole, [stage], made={}).seconds


def test_photos_are_scaled_and_the_start_is_not() -> None:
    cams = Measured("cams", "cams", Net(), [Segment("photos", 16, 3.0, 1, 16, 7.5)], rest=0.5)
    whole = manifest(1600, 4)
    assert seconds(cams, Net(), whole) == pytest.approx(3 + 0.5 * 1599 + 0.5)
    assert seconds(cams, Net(), manifest(16, 4)) == pytest.approx(3 + 7.5 + 0.5)


def test_larger_photos_take_longer() -> None:
    cams = Measured("cams", "cams", Net(), [Segment("photos", 16, 0.0, 0, 16, 8.0)])
    assert seconds(cams, Net(), manifest(16, 4, side=200)) == pytest.approx(32)


def test_val_photos_are_scaled_by_val() -> None:
    evaluate = Measured("evaluate", "evaluate", Net(), [Segment("photos", 4, 0.0, 0, 4, 2.0)])
    assert seconds(evaluate, Net(), manifest(16, 40)) == pytest.approx(20)


def test_trainings_are_scaled_by_their_steps_and_batches() -> None:
    config = Classify(epochs_head=25, epochs=5, batch_size=16)
    few = config.model_copy(update={"epochs_head": 4, "epochs": 2, "batch_size": 4})
    segments = [
        Segment("photos", 16, 1.0, 16, 16, 0.0),
        Segment("steps", 16, 0.0, 0, 16, 0.16),
        Segment("steps", 8, 0.0, 0, 8, 8.0),
    ]
    found = seconds(Measured("classify", "classify", few, segments), config, manifest(160, 4))
    head, all_of_it = 25 * 10 * 0.01 * 4, 5 * 10 * 1.0 * 4  # steps, seconds, 4 times the photos
    assert found == pytest.approx(1 + 1.0 * 144 / 16 + head + all_of_it)


def test_every_phase_of_a_classifier_has_its_own_passes() -> None:
    nodes, recam = {"graph": "dynamic", "epochs": 6}, {"epochs": 4}
    changes = {"epochs_head": 25, "epochs": 5, "batch_size": 16}
    config = Classify.model_validate({**changes, "nodes": nodes, "recam": recam})
    few = config.model_copy(update={"epochs_head": 4, "epochs": 2})
    passes, waits = (4, 6, 2, 4), (0.001, 0.01, 1.0, 0.1)  # seconds a step: one a pass
    segments = [
        Segment("steps", n, 0.0, 0, n, n * each) for n, each in zip(passes, waits, strict=True)
    ]
    found = seconds(Measured("classify", "classify", few, segments), config, manifest(160, 4))
    wanted = sum(n * 10 * each for n, each in zip((25, 6, 5, 4), waits, strict=True))
    assert found == pytest.approx(wanted)


def test_boundaries_are_learnt_from_so_many_photos_at_most() -> None:
    config = Edges(kind="learned", epochs=2, photos=40, batch_size=8)
    segments = [Segment("steps", 4, 0.0, 0, 4, 0.4)]
    found = seconds(Measured("edges", "edges", config, segments), config, manifest(160, 4))
    assert found == pytest.approx(2 * 5 * 0.1)


def test_files_of_photos_are_scaled_and_models_are_not() -> None:
    labels = Measured("labels", "labels", Net(), fixed_bytes=500, photo_bytes=1600)
    stage = Stage("labels", "stages.labels", "labels", Net())
    made = {"index": Cost("index", 2.0, 70)}
    found = forecast(rehearsed(labels), manifest(160, 4), [stage], made=made)
    assert found.bytes == 70 + 500 + 16000
    assert found.photos == 20
    assert found.document()["seconds"] == 2.0
    assert found.memory == 10**9


def test_cached_maps_count_at_every_scale_and_as_long_as_they_fit(tmp_path: Path) -> None:
    """What the training keeps, by the same settings; head `none` reads as much as it keeps."""
    config = Net(head="none", features="cached", cache_scales=(1.0, 2.0), width=16, cache_gib=1.0)
    torch.manual_seed(0)
    graph = ClassGraph(("disc",), np.zeros((1, 2), np.float32), np.eye(1, dtype=np.float32), {})
    network = build_segmenter(
        Backbone("test_resnet", output_stride=16), "none", config.head_config(), classes=2,
        graph=graph,
    )  # fmt: skip
    (tmp_path / "segment").mkdir()
    save_segmenter(
        tmp_path / "segment", network, head="none", config=config.head_config(), graph=graph,
        card={},
    )  # fmt: skip
    whole = manifest(1600, 4)
    few = Rehearsal(manifest(16, 4), (Measured("segment", "segment", config),), tmp_path, 10**9)

    def memory(**changes: Any) -> int:
        changed = config.model_copy(update=changes)
        few.stages[0].config = changed
        stage = Stage("segment", "stages.segment", "segment", changed)
        return forecast(few, whole, [stage], made={}).memory - 10**9

    one = partial(cache_bytes, network, flip=True)
    both = {photos: one(whole.split("train")[:photos], scales=(1.0, 2.0)) for photos in (16, 1600)}
    alone = {photos: one(whole.split("train")[:photos]) for photos in (16, 1600)}
    assert memory() == both[1600] - both[16] > 3 * (alone[1600] - alone[16])
    between = (alone[1600] + both[1600]) / 2 / 2**30
    assert memory(cache_gib=between) == alone[1600] - both[16]
    assert memory(cache_gib=both[16] / 2**31) == 0
    assert memory(features="trained") == 0


def test_what_failed_is_not_forecast() -> None:
    broken = Measured("cams", "cams", Net(), [Segment("photos", 16, 3.0, 1, 16, 7.5)], problem="x")
    assert seconds(broken, Net(), manifest(1600, 4)) == 0


def test_a_watch_keeps_stretches_of_work_apart() -> None:
    watch = Watch()
    for done in (4, 8, 16):
        watch.progress(done, 16, "photos")
    for done in (1, 2):
        watch.progress(done, 2, "steps")
    for done in (1, 2):
        watch.progress(done, 2, "steps")
    stretches = [(one.unit, one.total, one.first, one.done) for one in watch.segments]
    assert stretches == [("photos", 16, 4, 16), ("steps", 2, 1, 2), ("steps", 2, 1, 2)]
    assert all(one.seconds >= 0 and one.waited >= 0 for one in watch.segments)


def test_the_sample_is_of_both_splits_and_of_photos_with_masks() -> None:
    whole = manifest(100, 50)
    masked = {photo.id for photo in whole.photos if int(photo.id[-3:]) % 2}
    few = sample(whole, masked, 20)
    assert len(few) == 20
    assert sum(photo.split == "val" for photo in few) == 4
    assert {photo.id for photo in few} <= masked
    assert [photo.id for photo in few] == sorted(photo.id for photo in few)
    assert len(sample(whole, set(), 20)) == 20
    assert len(sample(manifest(3, 1), set(), 20)) == 4


def test_trainings_are_rehearsed_with_fewer_passes() -> None:
    config = smaller("classify", Classify(weights="scratch", epochs_head=25, epochs=5), "cpu")
    assert (config.epochs_head, config.epochs, config.batch_size) == (4, 2, 4)
    net = Net(weights="classifier", features="cached", epochs=1, batch_size=16)
    assert smaller("segment", net, "cpu") == net
    assert smaller("labels", net, "cpu") is net


def test_features_are_rehearsed_as_they_are_with_weights_that_are_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = Features.of(Classify(weights="imagenet", frozen_norm=True))
    monkeypatch.setattr(rehearsal, "weights_here", lambda name: True)
    assert smaller("features", fetched, "cpu") == fetched
    monkeypatch.setattr(rehearsal, "weights_here", lambda name: False)
    random = smaller("features", fetched, "cpu")
    assert (random.weights, random.frozen_norm) == ("scratch", False)
