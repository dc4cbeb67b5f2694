"""Heads compared on one set of pseudo-labels, small: shared stages once, one table, one page."""

import re

import pytest

from tests.program import Program, states
from tests.test_end_to_end import SMALL

FLAGS = ("--heads", "none,grm", "--seeds", "2")
BOUND = ("--bound-heads", "none", "--bound-seeds", "1")
SHARED = ("index", "masks", "graph", "classify", "cams", "labels", "inspect")
NETWORKS = ("none-0", "none-1", "masks-none-0", "grm-0", "grm-1")
ARMS = tuple(f"{verb}-{name}" for name in NETWORKS for verb in ("segment", "evaluate"))
STAGES = (*SHARED, *ARMS, "compare")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, str]:
    """A finished small comparison and what it said."""
    runs = tmp_path_factory.mktemp("compared") / "runs"
    program = Program(runs, SMALL, name="demo-compare")
    return program, program.run("compare", *FLAGS, *BOUND).stdout


def test_shared_stages_are_made_once_and_each_network_on_its_own(
    made: tuple[Program, str],
) -> None:
    program, said = made
    assert states(said) == dict.fromkeys(STAGES, "run")
    assert len(list((program.runs / ".store" / "labels").glob("*.lock"))) == 1
    labels = program.key("labels")
    for name in ("none-0", "grm-1"):
        recipe = program.json(f"segment-{name}", "recipe.json")
        assert recipe["inputs"]["labels"] == labels
        assert recipe["config"]["head"] == name[:-2]
        assert recipe["config"]["seed"] == int(name[-1])
    bound = program.json("segment-masks-none-0", "recipe.json")
    assert set(bound["inputs"]) == {"index", "graph", "classify", "masks"}


def test_it_ends_with_its_table(made: tuple[Program, str]) -> None:
    program, said = made
    text = program.path("compare", "compare.txt").read_text(encoding="utf-8")
    page = f"comparison: {program.path('compare', 'compare.html')}"
    assert said.endswith(f"{text}{page}\n")
    rows = {line.split()[0]: line for line in text.splitlines()[1:3]}
    assert list(rows) == ["none", "grm"]
    numbers = program.json("compare", "compare.json")
    for head in numbers["heads"]:
        values = head["miou"]["values"]
        own = [program.json(f"evaluate-{head['head']}-{s}", "scores.json")["miou"] for s in (0, 1)]
        assert list(values.values()) == own
        assert f"{100 * sum(own) / 2:.1f} ±" in rows[head["head"]]
    assert numbers["heads"][1]["difference"]["verdict"] == "too few seeds"
    assert numbers["heads"][1]["multiply_adds_ratio"] > 1
    assert numbers["heads"][0]["upper_bound"]["n"] == 1
    assert numbers["heads"][1]["upper_bound"] is None
    assert (numbers["ledger"]["training"], numbers["ledger"]["choosing"]) == (0, 0)
    assert numbers["ledger_bound"]["training"] == 16


def test_the_page_is_one_file_with_a_picture_for_each_head(made: tuple[Program, str]) -> None:
    program, _ = made
    text = program.path("compare", "compare.html").read_text(encoding="utf-8")
    links = re.findall(r"""(?:src|href|srcset|data|action)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(links) > 4 * 4
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "<script" not in text
    assert str(program.runs) not in text
    assert text.count("masks: the upper bound</td>") == 1


def test_the_same_comparison_again_finds_everything(made: tuple[Program, str]) -> None:
    program, said = made
    again = program.run("compare", *FLAGS, *BOUND, python=("-X", "importtime", "run_pipeline.py"))
    assert states(again.stdout) == dict.fromkeys(STAGES, "hit")
    assert again.stdout.splitlines()[-3:] == said.splitlines()[-3:]
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    packages = {name.partition(".")[0] for name in imported}
    assert not packages & {"torch", "timm", "numpy", "scipy", "jinja2", "matplotlib"}


def test_a_plain_run_with_a_head_and_seed_of_it_finds_its_network(
    made: tuple[Program, str],
) -> None:
    program, _ = made
    flags = ("--segment.head", "none", "--segment.seed", "1")
    said = program.run(*flags, "--until", "evaluate", "--name", "plain").stdout
    found = (*SHARED[:-1], "segment", "evaluate")  # nothing there needs `inspect`
    assert states(said) == dict.fromkeys(found, "hit")
    plain = program.runs / "plain" / "segment"
    assert plain.resolve() == program.path("segment-none-1").resolve()


def test_one_more_seed_trains_that_seed_alone(made: tuple[Program, str]) -> None:
    program, _ = made
    plan = program.run("compare", "--heads", "none,grm", "--seeds", "0,2", *BOUND, "--dry-run")
    found = states(plan.stdout)
    new = {"segment-none-2", "evaluate-none-2", "segment-grm-2", "evaluate-grm-2", "compare"}
    assert {stage for stage, state in found.items() if state == "run"} == new


def test_why_knows_a_network_of_a_comparison(made: tuple[Program, str]) -> None:
    program, _ = made
    told = program.run("why", "segment-grm-1", "--name", "demo-compare", "--segment.lovasz", "0")
    assert told.stdout == "segment-grm-1 would run: config lovasz 0.5 -> 0.0\n"
