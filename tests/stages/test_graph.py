import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

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
from tests.knowledge.conceptnet_files import write_assertions

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


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What the relations conceptnet and matrix read, by the names of their settings."""
    pairs = [("horse", "person"), ("horse", "animal"), ("animal", "person"), ("sofa", "person")]
    edges = [("RelatedTo", *ends, 1.0) for pair in pairs for ends in (pair, pair[::-1])]
    matrix = tmp_path / "matrix.csv"
    lines = [",sofa,person,horse,train", "sofa,1,4,0,0", "person,4,1,2,0", "horse,0,2,1,1"]
    matrix.write_text("\n".join([*lines, "train,0,0,1,1"]), encoding="utf-8")
    return {"conceptnet": write_assertions(tmp_path / "a.csv.gz", edges), "matrix": matrix}


KINDS: list[dict[str, Any]] = [
    *({"relation": relation} for relation in get_args(graph.Knowledge)),
    *(
        {"relation": relation, "base": base}
        for relation in get_args(graph.Control)
        for base in get_args(graph.Knowledge)
    ),
    *(
        {"relation": "mix", "mixed": mixed}
        for mixed in itertools.combinations(get_args(graph.Source), 2)
    ),
    *({"form": form} for form in ("mlgcn", "mlgcn_code", "released")),
    *({"form": "released", "relation": name} for name in get_args(graph.Source)),
    {"form": "mlgcn_code", "relation": "permuted"},
    {"form": "mlgcn", "relation": "identity"},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_every_graph_is_made_in_the_same_bytes_twice(
    kind: dict[str, Any], index: Path, words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    config = Config(**kind, vectors=words, seed=3, tau=0.4, **files)
    results = [built(config, index, tmp_path / name) for name in ("a", "b")]
    for name in ("graph.safetensors", "graph.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    if config.form == "ours":
        np.testing.assert_allclose(results[0].adjacency.sum(axis=1), 1, atol=1e-6)
    assert results[0].card["relation"] == config.relation
    assert (results[0].adjacency >= 0).all()
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"relation": "conceptnet"}, "relation conceptnet needs --graph.conceptnet FILE"),
        ({"relation": "random", "base": "matrix"}, "relation matrix needs --graph.matrix FILE"),
        ({"relation": "mix", "mixed": ("text", "matrix")}, "needs --graph.matrix FILE"),
        ({"mixed": ("text", "text")}, "text twice: name two relations"),
        ({"form": "released", "relation": "mix"}, "a mix has form ours"),
        ({"form": "mlgcn", "relation": "text"}, "made of cooccurrence alone"),
        ({"form": "mlgcn_code", "relation": "random", "base": "text"}, "cooccurrence alone"),
        ({"form": "mlgcn", "tau": None}, r"needs --graph\.tau, 0\.4 in ML-GCN"),
    ],
)
def test_settings_that_do_not_go_together_say_so(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(wrong)


def test_conceptnet_tells_what_it_does_not_know(
    index: Path, words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    notes = Notes()
    config = Config(relation="conceptnet", vectors=words, **files, cache=tmp_path / "cache")
    result = built(config, index, tmp_path / "out", notes)
    assert notes.lines == [
        "ConceptNet does not know train (1 of 4 classes)",
        "1 of 4 classes have no neighbour in the class graph (train)",
    ]
    assert result.adjacency[3].tolist() == [0, 0, 0, 1]
    share = dict(zip(NAMES, result.adjacency[0], strict=True))  # of the person
    assert share["horse"] > share["sofa"] > 0
    assert result.card["conceptnet"]["of"]["sofa"] == ["sofa"]
    assert set(result.card["figures"]["agreement"]["conceptnet"]) == {"random", "permuted"}
    # A second graph takes what the first one left in the cache.
    files["conceptnet"].touch()
    again = built(config, index, tmp_path / "again")
    assert np.array_equal(again.adjacency, result.adjacency)


def test_a_matrix_of_the_users_own_is_joined_by_name(
    index: Path, words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    config = Config(relation="matrix", alpha=1, vectors=words, **files)
    result = built(config, index, tmp_path / "out")
    expected = [
        [0.8, 0.2 / 3, 0.4 / 3, 0],
        [0.4 / 3, 0.8, 0, 0.2 / 3],
        [0.2, 0, 0.8, 0],
        [0, 0.2, 0, 0.8],
    ]
    np.testing.assert_allclose(result.adjacency, expected, atol=1e-7)


def test_a_mix_is_of_the_two_that_are_named(
    index: Path, words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "mix": {"relation": "mix", "mixed": ("matrix", "text"), "mu": 0.25},
        "text": {"relation": "text"},
        "matrix": {"relation": "matrix"},
    }
    made = {
        name: built(Config(**kind, vectors=words, **files), index, tmp_path / name).adjacency
        for name, kind in kinds.items()
    }
    # Rows that both have; the train's is of the matrix alone.
    expected = 0.25 * made["matrix"] + 0.75 * made["text"]
    np.testing.assert_allclose(made["mix"][:3], expected[:3], atol=1e-6)
    np.testing.assert_allclose(made["mix"][3], made["matrix"][3], atol=1e-6)


def test_forms_of_ml_gcn_receive_in_opposite_directions(
    index: Path, words: Path, tmp_path: Path
) -> None:
    # P(person|sofa) = 1/2, P(sofa|person) = 1/4: the sofa's row in the paper, the person's in code.
    made = {
        form: built(Config(form=form, tau=0.5, vectors=words), index, tmp_path / form)
        for form in ("mlgcn", "mlgcn_code")
    }
    person, sofa = NAMES.index("person"), NAMES.index("sofa")
    assert made["mlgcn"].adjacency[sofa, person] == pytest.approx(0.2)
    assert made["mlgcn"].adjacency[person, sofa] == 0
    assert made["mlgcn_code"].adjacency[person, sofa] > 0
    assert made["mlgcn_code"].adjacency[sofa, person] == 0
    np.testing.assert_allclose(np.diagonal(made["mlgcn"].adjacency), 0.8)
    assert made["mlgcn"].card["figures"]["off_diagonal_mass"] == pytest.approx(0.2)


def test_descriptions_of_the_users_own_reach_the_text_model(tmp_path: Path) -> None:
    from knowledge.classes import VOC

    folder = tmp_path / "index"
    folder.mkdir()
    write_classes(folder, ClassTable.of_names("own", list(VOC.names)))
    write_photos(folder, [Photo("a", "a.jpg", (4, 5), ("cat",), "train", "0" * 64)])
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({one.name: one.description for one in VOC.classes}))
    result = built(Config(relation="text", descriptions=path), folder, tmp_path / "out")
    # The shipped vectors are those of VOC's own descriptions: the texts were the same.
    assert result.card["text"]["source"] == "shipped"
    assert result.card["text"]["template"] == "name: description"
    path.write_text('{"catt": "soft"}')
    with pytest.raises(ValueError, match=r"which is no class: did you mean 'cat'\?"):
        built(Config(relation="text", descriptions=path), folder, tmp_path / "wrong")


def test_agreement_of_a_relation_with_itself_and_with_chance(
    index: Path, words: Path, tmp_path: Path
) -> None:
    config = Config(relation="text", alpha=1, top_k=3, vectors=words)
    card = built(config, index, tmp_path / "out").card
    found = card["figures"]["agreement"]
    assert list(found) == ["graph", "text", "cooccurrence"]
    assert found["graph"]["text"] > 0.9
    # Six pairs. Text ranks person-horse 5 and horse-sofa 6, tags person-horse 6 and person-sofa 5,
    # all others 2.5: 2.75 / 12.5.
    assert found["text"]["cooccurrence"] == 0.22
    assert -1 <= found["graph"]["random"] <= 1


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


def test_files_of_relations_are_sources_where_they_are_used(
    words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    texts = tmp_path / "texts.json"
    given = {"vectors": words, **files, "descriptions": texts}
    base = {"vectors": words, "descriptions": texts}
    assert graph.sources(Config(**given)) == base
    assert graph.sources(Config(relation="conceptnet", **given)) == {
        **base,
        "conceptnet": files["conceptnet"],
    }
    mixed = Config(relation="permuted", base="mix", mixed=("matrix", "conceptnet"), **given)
    assert graph.sources(mixed) == base | files
    assert graph.sources(Config(describe=False, **given)) == {"vectors": words}


def test_files_that_list_classes_are_those_to_check_before_a_run(
    words: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    assert Config(vectors=words, **files).class_files() == [words]
    assert Config(vectors=tmp_path / "glove.6B.300d.txt").class_files() == []
    assert Config(vectors=tmp_path).class_files() == []
    both = Config(relation="matrix", vectors=words, **files)
    assert both.class_files() == [files["matrix"], words]
