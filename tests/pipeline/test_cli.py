"""The command line: flags, help, machine-readable lines, commands of the domain."""

import json

import pytest

from tests.pipeline.toy import Toy


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lables.crf.iterations", "5"], "did you mean --labels.crf.iterations?"),
        (["--labels.iterations", "5"], "did you mean --labels.crf.iterations?"),
        (["--dryrun"], "did you mean --dry-run?"),
        (["--froom", "cams"], "did you mean --from?"),
        (["--from", "lables"], "there is no stage 'lables': did you mean 'labels'?"),
        (["--only", "cam"], "did you mean 'cams'?"),
        (["--force", "clasify"], "did you mean 'classify'?"),
        (["--only", "cams", "--from", "cams"], "--only goes with neither --from nor --until"),
        (["--recipe", "tooy"], "there is no recipe 'tooy': did you mean 'toy'?"),
        (["statsu"], "did you mean 'status'?"),
        (["labels"], "labels is a stage: `labels --help`"),
        (["--launch", "moon"], "invalid choice: 'moon'"),
        (["why"], "why needs a stage"),
        (["run", "labels"], "run takes no 'labels'"),
        (["gc", "cams"], "gc takes no 'cams'"),
        (["gc", "--keep", "0"], "at least 1"),
        (["gc", "--keep", "-1"], "at least 1"),
        (["--name", "a/b"], "a run is named like a folder"),
    ],
)
def test_a_misspelt_word_names_the_right_one(toy: Toy, flags: list[str], message: str) -> None:
    failed = toy.run(*flags, code=1 if "--name" in flags else 2)
    assert message in failed.err
    assert "Traceback" not in failed.err
    assert toy.logged() == []


@pytest.mark.parametrize("flags", [["--labels.crf.iterations", "x"], ["--classify.rate", "-1"]])
def test_a_bad_value_names_its_setting(toy: Toy, flags: list[str]) -> None:
    failed = toy.run(*flags, code=2)
    assert flags[0][2:].split(".")[0] in failed.err
    assert "Traceback" not in failed.err


@pytest.mark.parametrize("flag", ["--cams.labels-too", "--cams.labels_too"])
def test_hyphens_and_underscores_both_work(toy: Toy, flag: str) -> None:
    toy.run(flag, "--until", "cams")
    recipe = json.loads((toy.artifact("cams") / "recipe.json").read_text())
    assert recipe["config"]["labels_too"] is True
    toy.run("--cams.no-labels-too", "--cams.scale=2", "--until", "cams")
    recipe = json.loads((toy.artifact("cams") / "recipe.json").read_text())
    assert recipe["config"] == {"labels_too": False, "scale": 2.0}


def test_help_of_a_stage_explains_each_setting(toy: Toy) -> None:
    text = toy.run("labels", "--help").out
    assert "--labels.crf.iterations INT [>= 0]   (default: 10)" in text
    assert "mean-field steps" in text
    assert "--dataset.root PATH|none" in toy.run("index", "--help").out


def test_help_lists_commands_recipes_and_stages(toy: Toy) -> None:
    text = toy.run("--help").out
    assert "commands: run, status, why, verify, gc, compare, shout, weigh" in text
    assert "recipes: toy, big" in text
    assert "stages: index, classify, cams, labels" in text
    assert "--dry-run" in text


def test_commands_of_the_domain_get_their_own_arguments(toy: Toy) -> None:
    assert toy.run("shout", "a", "b").out == "A B\n"


def test_a_survey_is_given_settings_pipeline_and_flags_and_runs_nothing(toy: Toy) -> None:
    seen = toy.run("weigh", "--dataset.count", "7", "--device", "cpu", "--name", "seven")
    assert seen.out == "7 index classify cams labels runs/seven cpu\n"
    assert seen.computed == []
    assert not toy.runs.exists()


def test_the_flags_of_a_survey_may_mean_a_recipe_and_its_status_counts(toy: Toy) -> None:
    assert toy.run("weigh").out.startswith("12 ")
    assert toy.run("weigh", "--cams.scale", "2", code=1).out.startswith("99 ")
    assert toy.run("weigh", "--cams.scale", "2", "--recipe", "toy").out.startswith("12 ")


def test_a_survey_knows_misspelt_flags_and_has_a_help_of_its_own(toy: Toy) -> None:
    assert "did you mean --dataset.count" in toy.run("weigh", "--dataset.cuont", "7", code=2).err
    assert "weigh takes no 'cams'" in toy.run("weigh", "cams", code=2).err
    assert toy.run("weigh", "--help").out == "weigh counts the photos\n"


def test_json_lines_parse_and_tell_the_whole_run(toy: Toy) -> None:
    events = [json.loads(line) for line in toy.run("--json").out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "plan"
    assert kinds[-1] == "closing"
    done = [event["stage"] for event in events if event["event"] == "done"]
    assert done == ["index", "classify", "cams", "labels"]
    steps = [(e["done"], e["total"]) for e in events if e["event"] == "progress"]
    assert steps[0] == (0, 12)
    assert steps[-1] == (12, 12)
    figures = [e for e in events if e["event"] == "figures"]
    assert figures[0]["figures"] == {"loss": 0.5}
    for command in (["status"], ["why", "cams"], ["--dry-run"], ["verify"], ["gc"]):
        for line in toy.run(*command, "--json").out.splitlines():
            assert "event" in json.loads(line)


def test_verify_names_an_altered_file_and_the_next_run_repairs_it(made: Toy) -> None:
    path = made.artifact("cams") / "5.cam"
    text = path.read_bytes()
    path.write_bytes(bytes([text[0] ^ 1]) + text[1:])
    assert made.run().computed == []  # same size: a hit does not look inside
    found = made.run("verify", code=1)
    assert "5.cam is altered" in found.out
    assert found.out.count("files are as they were made") == 3
    assert "5.cam is altered" in made.run("status").out
    assert made.run().computed == ["cam 5"]
    assert path.read_bytes() == text
    assert made.run("verify", "cams").out.count("as they were made") == 1


def test_gc_keeps_the_newest_and_what_runs_link_to(made: Toy) -> None:
    for scale in ("2", "3", "4", "5"):
        made.run("--cams.scale", scale)
    assert len(made.published("cams")) == 5
    made.run("--cams.scale", "2", "--name", "kept")
    listed = made.run("gc", "--keep", "1", "--dry-run")
    assert "would free" in listed.out
    assert len(made.published("cams")) == 5
    made.run("gc", "--keep", "1")
    assert len(made.published("cams")) == 2  # the newest, which "toy" links to, and that of "kept"
    assert made.run("--cams.scale", "5").computed == []
    assert made.run("--cams.scale", "2", "--name", "kept").computed == []
    assert made.run("--cams.scale", "3").stages == ["cams", "labels"]


def test_the_worker_launcher_makes_the_same_bytes(made: Toy) -> None:
    made.run("--launch", "worker", "--runs", "others", "--json")
    one, other = (
        json.loads((made.folder / runs / "toy" / "labels" / "manifest.json").read_text())
        for runs in ("runs", "others")
    )
    assert one["digest"] == other["digest"]
    assert one["key"] == other["key"]


def test_a_reader_that_has_seen_enough_is_no_error(made: Toy) -> None:
    process = made.start("status")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # as `| head` does
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0
