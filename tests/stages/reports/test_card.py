"""The card, and when two of them forbid to rank their runs."""

import json
from pathlib import Path

import pytest

from stages import report
from stages.model import tag_settings
from stages.reports.artifacts import Run
from stages.reports.card import UNKNOWN, Entry, compare, differences, make_card, read_card


def known(run) -> dict:
    """A card on which everything is recorded."""
    card = make_card(Run.of(run.inputs))
    return {
        name: Entry("said" if entry.value == UNKNOWN else entry.value, entry.matters)
        for name, entry in card.items()
    }


def test_a_card_does_not_differ_from_itself(tiny_run) -> None:
    assert differences(known(tiny_run), known(tiny_run)) == []


def test_what_nobody_recorded_is_no_agreement(tiny_run) -> None:
    card = known(tiny_run)
    card["text knowledge"] = Entry(UNKNOWN, matters=True)
    assert [d.name for d in differences(card, card) if d.matters] == ["text knowledge"]


def test_other_masks_forbid_a_ranking_and_another_head_does_not(tiny_run) -> None:
    first, second = known(tiny_run), known(tiny_run)
    second["masks, val"] = Entry("3, sha256 other", matters=True)
    second["context head"] = Entry("none", matters=False)
    found = differences(first, second)
    assert [(d.name, d.matters) for d in found] == [("masks, val", True), ("context head", False)]


def test_a_line_that_one_card_lacks_differs(tiny_run) -> None:
    first, second = known(tiny_run), known(tiny_run)
    del second["metric"]
    assert [(d.name, d.second, d.matters) for d in differences(first, second)] == [
        ("metric", UNKNOWN, True)
    ]


def test_the_photos_and_masks_themselves_are_on_the_card(tiny_run) -> None:
    before = make_card(Run.of(tiny_run.inputs))
    path = tiny_run.inputs["masks"] / "masks.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    val = next(line for line in lines if line["split"] == "val")
    val["sha256"] = "f" * 64
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    after = make_card(Run.of(tiny_run.inputs))
    assert before["masks, val"] != after["masks, val"]
    assert before["masks, train"] == after["masks, train"]
    assert before["val photos"] == after["val photos"]


def finished(run, folder: Path) -> Path:
    report.run(report.Config(), run.inputs, folder / "report", run.context)
    return folder


def test_compare_reads_reports_and_says_whether_it_ranks(tiny_run, tmp_path: Path) -> None:
    first, second = finished(tiny_run, tmp_path / "a"), finished(tiny_run, tmp_path / "b")
    path = second / "report" / "report.json"
    numbers = json.loads(path.read_text())
    assert read_card(first) == read_card(second)
    found, figures = compare(first, second)
    unrecorded = [d.name for d in found]
    assert all(d.first == d.second == UNKNOWN for d in found)
    assert not any(figure["ranked"] for figure in figures) or not unrecorded
    numbers["card"]["masks used for training"]["value"] = 6
    path.write_text(json.dumps(numbers))
    found, figures = compare(first, second)
    assert "masks used for training" in [d.name for d in found]
    assert figures
    assert not any(figure["ranked"] for figure in figures)


def test_runs_with_equal_complete_cards_are_ranked(tiny_run, tmp_path: Path) -> None:
    folders = [finished(tiny_run, tmp_path / name) for name in "ab"]
    for folder in folders:
        path = folder / "report" / "report.json"
        numbers = json.loads(path.read_text())
        numbers["card"] = {"metric": {"value": "mIoU", "matters": True}}
        path.write_text(json.dumps(numbers))
    found, figures = compare(*folders)
    assert found == []
    assert {figure["name"] for figure in figures} >= {"labels", "network"}
    assert all(figure["ranked"] for figure in figures)


def test_a_run_without_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"report\.json is missing"):
        read_card(tmp_path)


def test_a_report_without_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no card"):
        read_card(tmp_path)


def test_a_second_look_is_on_the_card_with_what_stood_in_for_masks(tiny_run) -> None:
    plain = make_card(Run.of(tiny_run.inputs))
    assert plain["walk over the CAMs"].value == plain["second look at the labels"].value == "none"
    assert not plain["second look at the labels"].matters

    def said(threshold: float, chosen: str):
        text = json.dumps({"threshold": threshold, "chosen": chosen, "masks_used": 0})
        return lambda out: (out / "thresholds.json").write_text(text)

    tiny_run.add("walk", ("index", "classify", "cams"), said(0.0, "unread"), steps=2)
    tiny_run.add("labels-first", ("index", "walk"), said(0.3, "Otsu"))
    rescored = ("index", "classify", "walk", "labels-first")
    tiny_run.add("rescore", rescored, said(0.0, "unread"), scales=[1.0, 2.0], rounds=1)
    tiny_run.add("labels", ("index", "rescore", "labels-first"), said(1.4, "agreement"))
    card = make_card(Run.of(tiny_run.inputs))
    assert card["walk over the CAMs"].value == {"steps": 2}
    assert (card["background score"].value, card["background score chosen by"].value) == (
        0.3,
        "Otsu",
    )
    look = card["second look at the labels"].value
    assert (look["masks used"], look["factor on the background"]) == (0, 1.4)
    assert look["factor chosen by"] == "agreement"
    assert "the labels before" in look["learnt from"]


def test_learned_boundaries_are_on_the_card(tiny_run) -> None:
    assert make_card(Run.of(tiny_run.inputs))["boundaries"].value == "none"

    def made(out: Path) -> None:
        (out / "metrics.jsonl").write_text("{}")

    tiny_run.add(
        "edges", ("index", "classify", "labels"), made, kind="learned", epochs=2, radius=5, seed=7
    )
    tiny_run.add("spread", ("index", "edges", "cams"), made, steps=4, beta=4.0)
    card = make_card(Run.of(tiny_run.inputs))
    said = card["boundaries"].value
    assert (said["epochs"], said["radius"], said["walk"]) == (2, 5, {"steps": 4, "beta": 4.0})
    assert card["seeds"].value["edges"] == 7
    (tiny_run.inputs["edges"] / "metrics.jsonl").unlink()
    said = make_card(Run.of(tiny_run.inputs))["boundaries"].value
    assert said["learnt from"] == "nothing"
    assert "epochs" not in said


def test_maps_of_tags_are_cut_at_the_score_of_raw_maps(tiny_run) -> None:
    def write(name: str, threshold: float):
        return lambda out: (out / name).write_text(json.dumps({"threshold": threshold}))

    tiny_run.add("labels", ("index", "rescore"), write("thresholds.json", 2.0))
    tiny_run.add("labels-first", ("index", "walk"), write("thresholds.json", 0.3))
    bare = tiny_run.without("inspect")
    assert tag_settings(Run.of(bare)).background == 0.3
    tiny_run.add("inspect", ("index",), write("quality.json", 0.25))
    assert tag_settings(Run.of(tiny_run.inputs)).background == 0.25
