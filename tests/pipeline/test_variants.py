"""Variants: one kind of stage under several names, in one pipeline or in two, shares artifacts."""

import json

import pytest
from pydantic import BaseModel

from pipeline.graph import Pipeline, Stage
from tests.pipeline.toy import Toy

TWO = ("compare", "--rates", "0.1,0.2")


class Nothing(BaseModel, frozen=True):
    pass


def test_a_stage_may_know_its_input_by_another_name() -> None:
    above = Stage("train-b", "stages.train", "train", Nothing())
    below = Stage("score-b", "stages.score", "score", Nothing(), {"train": "train-b"})
    pipeline = Pipeline([above, below])
    assert below.reads == {"train": "train-b"}
    assert (above.kind, below.kind) == ("train", "score")
    assert pipeline.above("score-b") == {"train-b"}
    assert pipeline.below("train-b") == {"score-b"}
    with pytest.raises(ValueError, match="input of score-b: there is no stage 'train-c'"):
        Pipeline([above, Stage("score-b", "stages.score", "score", Nothing(), {"a": "train-c"})])


def test_variants_are_made_once_each_and_shared_stages_once(toy: Toy) -> None:
    first = toy.run(*TWO)
    assert first.computed.count("index") == 1
    assert first.computed.count("classify") == 2
    assert first.computed.count("compare") == 1
    assert toy.artifact("classify-0.1", "toy-compare") != toy.artifact(
        "classify-0.2", "toy-compare"
    )
    assert "cams-0.2" in first.out
    assert toy.run(*TWO).computed == []


def test_an_artifact_serves_whichever_pipeline_asks_for_it(made: Toy) -> None:
    first = made.run(*TWO)
    assert first.computed.count("index") == 0
    assert first.computed.count("classify") == 1  # the rate that the plain run has is there
    assert made.artifact("cams-0.1", "toy-compare") == made.artifact("cams")
    plain = made.run("--classify.rate", "0.2", "--until", "cams")
    assert plain.computed == []
    assert made.artifact("cams") == made.artifact("cams-0.2", "toy-compare")
    recipe = json.loads((made.artifact("cams") / "recipe.json").read_text())
    assert recipe["stage"] == "cams"
    assert set(recipe["inputs"]) == {"index", "classify"}


def test_variants_with_one_key_are_made_once(toy: Toy) -> None:
    twice = toy.run(*TWO, "--twice")
    assert twice.computed.count("classify") == 2
    assert toy.artifact("cams-again", "toy-compare") == toy.artifact("cams-0.1", "toy-compare")
    again = toy.run(*TWO, "--twice", "--from", "classify-again")
    assert again.computed.count("classify") == 1
    assert again.computed.count("cam 0") == 1
    assert toy.run(*TWO, "--twice").computed == []


def test_a_plan_says_which_variants_share_an_artifact(toy: Toy) -> None:
    plan = toy.run(*TWO, "--twice", "--dry-run").out
    line = next(line for line in plan.splitlines() if line.startswith("cams-again"))
    assert line.endswith("together with cams-0.1, of the same settings and inputs")


def test_forcing_a_variant_makes_it_again_under_each_of_its_names(toy: Toy) -> None:
    toy.run(*TWO, "--twice", "--classify.noise")
    forced = toy.run(*TWO, "--twice", "--classify.noise", "--force", "classify-again")
    assert forced.computed.count("classify") == 1
    assert forced.computed.count("cam 0") == 1
    assert toy.run(*TWO, "--twice", "--classify.noise").computed == []


def test_why_status_and_verify_know_a_run_of_another_pipeline(toy: Toy) -> None:
    toy.run(*TWO)
    own = ("--name", "toy-compare")
    assert "would not run" in toy.run("why", "cams-0.2", *own).out
    told = toy.run("why", "cams-0.2", *own, "--cams.scale", "2").out.strip()
    assert told == "cams-0.2 would run: config scale 1.0 -> 2.0"
    told = toy.run("why", "cams-0.1", *own, "--dataset.count", "3").out.strip()
    assert "input index changed (because config count 12 -> 3)" in told
    states = [line.split()[1] for line in toy.run("status", *own).out.splitlines()]
    assert states == ["hit"] * 6
    assert toy.run("verify", "cams-0.1", *own).out.count("as they were made") == 1
    toy.edit("stages/nets/weights.py", "rate * 10", "rate * 11")
    told = toy.run("why", "cams-0.2", *own).out
    assert "input classify changed (because source stages/nets/weights.py changed" in told


def test_one_variant_is_trusted_and_the_other_is_not(toy: Toy) -> None:
    toy.run(*TWO)
    toy.edit("stages/nets/weights.py", "rate * 10", "rate * 11")
    trusting = toy.run(*TWO, "--trust", "classify-0.1")
    assert trusting.computed.count("classify") == 1
    assert trusting.computed.count("cam 0") == 1
    recipe = json.loads((toy.artifact("compare", "toy-compare") / "recipe.json").read_text())
    assert recipe["trusted"] == ["classify-0.1"]


def test_gc_keeps_every_variant_that_a_run_links_to(toy: Toy) -> None:
    toy.run("compare", "--rates", "0.1,0.2,0.3,0.4")
    toy.run("gc", "--keep", "1")
    assert toy.run("compare", "--rates", "0.1", "0.2", "0.3", "0.4").computed == []


def test_lists_may_be_parted_by_commas_and_own_settings_need_no_prefix(toy: Toy) -> None:
    flags = ("--compare.rates=0.1,0.3", "--marks", "grm,none", "--no-twice")
    toy.run("compare", *flags)
    recipe = json.loads((toy.artifact("compare", "toy-compare") / "recipe.json").read_text())
    assert recipe["config"] == {"rates": [0.1, 0.3], "twice": False, "marks": ["grm", "none"]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--marks", "none,gmr"], "--compare.marks: there is no choice 'gmr': did you mean 'grm'?"),
        (["--marks=non"], "--compare.marks: there is no choice 'non': did you mean 'none'?"),
        (["--ratse", "1"], "there is no flag --ratse: did you mean --rates?"),
        (["--only", "cams-0.3"], "there is no stage 'cams-0.3': did you mean 'cams-0."),
    ],
)
def test_a_misspelt_word_of_a_pipeline_names_the_right_one(
    toy: Toy, flags: list[str], message: str
) -> None:
    failed = toy.run("compare", *flags, code=2)
    assert message in failed.err
    assert toy.logged() == []


def test_words_go_to_the_command_of_the_same_name(toy: Toy) -> None:
    assert toy.run("compare", "runs/a", "runs/b").out == "RUNS/A RUNS/B\n"


def test_help_of_a_pipeline_lists_its_own_settings(toy: Toy) -> None:
    text = toy.run("compare", "--help").out
    assert "--rates FLOAT ..." in text
    assert "--marks {none,grm,aspp} ..." in text
