"""The index comes back as written, in order, and its paths stay below the data set's root."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.manifest import Manifest, read_problems, write_classes, write_photos, write_problems
from data.records import Photo, Problem
from knowledge.classes import VOC, ClassTable


def _photo(identity: str, tags: tuple[str, ...] = ("cat",), **changes: object) -> Photo:
    given = {"id": identity, "photo": f"p/{identity}.jpg", "size": (3, 4), "split": "train"}
    return Photo(**{**given, "tags": tags, "sha256": "0" * 64, **changes})


def _write(artifact: Path, photos: list[Photo], classes: ClassTable = VOC) -> Manifest:
    write_classes(artifact, classes)
    write_photos(artifact, photos)
    return Manifest.read(artifact, artifact)


IDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=st.lists(IDS, unique=True, max_size=5), data=st.data())
def test_photos_come_back_whatever_they_are_called(
    tmp_path: Path, ids: list[str], data: st.DataObject
) -> None:
    tags = st.lists(st.sampled_from(VOC.names), unique=True).map(tuple)
    photos = [_photo(identity, data.draw(tags)) for identity in sorted(ids)]
    manifest = _write(tmp_path, photos)
    assert manifest.photos == tuple(photos)
    assert manifest.classes == VOC
    for photo, row in zip(photos, manifest.tag_matrix(photos), strict=True):
        assert {VOC.names[place] for place in np.flatnonzero(row)} == set(photo.tags)
        assert list(manifest.tag_indices(photo)) == sorted(map(VOC.index, photo.tags))


def test_splits_keep_the_order(tmp_path: Path) -> None:
    photos = [_photo("a"), _photo("b", split="val"), _photo("c")]
    manifest = _write(tmp_path, photos)
    assert [photo.id for photo in manifest.split("train")] == ["a", "c"]
    assert [photo.id for photo in manifest.split("val")] == ["b"]
    assert manifest.tag_matrix(()).shape == (0, 20)


def test_photos_lie_below_the_root_of_this_machine_or_in_the_artifact(tmp_path: Path) -> None:
    artifact, root = tmp_path / "artifact", tmp_path / "root"
    artifact.mkdir()
    photo = _photo("a")
    _write(artifact, [photo])
    found = Manifest.of({"index": artifact}, {"dataset.root": root})
    assert found.path(photo) == root / "p" / "a.jpg"
    assert Manifest.of({"index": artifact}, {}).path(photo) == artifact / "p" / "a.jpg"
    with pytest.raises(ValueError, match="leads out"):
        found.path(_photo("a", photo="../a.jpg"))


def test_problems_come_back_sorted_by_path(tmp_path: Path) -> None:
    problems = [
        Problem("b", "b", "grey", "x", used=True),
        Problem("a", None, "missing", "y", used=False),
    ]
    write_problems(tmp_path, problems)
    assert read_problems(tmp_path) == tuple(reversed(problems))
    first = json.loads((tmp_path / "problems.jsonl").read_text().splitlines()[0])
    assert set(first) == {"path", "id", "problem", "reason", "used"}


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    _write(tmp_path, [_photo("a")])
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write('{"id": "b"')
    with pytest.raises(ValueError, match=r"manifest\.jsonl line 2"):
        Manifest.read(tmp_path, None)


def test_reading_an_index_imports_nothing_heavy() -> None:
    code = (
        "import sys, data.manifest; "
        "print([m for m in ('torch', 'PIL', 'scipy', 'timm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
