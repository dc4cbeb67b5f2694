"""`why` names the one setting, input or file that differs, with both values."""

import pytest

from tests.pipeline.toy import Toy


def why(toy: Toy, stage: str, *flags: str) -> str:
    return toy.run("why", stage, *flags).out.strip()


def test_a_stage_that_would_not_run(made: Toy) -> None:
    key = made.manifest("labels")["key"][:8]
    assert why(made, "labels") == f"labels would not run: {key} is there"


def test_a_stage_that_was_never_made(toy: Toy) -> None:
    assert why(toy, "labels") == "labels would run: it was never made"


def test_one_changed_setting(made: Toy) -> None:
    flags = ("--labels.crf.iterations", "5")
    assert why(made, "labels", *flags) == "labels would run: config crf.iterations 10 -> 5"


def test_an_input_that_changed_and_the_reason_behind_it(made: Toy) -> None:
    expected = (
        "labels would run: input cams changed"
        " (because input classify changed (because config rate 0.1 -> 0.2))"
    )
    assert why(made, "labels", "--classify.rate", "0.2") == expected


def test_an_edited_source_file(made: Toy) -> None:
    made.edit("stages/nets/weights.py", "rate * 10", "rate * 11")
    text = why(made, "classify")
    assert text.startswith("classify would run: source stages/nets/weights.py changed (")
    assert " -> " in text


def test_a_changed_a_new_and_a_missing_file(toy: Toy) -> None:
    photos = toy.folder / "photos"
    photos.mkdir()
    (photos / "2007.txt").write_text("dog")
    flags = ("--dataset.root", str(photos))
    toy.run(*flags)
    (photos / "2007.txt").write_text("cat")
    assert why(toy, "index").startswith("index would run: file 2007.txt changed (")
    (photos / "2008.txt").write_text("cow")
    assert why(toy, "index").endswith("; file 2008.txt added")
    toy.run(*flags)
    (photos / "2008.txt").unlink()
    assert why(toy, "index") == "index would run: file 2008.txt removed"


def test_a_setting_that_came_with_a_default(made: Toy) -> None:
    new = 'seed: int = Field(7, description="of the noise")\n    crf: Crf'
    made.edit("stages/labels.py", "crf: Crf", new)
    text = why(made, "labels")
    assert text.startswith("labels would run: config seed added = 7; source stages/labels.py")
    made.edit("stages/labels.py", new, "crf: Crf")
    made.run("--labels.crf.iterations", "3")


def test_a_setting_that_went_is_said_and_forgotten(made: Toy) -> None:
    made.edit(
        "stages/cams.py",
        'labels_too: bool = Field(False, description="a',
        'x: int = Field(1, description="a',
    )
    told = made.run("why", "cams")
    assert "settings of that run that no longer exist: cams.labels_too" in told.err
    assert "config x added = 1; config labels_too removed, was false" in told.out


def test_a_new_version(made: Toy) -> None:
    made.edit("stages/labels.py", "VERSION = 1", "VERSION = 2")
    assert why(made, "labels").startswith("labels would run: version 1 -> 2")


def test_the_nearest_earlier_artifact_is_compared_with(made: Toy) -> None:
    made.run("--labels.crf.iterations", "3", "--cams.scale", "2")
    text = why(made, "labels", "--labels.crf.iterations", "4", "--cams.scale", "1.0")
    assert text == "labels would run: config crf.iterations 10 -> 4"


@pytest.mark.parametrize("text", [None, "", "[]", "{}"])
@pytest.mark.parametrize("stage", ["labels", "cams"])
def test_an_earlier_artifact_without_a_readable_recipe_is_passed_over(
    made: Toy, stage: str, text: str | None
) -> None:
    recipe = made.artifact(stage) / "recipe.json"
    recipe.unlink() if text is None else recipe.write_text(text)
    told = why(made, "labels", "--cams.scale", "4")
    assert told.startswith("labels would run: ")
    trusted = ("--trust", stage)
    assert made.run("--cams.scale", "4", *trusted).stages == ["cams", "labels"]


def test_a_recorded_run_is_the_base(made: Toy) -> None:
    made.run("--labels.crf.iterations", "3", "--name", "three", "--recipe", "big")
    assert "would not run" in why(made, "labels", "--name", "three")
    flags = ("--name", "three", "--labels.crf.iterations", "4")
    assert why(made, "labels", *flags) == "labels would run: config crf.iterations 3 -> 4"
    status = made.run("status", "--name", "three").out.splitlines()
    assert [line.split()[1] for line in status] == ["hit"] * 4


def test_a_resumed_and_a_damaged_stage(made: Toy) -> None:
    (made.artifact("cams") / "3.cam").unlink()
    assert "cams would resume: file " in why(made, "cams")
    assert why(made, "cams").endswith("3.cam is missing")
    assert why(made, "labels").endswith("unless cams comes out with the same bytes")


def test_a_run_is_compared_with_itself_before_others(made: Toy) -> None:
    made.run("--name", "other", "--classify.rate", "0.3")
    text = why(made, "classify", "--classify.rate", "0.2")
    assert text == "classify would run: config rate 0.1 -> 0.2"
