"""`graph --show` of the real program, from settings to the page."""

import json
from pathlib import Path

import pytest

from tests.knowledge.conceptnet_files import write_assertions
from tests.program import Program

FEW = ("--dataset.demo.photos", "8", "--dataset.demo.val", "0", "--dataset.demo.size", "48")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "runs", FEW)


def test_index_and_graph_are_made_and_the_graph_is_printed(
    program: Program, tmp_path: Path
) -> None:
    ways = [("bird", "tree"), ("tree", "house"), ("boat", "water"), ("water", "bird")]
    edges = [("AtLocation", *ends, 1.0) for way in ways for ends in (way, way[::-1])]
    path = write_assertions(tmp_path / "assertions.csv.gz", edges)
    flags = ("graph", "--show", "--graph.relation", "conceptnet", "--graph.conceptnet", str(path))
    done = program.run(*flags)
    lines = done.stdout.splitlines()
    assert lines[0] == "class graph: conceptnet, form ours, 8 classes"
    assert "without neighbours: sheep, car, kite, person" in lines
    assert "ConceptNet does not know sheep, car, kite, person" in done.stderr
    assert not (program.runs / "demo").exists()
    # The second time nothing is made, and the same file elsewhere is the same file.
    moved = path.rename(tmp_path / "elsewhere.csv.gz")
    again = program.run(*flags[:-1], str(moved), "--json")
    assert again.stderr == ""
    found = json.loads(again.stdout)
    assert found["edges"][0]["weight"] > 0.05
    assert set(found["agreement"]["graph"]) >= {"text", "cooccurrence", "conceptnet", "random"}


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--graph.relation", "conceptnet"), 2, "relation conceptnet needs --graph.conceptnet"),
        (("--graph.relation", "conceptnett"), 2, "did you mean 'conceptnet'?"),
        (
            ("--graph.relation", "conceptnet", "--graph.conceptnet", "absent.csv"),
            1,
            "there is no absent.csv: give an assertions file of ConceptNet 5",
        ),
        (
            ("--graph.relation", "matrix", "--graph.matrix", "absent.json"),
            1,
            "absent.json",
        ),
        (("--graph.descriptions", "absent.json"), 1, "absent.json"),
    ],
)
def test_what_is_missing_is_said_in_one_message(
    program: Program, flags: tuple[str, ...], code: int, message: str
) -> None:
    said = program.run("graph", "--show", *flags, code=code).stderr
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert len(errors[0]) < 400
