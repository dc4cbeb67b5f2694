import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from knowledge import relations
from knowledge.graph import ClassGraph
from stages.reports.artifacts import Run
from stages.reports.graph_picture import ALL_NAMED, MOST_EDGES, RADIUS, SIZE, drawn, graph_picture
from tests.stages.conftest import TinyRun


def graph_of(names: list[str], adjacency: np.ndarray) -> ClassGraph:
    vectors = np.zeros((len(names), 2), np.float32)
    return ClassGraph(tuple(names), vectors, adjacency.astype(np.float32), {})


def dense(count: int) -> ClassGraph:
    similarity = np.random.default_rng(0).random((count, count))
    matrix = relations.adjacency(relations.neighbours(similarity))
    return graph_of([f"class {n}" for n in range(count)], matrix)


def numbers(path: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?[\d.]+", path)]


@pytest.mark.parametrize("count", [2, 8, 20, 80, 254])
def test_everything_lies_in_the_picture(count: int) -> None:
    picture = drawn(dense(count))
    assert picture is not None
    assert len(picture.nodes) == count
    assert len(picture.arrows) == min(MOST_EDGES, int((dense(count).adjacency > 0).sum() - count))
    for node in picture.nodes:
        assert math.hypot(node.x - SIZE / 2, node.y - SIZE / 2) == pytest.approx(RADIUS, abs=0.1)
        assert -90 <= node.turn <= 90  # never upside down
    points = [value for arrow in picture.arrows for value in numbers(arrow.path + arrow.head)]
    assert all(0 <= value <= SIZE for value in points)
    assert 5 <= picture.font <= 11


def test_arrows_point_to_the_class_that_hears() -> None:
    # The second of four classes (to the right) hears from the first (at the top) alone.
    adjacency = np.eye(4)
    adjacency[1, :2] = 0.3, 0.7
    picture = drawn(graph_of(["top", "right", "bottom", "left"], adjacency))
    assert picture is not None
    (arrow,) = picture.arrows
    assert arrow.title == "right hears 30.0 % from top"
    x0, y0, *_, x1, y1 = numbers(arrow.path)
    assert (x0, y0) == (320, 128)
    assert (x1, y1) == (512, 320)
    assert numbers(arrow.head)[:2] == [x1, y1]
    radii = [node.radius for node in picture.nodes]
    assert radii[0] > radii[1] == radii[2] == radii[3]
    assert [node.left for node in picture.nodes] == [False, False, False, True]
    assert picture.note.startswith("1 edges;")


def test_many_classes_are_named_where_an_edge_touches_them() -> None:
    few, many = drawn(dense(ALL_NAMED)), drawn(dense(ALL_NAMED + 20))
    assert few is not None
    assert many is not None
    assert all(node.label for node in few.nodes)
    assert 0 < sum(bool(node.label) for node in many.nodes) < ALL_NAMED
    assert many.note.startswith(f"{MOST_EDGES} strongest of {5 * (ALL_NAMED + 20)} edges;")


def test_long_names_are_cut_and_stay_whole_in_the_title() -> None:
    name = "a class with a very long name indeed"
    picture = drawn(graph_of([name, "b"], np.array([[0.5, 0.5], [0, 1]])))
    assert picture is not None
    assert picture.nodes[0].label == "a class with a ve\N{HORIZONTAL ELLIPSIS}"
    assert picture.nodes[0].name == name


def test_a_graph_without_edges_is_not_drawn() -> None:
    assert drawn(graph_of(["a", "b"], np.eye(2))) is None


def test_the_drawing_of_a_run_is_whole_and_escaped_on_the_page(tiny_run: TinyRun) -> None:
    from stages import report

    out = tiny_run.root / "page"
    out.mkdir()
    report.run(report.Config(), tiny_run.inputs, out, tiny_run.context)
    page = (out / "report.html").read_text(encoding="utf-8")
    start = page.index('<figure class="chart graph">')
    figure = page[start : page.index("</figure>", start) + len("</figure>")]
    assert "<b>odd" not in figure
    root = ElementTree.fromstring(figure)  # well-formed: no name breaks out of its place
    titles = [element.text for element in root.iter("title")]
    assert "bar hears 25.0 % from <b>odd & end</b>" in titles
    assert len(list(root.iter("circle"))) == 3
    assert "style=" not in figure  # the page's policy allows the style sheet alone
    assert graph_picture(Run.of(tiny_run.without("graph"))) is None
