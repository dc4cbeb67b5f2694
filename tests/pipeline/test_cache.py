"""Every row of the comparison of caching engines, and the promises of the store beside it."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.pipeline.toy import ITEMS, Toy, wait_until


def test_a_second_run_computes_nothing(made: Toy) -> None:
    second = made.run()
    assert second.computed == []
    assert second.out.count("hit ") == 4
    assert "report: runs/toy/labels" in second.out


def test_a_hit_imports_nothing_heavy(made: Toy) -> None:
    out, _ = made.start(TOY_PROBE="1").communicate()
    assert out.count("hit ") == 4
    assert out.rstrip().endswith("imported:")


def test_comments_docstrings_and_descriptions_cost_nothing(made: Toy) -> None:
    made.edit("stages/cams.py", "def run(", "# a comment\ndef run(")
    made.edit("stages/nets/weights.py", "  # ten", "")
    made.edit("stages/nets/weights.py", "Ten times", "10 times")
    made.edit("stages/labels.py", "mean-field steps", "number of mean-field steps")
    made.edit("stages/classify.py", '"""A classifier."""', "'''The classifier.'''\n\n")
    assert made.run().computed == []


def test_an_edited_body_runs_the_stage_and_what_follows(made: Toy) -> None:
    made.edit("stages/cams.py", "{config.scale} {model}", "{config.scale}, {model}")
    assert made.run().stages == ["cams", "labels"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stages/nets/weights.py", "rate * 10", "rate * 11"),
        ("stages/nets/__init__.py", "", "SIZE = 3\n"),
    ],
    ids=["helper imported inside run", "the __init__ of its package"],
)
def test_an_edited_import_runs_the_stages_behind_it(
    made: Toy, name: str, old: str, new: str
) -> None:
    path = made.folder / name
    path.write_text(path.read_text().replace(old, new) if old else new)
    assert made.run().stages == ["classify", "cams", "labels"]


def test_a_module_that_every_stage_imports_runs_everything(made: Toy) -> None:
    made.edit("stages/log.py", '+ "\\n"', '+ "" + "\\n"')
    assert made.run().stages == ["index", "classify", "cams", "labels"]


def test_a_deleted_file_is_made_again_alone(made: Toy) -> None:
    (made.artifact("cams") / "7.cam").unlink()
    again = made.run()
    assert again.computed == ["cam 7"]  # labels: same bytes came out, so it stays a hit
    assert "7.cam is missing: repairing" in again.out
    assert made.run().computed == []


def test_a_truncated_file_is_made_again_alone(made: Toy) -> None:
    path = made.artifact("cams") / "3.cam"
    path.write_text(path.read_text()[:-1])
    again = made.run()
    assert again.computed == ["cam 3"]
    assert "3.cam has" in again.out


def test_a_setting_runs_exactly_the_stages_below_it(made: Toy) -> None:
    assert made.run("--cams.scale", "0.5").stages == ["cams", "labels"]
    assert made.run("--cams.scale", "0.5", "--labels.crf.iterations", "3").stages == ["labels"]
    assert made.run().computed == []  # undone: both are hits again


def test_an_edit_that_is_reverted_is_a_hit(made: Toy) -> None:
    made.edit("stages/labels.py", "{cams}", "{cams}!")
    assert made.run().stages == ["labels"]
    made.edit("stages/labels.py", "{cams}!", "{cams}")
    assert made.run().computed == []


def test_sigkill_in_the_loop_costs_only_the_items_in_flight(toy: Toy) -> None:
    toy.run("--until", "classify")
    process = toy.start(TOY_HOLD="5")
    wait_until(lambda: "cam 4" in toy.logged())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert toy.published("cams") == []
    again = toy.run()
    assert "resume" in again.out
    assert again.cams == list(range(5, ITEMS))
    assert again.stages == ["cams", "labels"]


def test_a_failure_is_never_cached(toy: Toy) -> None:
    toy.edit("stages/labels.py", 'log("labels")', 'raise ValueError("photo 3 has no tag")')
    first = toy.run(code=1)
    assert first.err == "error: labels: photo 3 has no tag\n"
    assert toy.run(code=1).err == first.err
    assert toy.published("labels") == []
    toy.edit("stages/labels.py", 'raise ValueError("photo 3 has no tag")', 'log("labels")')
    assert toy.run().stages == ["labels"]


def test_a_failure_of_the_disk_or_the_library_is_one_message(toy: Toy) -> None:
    toy.edit("stages/labels.py", 'log("labels")', "open('/nowhere/x')")
    assert toy.run(code=1).err.startswith("error: labels: [Errno 2] No such file")
    toy.edit("stages/labels.py", "open('/nowhere/x')", "{}['x']")
    bug = toy.run(code=1)
    assert "KeyError: 'x'" in bug.err
    assert "This is a bug" in bug.err
    assert "Traceback" not in bug.err
    assert "Traceback" in toy.run("--debug", code=1).err


def test_forcing_a_stage_with_equal_bytes_leaves_the_rest_a_hit(made: Toy) -> None:
    assert made.run("--force", "classify").stages == ["classify"]
    assert made.run().computed == []


def test_forcing_a_stage_with_other_bytes_makes_the_rest_again(toy: Toy) -> None:
    toy.run("--classify.noise")
    keys = [toy.manifest(stage)["key"] for stage in ("classify", "cams", "labels")]
    forced = toy.run("--classify.noise", "--force", "classify")
    assert forced.stages == ["classify", "cams", "labels"]
    assert sorted(forced.cams) == list(range(ITEMS))
    assert keys == [toy.manifest(stage)["key"] for stage in ("classify", "cams", "labels")]
    assert "input classify was made again with other bytes" in forced.out
    assert toy.run("--classify.noise").computed == []


def test_work_left_from_other_input_bytes_is_not_resumed(toy: Toy) -> None:
    toy.run("--classify.noise", "--until", "classify")
    process = toy.start("--classify.noise", TOY_HOLD="4")
    wait_until(lambda: "cam 3" in toy.logged())
    process.kill()
    process.communicate()
    again = toy.run("--classify.noise", "--force", "classify")
    assert sorted(again.cams) == list(range(ITEMS))
    texts = {path.read_text().split()[-1] for path in toy.artifact("cams").glob("*.cam")}
    assert len(texts) == 1


def test_from_until_only(made: Toy) -> None:
    assert made.run("--from", "cams").stages == ["cams", "labels"]
    assert made.run("--from", "cams", "--until", "cams").stages == ["cams"]
    other = ("--classify.rate", "0.2")
    refused = made.run("--only", "cams", *other, code=1)
    assert "--only cams needs classify, not made yet" in refused.err
    assert made.run("--until", "classify", *other).stages == ["classify"]
    assert made.run("--only", "cams", *other).stages == ["cams"]
    assert made.run("--from", "classify", *other).stages == ["classify", "cams", "labels"]


def test_an_interrupted_run_from_a_stage_goes_on_with_the_same_command(made: Toy) -> None:
    count = len(made.logged())
    process = made.start("--from", "cams", TOY_HOLD="4")
    wait_until(lambda: len(made.logged()) == count + 4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from there" in err
    assert made.run("--from", "cams").cams == list(range(4, ITEMS))
    assert len(made.run("--from", "cams").cams) == ITEMS  # finished, so from the start again


def test_a_dry_run_changes_nothing(made: Toy) -> None:
    before = sorted(made.runs.rglob("*"))
    plan = made.run("--dry-run", "--cams.scale", "2").out.splitlines()
    assert [line.split()[:2] for line in plan] == [
        ["index", "hit"],
        ["classify", "hit"],
        ["cams", "run"],
        ["labels", "run"],
    ]
    assert "194 B" not in plan[0]
    assert " B " in plan[2]  # bytes and seconds of the last artifact
    assert sorted(made.runs.rglob("*")) == before


def test_the_store_may_move_and_the_data_set_too(toy: Toy) -> None:
    photos = toy.folder / "photos"
    photos.mkdir()
    (photos / "a.txt").write_text("cat")
    toy.run("--dataset.root", str(photos))
    shutil.copytree(photos, toy.folder / "elsewhere")
    toy.runs.rename(toy.folder / "moved")
    moved = toy.run("--dataset.root", str(toy.folder / "elsewhere"), "--runs", "moved")
    assert moved.computed == []
    (toy.folder / "elsewhere" / "a.txt").write_text("dog")
    changed = toy.run("--dataset.root", str(toy.folder / "elsewhere"), "--runs", "moved")
    assert changed.stages == ["index", "classify", "cams", "labels"]


def test_a_run_holds_links_and_its_recipe(made: Toy) -> None:
    made.run("--cams.scale", "2", "--name", "twice")
    link = made.runs / "twice" / "labels"
    assert link.is_symlink()
    assert not Path(link.readlink()).is_absolute()
    assert (link / "labels.txt").is_file()
    record = json.loads((made.runs / "twice" / "run.json").read_text())
    assert record["recipe"] == "toy"
    assert record["settings"]["cams"]["scale"] == 2
    assert record["flags"] == ["--cams.scale", "2", "--name", "twice"]
    assert record["keys"]["labels"] == made.manifest("labels", "twice")["key"]
    assert record["trusted"] == []
    assert made.artifact("index", "twice") == made.artifact("index")


def test_links_to_what_other_settings_made_are_taken_away(made: Toy) -> None:
    made.run("--cams.scale", "2", "--until", "cams")
    assert not (made.runs / "toy" / "labels").exists()
    made.run()
    assert (made.runs / "toy" / "labels" / "labels.txt").is_file()


def test_a_manifest_says_what_was_made(made: Toy) -> None:
    manifest = made.manifest("cams")
    assert len(manifest["files"]) == ITEMS
    assert manifest["bytes"] == sum(size for size, _ in manifest["files"].values())
    assert manifest["seconds"] > 0
    assert manifest["peak_memory_bytes"] > 1e6
    assert manifest["inputs"]["classify"]["digest"] == made.manifest("classify")["digest"]
    assert "python" in manifest["versions"]
    recipe = json.loads((made.artifact("cams") / "recipe.json").read_text())
    assert recipe["config"] == {"labels_too": False, "scale": 1.0}
    assert set(recipe["source"]) == {"stages/__init__.py", "stages/cams.py", "stages/log.py"}


def test_source_that_changes_during_a_run_stops_it(toy: Toy) -> None:
    toy.run("--until", "classify")
    process = toy.start(TOY_HOLD="2")
    wait_until(lambda: "cam 1" in toy.logged())
    toy.edit("stages/labels.py", "{cams}", "{cams}!")
    toy.go()
    _, err = process.communicate()
    assert process.returncode == 1
    assert "source stages/labels.py changed" in err
    assert toy.published("labels") == []
    assert toy.run().stages == ["labels"]


class TestTrust:
    def test_keeps_an_artifact_whose_source_has_changed(self, made: Toy) -> None:
        made.edit("stages/nets/weights.py", "rate * 10", "rate * 11")
        trusting = made.run("--trust", "classify")
        assert "TRUSTED although it was made by other code" in trusting.out
        assert "stages/nets/weights.py" in trusting.out
        assert trusting.stages == ["labels"]  # last of the pipeline: its key says what was trusted
        recipe = json.loads((made.artifact("labels") / "recipe.json").read_text())
        assert recipe["trusted"] == ["classify"]
        assert json.loads((made.runs / "toy" / "run.json").read_text())["trusted"] == ["classify"]
        assert made.run("--trust", "classify").computed == []
        assert made.run().stages == ["classify", "cams", "labels"]
        assert made.run("--trust", "classify").computed == []  # nothing left to trust

    def test_is_refused_where_more_than_the_source_differs(self, made: Toy) -> None:
        made.edit("stages/nets/weights.py", "rate * 10", "rate * 11")
        refused = made.run("--trust", "classify", "--classify.rate", "0.2", code=1)
        assert "differs in more than its source: config rate 0.1 -> 0.2" in refused.err

    def test_changes_nothing_where_there_is_nothing_yet(self, toy: Toy) -> None:
        assert "classify" in toy.run("--trust", "classify").stages
