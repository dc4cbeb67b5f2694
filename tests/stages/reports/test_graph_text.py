import json
from pathlib import Path

import numpy as np
import pytest

from knowledge.graph import ClassGraph
from stages.reports.graph_text import document, show

CARD = {
    "relation": "permuted",
    "settings": {"base": "text", "form": "ours"},
    "text": {"template": "name", "model": "words", "source": "file", "size": 2},
    "tags": {"split": "train", "photos": 7},
    "figures": {"agreement": {"graph": {"text": 0.5, "random": None}, "text": {"random": -0.25}}},
}


@pytest.fixture
def graph() -> ClassGraph:
    adjacency = [[0.8, 0.15, 0.05, 0], [0.2, 0.8, 0, 0], [0, 0, 1, 0], [0.1, 0.1, 0, 0.8]]
    names = ("cat", "[red]dog[/red]", "Straße", "cow")
    vectors = np.zeros((4, 2), np.float32)
    return ClassGraph(names, vectors, np.array(adjacency, np.float32), CARD)


def test_the_document_holds_every_edge_and_figure(graph: ClassGraph) -> None:
    found = document(graph)
    assert len(found["edges"]) == 5
    assert found["edges"][0] == {"receiver": "[red]dog[/red]", "sender": "cat", "weight": 0.2}
    assert found["without_neighbours"] == ["Straße"]
    assert found["off_diagonal_share"] == pytest.approx(0.2)
    cat, dog, alone, cow = found["classes"]
    assert [edge["sender"] for edge in cat["neighbours"]] == ["[red]dog[/red]", "Straße"]
    # exp of the entropy of shares 3/4 and 1/4.
    assert cat["effective_neighbours"] == pytest.approx(1.755, abs=1e-3)
    assert (dog["effective_neighbours"], cow["effective_neighbours"]) == (1.0, 2.0)
    assert alone == {
        "name": "Straße",
        "off_diagonal_share": 0.0,
        "effective_neighbours": 0.0,
        "neighbours": [],
    }
    assert found["agreement"]["text"] == {"random": -0.25}


def test_piped_it_is_plain_text(
    graph: ClassGraph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.save(tmp_path)
    show(tmp_path, False)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in lines)
    assert lines[0] == "class graph: permuted of text, form ours, 4 classes"
    assert "20.0 % of what a class hears comes from others" in lines[1]
    assert "strongest edges, 5 of 5" in lines
    assert any(line.split() == ["[red]dog[/red]", "cat", "20.0"] for line in lines)
    assert "without neighbours: Straße" in lines
    assert any(line.split() == ["graph", "+0.50", "-"] for line in lines)
    assert any(line.split() == ["text", "-0.25"] for line in lines)


def test_json_is_one_document(
    graph: ClassGraph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.save(tmp_path)
    show(tmp_path, True)
    assert json.loads(capsys.readouterr().out) == document(graph)


def test_on_a_terminal_it_has_the_same_rows(
    graph: ClassGraph,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph.save(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    show(tmp_path, False)
    text = capsys.readouterr().out
    assert "\x1b[1m" in text  # headers in bold
    assert "[red]dog[/red]" in text


def test_graphs_of_earlier_versions_and_without_edges_can_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ClassGraph(("a", "b"), np.zeros((2, 1), np.float32), np.eye(2, dtype=np.float32), {})
    bare.save(tmp_path)
    show(tmp_path, False)
    text = capsys.readouterr().out
    assert "class graph: not recorded" in text
    assert "strongest edges" not in text
    assert "without neighbours: a, b" in text
