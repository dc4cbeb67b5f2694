import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from data.manifest import Manifest, Photo, write_classes, write_photos
from knowledge.classes import ClassTable
from knowledge.graph import ClassGraph
from knowledge.vectors import SHIPPED
from pipeline.context import Context, Silent
from stages import graph
from stages.graph import Config

NAMES = ["person", "horse", "sofa", "train"]
TRAIN = ["person horse", "person horse", "person", "person sofa", "sofa"]
VAL = ["train sofa", "train sofa", "train person"]


class Notes(Silent):
    """A listener that keeps what a person would read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Word vectors with known cosines, in another order than the classes."""
    rows = {"train": [0, 0, 1], "sofa": [0, 1, 0], "horse": [3, 4, 0], "person": [2, 0, 0]}
    path = tmp_path / "words.safetensors"
    names = '["train", "sofa", "horse", "person"]'
    save_file(
        {"embeddings": np.array(list(rows.values()), dtype=np.float32)}, path, {"names": names}
    )
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index artifact of eight photos, none of which exists: the stage reads tags alone."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_classes(folder, ClassTable.of_names("own", NAMES))
    photos = [
        Photo(f"{split}_{i}", f"{split}_{i}.jpg", (4, 5), tuple(tags.split()), split, "0" * 64)
        for split, listed in (("train", TRAIN), ("val", VAL))
        for i, tags in enumerate(listed)
    ]
    write_photos(folder, photos)
    return folder


def built(config: Config, index: Path, out: Path, listener: Silent | None = None) -> ClassGraph:
    out.mkdir()
    context = Context(
        places={"dataset.root": index.parent},
        listener=listener or Silent(),
    )
    graph.run(config, {"index": index}, out, context)
    result = ClassGraph.load(out)
    result.check(Manifest.read(index, None).classes.names)
    return result


