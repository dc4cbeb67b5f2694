"""`STAGE --show`: looking at an artifact, with the settings of a run or with others."""

import json

import pytest

from tests.pipeline.toy import Toy


def test_the_artifact_of_a_finished_run_is_shown_and_nothing_is_made(made: Toy) -> None:
    seen = made.run("classify", "--show")
    assert seen.out == "model 1.0 12 {}\n"
    assert seen.err == ""
    assert seen.computed == []
    assert json.loads(made.run("classify", "--show", "--json").out) == {"model": "1.0 12 {}"}


def test_a_named_run_is_shown_as_it_was_made(toy: Toy) -> None:
    toy.run("--classify.rate", "0.5", "--name", "half", "--until", "classify")
    seen = toy.run("classify", "--show", "--name", "half")
    assert seen.out == "model 5.0 12 {}\n"
    assert seen.computed == []


def test_what_is_missing_is_made_beside_the_runs_that_are_there(made: Toy) -> None:
    before = {
        path.name: path.readlink() for path in (made.runs / "toy").iterdir() if path.is_symlink()
    }
    seen = made.run("classify", "--show", "--classify.rate", "0.3")
    assert seen.out == "model 3.0 12 {}\n"  # progress goes elsewhere
    assert "done" in seen.err
    assert seen.computed == ["classify"]
    after = {
        path.name: path.readlink() for path in (made.runs / "toy").iterdir() if path.is_symlink()
    }
    assert after == before
    assert (made.runs / "toy-classify" / "classify" / "model.txt").is_file()
    assert made.run("classify", "--show", "--classify.rate", "0.3").computed == []


def test_with_a_name_it_is_that_run_which_is_made(toy: Toy) -> None:
    assert toy.run("classify", "--show", "--name", "new").computed == ["index", "classify"]
    assert (toy.runs / "new" / "classify" / "model.txt").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["classify"], "classify is a stage: `classify --help`, `classify --show`, --from"),
        (["classify", "--show", "--classify.rat", "1"], "did you mean --classify.rate?"),
        (["classify", "--show", "--force", "classify"], "goes with no --from, --until"),
        (["classify", "--show", "--dry-run"], "goes with no --from, --until"),
        (["classify", "--show", "cams"], "what is 'cams'"),
        (["labels", "--show"], "labels is a stage: `labels --help`, --from labels"),
    ],
)
def test_what_it_does_not_take_is_said(toy: Toy, flags: list[str], message: str) -> None:
    failed = toy.run(*flags, code=2)
    assert message in failed.err
    assert toy.logged() == []


def test_the_help_of_the_stage_names_it(toy: Toy) -> None:
    for flags in (["classify", "--help"], ["classify", "--show", "--help"]):
        text = toy.run(*flags).out
        assert "--classify.rate FLOAT" in text
        assert "classify --show [flags of a run]" in text
    assert "--show" not in toy.run("labels", "--help").out
