import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from knowledge.graph import ClassGraph, Edge


@pytest.fixture
def graph() -> ClassGraph:
    adjacency = np.array([[0.8, 0.15, 0.05], [0.2, 0.8, 0], [0, 0, 1]], dtype=np.float32)
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    return ClassGraph(("cat", "dog", "Straße"), vectors, adjacency, {"relation": "text", "p": 0.2})


def test_survives_a_round_trip_in_the_same_bytes(graph: ClassGraph, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    graph.save(folders[0])
    back = ClassGraph.load(folders[0])
    back.save(folders[1])
    assert back.names == graph.names
    assert back.card == graph.card
    assert np.array_equal(back.adjacency, graph.adjacency)
    assert np.array_equal(back.embeddings, graph.embeddings)
    for name in ("graph.safetensors", "graph.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_cannot_be_changed_in_place(graph: ClassGraph) -> None:
    with pytest.raises(ValueError, match="read-only"):
        graph.adjacency += 1.0


def test_check_tells_order_from_other_names(graph: ClassGraph) -> None:
    graph.check(("cat", "dog", "Straße"))
    with pytest.raises(ValueError, match=r"same names in another order.*class 1 is 'cat' there"):
        graph.check(("dog", "cat", "Straße"))
    with pytest.raises(ValueError, match=r"other names.*class 3 is 'Straße' there and 'cow' here"):
        graph.check(("cat", "dog", "cow"))
    with pytest.raises(ValueError, match="3 classes, the data set 2"):
        graph.check(("cat", "dog"))


def test_strongest_edges_in_order(graph: ClassGraph) -> None:
    edges = graph.strongest(2)
    assert [edge[:2] for edge in edges] == [("dog", "cat"), ("cat", "dog")]
    assert edges[0].weight == pytest.approx(0.2)
    assert len(graph.strongest(50)) == 3
    assert isinstance(edges[0], Edge)


def test_sizes_and_numbers_must_fit() -> None:
    square, vectors = np.eye(3, dtype=np.float32), np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="of 2 names has an adjacency of"):
        ClassGraph(("cat", "dog"), vectors, square, {})
    vectors[0, 0] = np.nan
    with pytest.raises(ValueError, match="embeddings holds numbers that are not finite"):
        ClassGraph(("a", "b", "c"), vectors, square, {})


def test_load_names_a_folder_whose_files_disagree(graph: ClassGraph, tmp_path: Path) -> None:
    graph.save(tmp_path)
    path = tmp_path / "graph.safetensors"
    save_file(load_file(path), path, metadata={"names": '["dog", "cat", "cow"]'})
    with pytest.raises(ValueError, match="two files name different classes"):
        ClassGraph.load(tmp_path)
    path.write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match="holds no class graph"):
        ClassGraph.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        ClassGraph.load(tmp_path / "absent")


def test_importing_the_graph_loads_no_network_library() -> None:
    heavy = "{'torch', 'scipy', 'transformers', 'sentence_transformers', 'safetensors'}"
    code = f"import knowledge.graph, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