def test_cooccurrence_counts_train_tags_only(index: Path, words: Path, tmp_path: Path) -> None:
    notes = Notes()
    config = Config(relation="cooccurrence", tau=0.5, vectors=words)
    result = built(config, index, tmp_path / "out", notes)
    # P(horse|person) = 2/4, P(person|horse) = 1, P(person|sofa) = 1/2; the train is alone there.
    expected = [[0.8, 0.2, 0, 0], [0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(result.adjacency, expected, atol=1e-7)
    assert result.card["tags"] == {"split": "train", "photos": 5}
    assert notes.lines == ["1 of 4 classes have no neighbour in the class graph (train)"]
    assert result.embeddings[0].tolist() == [2, 0, 0]


def test_soft_cooccurrence_keeps_probabilities(index: Path, words: Path, tmp_path: Path) -> None:
    result = built(Config(tau=None, alpha=1, vectors=words), index, tmp_path / "out")
    np.testing.assert_allclose(result.adjacency[0], [0.8, 0.2 * 2 / 3, 0.2 / 3, 0], atol=1e-7)


def test_top_k_of_binarised_cooccurrence_keeps_the_likeliest(words: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    write_classes(folder, ClassTable.of_names("own", ["person", "sofa", "horse"]))
    tags = ["person sofa", "person horse", "person horse"]
    write_photos(
        folder,
        [
            Photo(str(i), f"{i}.jpg", (4, 5), tuple(one.split()), "train", "0" * 64)
            for i, one in enumerate(tags)
        ],
    )
    # P(sofa|person) = 1/3 and P(horse|person) = 2/3 both count as 1; there is room for one.
    result = built(Config(tau=0.3, top_k=1, vectors=words), folder, tmp_path / "out")
    np.testing.assert_allclose(result.adjacency[0], [0.8, 0, 0.2], atol=1e-7)


def test_text_relation_by_hand(index: Path, words: Path, tmp_path: Path) -> None:
    result = built(Config(relation="text", vectors=words), index, tmp_path / "out")
    # cos(person, horse) = 0.6, cos(horse, sofa) = 0.8, every other is 0.
    first, second = np.sqrt(0.6), np.sqrt(0.8)
    row = [0.2 * first / (first + second), 0.8, 0.2 * second / (first + second), 0]
    expected = [[0.8, 0.2, 0, 0], row, [0, 0.2, 0.8, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(result.adjacency, expected, atol=1e-7)
    assert result.card["text"]["source"] == "file"
    assert result.card["text"]["template"] == "name"
    assert result.card["edges"][0] == {"receiver": "person", "sender": "horse", "weight": 0.2}
    figures = result.card["figures"]
    assert figures["without_neighbours"] == ["train"]
    assert figures["effective_neighbours"]["sofa"] == 1.0


@pytest.mark.parametrize("relation", [*get_args(graph.Knowledge), *get_args(graph.Control)])
def test_every_relation_builds_the_same_bytes_twice(
    relation: str, index: Path, words: Path, tmp_path: Path
) -> None:
    config = Config(relation=relation, vectors=words, seed=3)
    results = [built(config, index, tmp_path / name) for name in ("a", "b")]
    for name in ("graph.safetensors", "graph.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    np.testing.assert_allclose(results[0].adjacency.sum(axis=1), 1, atol=1e-6)
    assert results[0].card["relation"] == relation
    # Where files lie is no part of what the graph is.
    assert str(tmp_path) not in (tmp_path / "a" / "graph.json").read_text(encoding="utf-8")


def test_identity_and_random_vectors_are_the_controls(
    index: Path, words: Path, tmp_path: Path
) -> None:
    config = Config(relation="identity", embeddings="random", vectors=words)
    result = built(config, index, tmp_path / "out")
    assert np.array_equal(result.adjacency, np.eye(4, dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), [2, 5, 1, 1], rtol=1e-6)
    assert result.card["edges"] == []


def test_bare_and_described_names_of_a_known_table_need_no_model(tmp_path: Path) -> None:
    from knowledge.classes import VOC

    folder = tmp_path / "index"
    folder.mkdir()
    write_classes(folder, VOC)
    write_photos(folder, [Photo("a", "a.jpg", (4, 5), ("cat",), "train", "0" * 64)])
    results = {}
    for describe in (True, False):
        config = Config(relation="text", describe=describe)
        results[describe] = built(config, folder, tmp_path / str(describe))
        assert results[describe].card["text"]["source"] == "shipped"
    assert results[True].card["text"]["template"] == "name: description"
    assert not np.array_equal(results[True].embeddings, results[False].embeddings)


def test_vectors_that_are_not_there_are_named(index: Path, words: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"graph\.vectors: there is no .*absent"):
        built(Config(vectors=tmp_path / "absent"), index, tmp_path / "out")
    save_file({"embeddings": np.eye(2, dtype=np.float32)}, words, {"names": '["person", "horse"]'})
    with pytest.raises(ValueError, match=r"words\.safetensors has no vector for 'sofa', 'train'"):
        built(Config(vectors=words), index, tmp_path / "out2")


def test_impossible_settings_are_refused() -> None:
    for wrong in ({"strength": 1.5}, {"top_k": 0}, {"alpha": 0}, {"tau": 0}, {"relation": "kg"}):
        with pytest.raises(ValidationError):
            Config.model_validate(wrong)


def test_importing_the_stage_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'sentence_transformers', 'safetensors'}"
    code = f"import stages.graph, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_alphabetical_vectors_reach_the_right_classes(shared: Path, tmp_path: Path) -> None:
    from knowledge.classes import COCO

    folder = tmp_path / "index"
    folder.mkdir()
    write_classes(folder, COCO)
    write_photos(folder, [Photo("a", "a.jpg", (4, 5), ("cat",), "train", "0" * 64)])
    path = shared / "text/glove300_coco80_alphabetical.safetensors"
    result = built(Config(relation="text", vectors=path), folder, tmp_path / "out")
    row = dict(zip(result.names, result.adjacency[COCO.index("fork")], strict=True))
    del row["fork"]
    assert {name for name in row if row[name] > 0} >= {"knife", "spoon"}


def test_every_file_that_vectors_come_from_is_a_source(words: Path, tmp_path: Path) -> None:
    assert graph.sources(Config(vectors=words)) == {"vectors": words}
    shipped = graph.sources(Config())
    assert set(shipped) == {"shipped"}
    assert sorted(shipped["shipped"].glob("*.safetensors")) == sorted(SHIPPED.glob("*.safetensors"))
    model = graph.sources(Config(text_model=str(tmp_path)))
    assert model == shipped | {"text_model": tmp_path}
