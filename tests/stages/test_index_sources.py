"""What the key of the index depends on beside its settings."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages import index
from stages.index import Config
from tests.datasets import write_voc


def test_every_kind_of_tags_has_sources_of_its_own(tmp_path: Path) -> None:
    """`tags` is a place, no part of the key: what it changes has to show in the sources."""
    root = write_voc(tmp_path, {"a": ["cat"]})
    (root / "tags.csv").write_text("a,cat\n")
    (root / "tags.json").write_text('{"a": ["cat"]}')
    labels = [
        frozenset(index.sources(Config(reader="voc", root=root, tags=tags)))
        for tags in ("xml", "tags.csv", "tags.json")
    ]
    assert len(set(labels)) == 3
    folders = [
        frozenset(index.sources(Config(reader="folder", root=root, tags=tags)))
        for tags in ("folders", "tags.csv", "tags.json")
    ]
    assert len(set(folders)) == 3


@pytest.mark.parametrize("reader", ["voc", "folder"])
def test_the_name_of_the_names_file_is_part_of_the_key(tmp_path: Path, reader: str) -> None:
    """The class table is called by it, and so are the bytes of the index."""
    root = write_voc(tmp_path / "voc", {"a": ["cat"]})
    (root / "tags.csv").write_text("a,cat\n")
    labels = []
    for name in ("mine.txt", "yours.txt"):
        (tmp_path / name).write_text("cat\n")
        config = Config(reader=reader, root=root, tags="tags.csv", names=tmp_path / name)
        labels.append(set(index.sources(config)))
    assert labels[0] ^ labels[1] == {"names mine.txt", "names yours.txt"}


def test_the_settings_and_their_sources_answer_without_anything_heavy() -> None:
    code = (
        "import sys, stages.index, stages.masks; from stages.index import *; "
        "sources(Config()); "
        "print([m for m in ('torch', 'PIL', 'numpy', 'joblib', 'timm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
