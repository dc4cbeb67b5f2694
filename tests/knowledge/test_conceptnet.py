from pathlib import Path

import numpy as np
import pytest

from knowledge.classes import COCO, VOC
from knowledge.conceptnet import concept_similarity, concepts
from knowledge.phrases import PHRASES, phrases
from tests.knowledge.conceptnet_files import Edge, write_assertions

PAIRS = [("dog", "cat"), ("cat", "animal"), ("dog", "animal"), ("potted_plant", "flower")]
EDGES: list[Edge] = [
    ("RelatedTo", start, end, 1.0) for pair in PAIRS for start, end in (pair, pair[::-1])
]
NAMES = ("dog", "pottedplant", "Cat", "gizmo")


def test_names_of_voc_and_coco_are_spelt_as_concepts() -> None:
    assert concepts("pottedplant") == ("potted_plant", "houseplant")
    assert concepts("Potted Plant") == ("potted_plant",)
    assert concepts("tvmonitor") == ("television", "monitor")
    assert concepts("aeroplane") == ("aeroplane", "airplane")
    assert concepts("t-shirt") == ("t_shirt",)
    assert phrases("t-shirt") == ("t-shirt",)
    known = {*VOC.names, *COCO.names}
    assert set(PHRASES) <= known  # no entry that nobody uses


def test_unknown_classes_have_no_neighbours_and_are_named(tmp_path: Path) -> None:
    found = concept_similarity(write_assertions(tmp_path / "a.csv", EDGES), NAMES)
    assert found.card["unknown"] == ["gizmo"]
    assert found.card["of"]["pottedplant"] == ["potted_plant"]
    assert found.card["edges"] == 8
    assert not found.similarity[3].any()
    assert found.similarity[0, 2] > 0.1  # dog and cat
    assert found.similarity[0, 1] == 0  # no way from the dog to the plant
    assert found.similarity[1, 1] > 0.15


def test_two_readings_give_the_same_bytes(tmp_path: Path) -> None:
    path = write_assertions(tmp_path / "a.csv", EDGES)
    first, second = (concept_similarity(path, NAMES) for _ in range(2))
    assert first.similarity.tobytes() == second.similarity.tobytes()
    assert first.card == second.card
    # The order of the file's lines is no part of the result either, but for the last bits.
    back = concept_similarity(write_assertions(tmp_path / "b.csv", EDGES[::-1]), NAMES)
    np.testing.assert_allclose(back.similarity, first.similarity, atol=1e-12)


def test_the_cache_is_read_for_the_same_file_names_and_settings_alone(tmp_path: Path) -> None:
    path, cache = write_assertions(tmp_path / "a.csv", EDGES), tmp_path / "cache"
    first = concept_similarity(path, NAMES, cache=cache)
    (kept,) = cache.iterdir()
    made = kept.stat().st_mtime_ns
    calls: list[int] = []
    again = concept_similarity(path, NAMES, cache=cache, progress=lambda *_: calls.append(1))
    assert calls == []  # the file of assertions was not read
    assert kept.stat().st_mtime_ns == made
    assert again.similarity.tobytes() == first.similarity.tobytes()
    assert again.card == first.card
    concept_similarity(path, NAMES[::-1], cache=cache)
    concept_similarity(path, NAMES, cache=cache, restart=0.3)
    write_assertions(path, EDGES[:6])
    concept_similarity(path, NAMES, cache=cache)
    assert len(list(cache.iterdir())) == 4


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    path = write_assertions(tmp_path / "a.csv", EDGES)
    concept_similarity(path, NAMES, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(b"broken")
    with pytest.raises(ValueError, match=f"{kept.name} is damaged"):
        concept_similarity(path, NAMES, cache=tmp_path / "cache")


def test_classes_that_nobody_knows_are_an_error(tmp_path: Path) -> None:
    path = write_assertions(tmp_path / "a.csv", EDGES)
    with pytest.raises(ValueError, match=r"knows none of the classes \(猫, Straße\)"):
        concept_similarity(path, ("猫", "Straße"))
