"""The whole demo, small: made, made again, altered, killed, and trained on masks."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.program import Program, states

SMALL = (
    *("--dataset.demo.photos", "16", "--dataset.demo.val", "8", "--dataset.demo.size", "64"),
    *("--classify.epochs", "2", "--classify.crop", "64", "--classify.hidden", "32"),
    *("--segment.epochs", "1", "--segment.crop", "64", "--segment.width", "32"),
    *("--evaluate.cost-size", "64", "64"),
)
STAGES = (
    *("index", "masks", "graph", "classify", "cams", "labels", "inspect", "segment", "evaluate"),
    *("segment-masks", "evaluate-masks", "report"),
)
TIMED = ("evaluate", "evaluate-masks", "report")
"""Stages whose files tell seconds: two runs never give the same bytes."""

KILLED = """
import os, signal, sys
import run_pipeline, stages.classify_training

folder, name, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
del sys.argv[1:4]
# After every step: this training is over in a second.
stages.classify_training.CHECKPOINT_SECONDS = 0.0

def die(event, args):
    global left
    if event == "os.rename" and f"/{folder}/" in str(args[1]) and str(args[1]).endswith(name):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
sys.exit(run_pipeline.main())
"""
"""The program, killed where a file of stage argv[1] ending in argv[2] would appear: argv[3] do."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, str]:
    """The finished small demo and what the run said; tests that change it work on a copy."""
    program = Program(tmp_path_factory.mktemp("demo") / "runs", SMALL)
    return program, program.run().stdout


@pytest.fixture
def copied(made: tuple[Program, str], tmp_path: Path) -> Program:
    """A copy of the finished run that a test may spoil."""
    shutil.copytree(made[0].runs, tmp_path / "runs", symlinks=True)
    return Program(tmp_path / "runs", SMALL)


def test_one_command_ends_with_scores_and_a_report(made: tuple[Program, str]) -> None:
    program, said = made
    assert states(said) == dict.fromkeys(STAGES, "run")
    *scores, last = said.splitlines()[-6:]
    assert last == f"report: {program.path('report', 'report.html')}"
    named = {re.split(r"\s{2,}", line)[0]: float(line[14:20]) for line in scores}
    assert list(named) == ["tags", "raw CAMs", "pseudo-labels", "network", "upper bound"]
    quality = program.json("inspect", "quality.json")
    found = {
        "tags": program.json("classify", "scores.json")["map"],
        "raw CAMs": quality["miou_cam"],
        "pseudo-labels": quality["miou"],
        "network": program.json("evaluate", "scores.json")["miou"],
        "upper bound": program.json("evaluate-masks", "scores.json")["miou"],
    }
    assert named == pytest.approx({name: 100 * value for name, value in found.items()}, abs=0.05)
    assert 0 <= quality["miou_cam"] <= quality["miou_cam_best"] <= 1
    assert quality["chosen_with_masks"] is True
    assert "miou_cam_best" in quality["chosen_with_masks_names"]
    assert 0 < quality["coverage"] <= 1


def test_every_photo_has_its_files(made: tuple[Program, str]) -> None:
    program, _ = made
    train = [f"train_{number:04d}" for number in range(16)]
    assert set(program.files("cams")) == {f"{photo}.npz" for photo in train}
    wanted = {f"{folder}{p}.png" for folder in ("", "full/", "confidence/") for p in train}
    assert set(program.files("labels")) == {*wanted, "thresholds.json"}
    val = {f"val_{number:04d}.png" for number in range(8)}
    assert set(program.files("evaluate")) == {*val, "scores.json"}
    assert not list(program.runs.rglob("checkpoint.pt"))
    assert not list(program.runs.rglob("*.partial"))


def test_the_report_is_one_file_and_counts_no_mask(made: tuple[Program, str]) -> None:
    program, _ = made
    text = program.path("report", "report.html").read_text(encoding="utf-8")
    links = re.findall(r"""(?:src|href|srcset|data|action)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(links) > 20
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "<script" not in text
    assert str(program.runs) not in text
    report = program.json("report", "report.json")
    assert (report["ledger"]["training"], report["ledger"]["choosing"]) == (0, 0)
    assert report["ledger"]["scoring"] == 24
    assert report["upper_bound"]["miou"] == program.json("evaluate-masks", "scores.json")["miou"]
    assert re.search(r"upper bound", text, re.IGNORECASE)


def test_the_same_command_again_finds_everything_without_torch(made: tuple[Program, str]) -> None:
    program, said = made
    again = program.run(python=("-X", "importtime", "run_pipeline.py"))
    assert states(again.stdout) == dict.fromkeys(STAGES, "hit")
    assert again.stdout.splitlines()[-6:] == said.splitlines()[-6:]
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert {"stages.classify", "pipeline.runner"} <= imported
    packages = {name.partition(".")[0] for name in imported}
    assert not packages & {"torch", "timm", "numpy", "scipy", "transformers", "matplotlib"}


def test_an_altered_byte_is_found_and_repaired(copied: Program) -> None:
    before = {stage: copied.files(stage) for stage in STAGES}
    spoilt = [copied.path("labels", "full/train_0003.png"), copied.path("evaluate", "scores.json")]
    for path in spoilt:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    found = copied.run("verify", code=1).stdout
    altered = {Path(line.split()[2]) for line in found.splitlines() if "is altered" in line}
    assert {path.resolve() for path in altered} == {path.resolve() for path in spoilt}
    kept = copied.path("labels", "full/train_0004.png").stat().st_mtime_ns
    said = copied.run().stdout
    # Labels come back as they were, so what reads them stays; new seconds in the scores do not.
    again = {"labels": "resume", "evaluate": "resume", "report": "run"}
    assert states(said) == {stage: again.get(stage, "hit") for stage in STAGES}
    assert copied.path("labels", "full/train_0004.png").stat().st_mtime_ns == kept
    for stage in set(STAGES) - set(TIMED):
        assert copied.files(stage) == before[stage], stage
    copied.run("verify")


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    made: tuple[Program, str], tmp_path: Path
) -> None:
    calm, program = made[0], Program(tmp_path / "runs", SMALL)

    def killed(stage: str, name: str, after: int) -> list[dict]:
        return program.events(python=("-c", KILLED, stage, name, str(after)), code=-signal.SIGKILL)

    killed("classify", "checkpoint.pt", 1)
    assert (program.partial("classify") / "checkpoint.pt").is_file()

    events = killed("cams", ".npz", 5)
    assert _state(events, "classify") == "resume"
    assert _progress(events, "classify")[0] == (2, 4, "steps")  # the first step is not made again
    cams = _times(program.partial("cams"), "*.npz")
    assert len(cams) == 5

    events = killed("labels", ".png", 20)
    assert _state(events, "cams") == "resume"
    assert _state(events, "classify") == "hit"
    assert cams.items() <= _times(program.path("cams"), "*.npz").items()
    labels = _times(program.partial("labels"), "**/*.png")
    assert len(labels) == 20

    events = program.events()
    assert _state(events, "labels") == "resume"
    assert _progress(events, "labels")[0] == (6, 16, "photos")  # of the seventh, one file lacks
    assert _same(labels, _times(program.path("labels"), "**/*.png")) >= 18
    for stage in STAGES:
        assert program.key(stage) == calm.key(stage), stage
        if stage not in TIMED:
            assert program.files(stage) == calm.files(stage), stage
    predictions = [
        {n: d for n, d in one.files("evaluate").items() if n.endswith(".png")}
        for one in (program, calm)
    ]
    assert predictions[0] == predictions[1]


def test_a_network_trained_on_masks_is_said_to_be_the_upper_bound(copied: Program) -> None:
    # Of another seed: with its own, it would be the upper bound that the run has, hence a hit.
    changes = ("--segment.labels", "masks", "--segment.seed", "9", "--no-upper-bound")
    said = copied.run(*changes).stdout
    assert "upper bound: trained on 16 masks, not on pseudo-labels" in said
    remade = {"segment", "evaluate", "report"}
    kept = [stage for stage in STAGES if not stage.endswith("-masks")]
    assert states(said) == {stage: "run" if stage in remade else "hit" for stage in kept}
    ledger = copied.json("report", "report.json")["ledger"]
    assert ledger["training"] == 16
    assert ledger["culprits"] == ["segment <- masks"]


def test_a_misspelt_flag_costs_nothing_and_names_the_nearest(tmp_path: Path) -> None:
    program = Program(tmp_path / "runs")
    failed = program.run("--segment.epoch", "3", code=2)
    assert failed.stderr == (
        "error: there is no flag --segment.epoch: did you mean --segment.epochs?\n"
    )
    assert not program.runs.exists()


def _state(events: list[dict], stage: str) -> str | None:
    """How a stage began: "run", "resume" or "hit"."""
    for event in events:
        if event.get("stage") == stage and event["event"] in ("start", "hit"):
            return event.get("state", "hit")
    return None


def _progress(events: list[dict], stage: str) -> list[tuple[int, int, str]]:
    """(done, total, unit) of a stage, in order."""
    return [
        (event["done"], event["total"], event["unit"])
        for event in events
        if event["event"] == "progress" and event["stage"] == stage
    ]


def _times(folder: Path, pattern: str) -> dict[str, int]:
    """File below `folder` -> when it was written, in nanoseconds."""
    found = (path for path in folder.glob(pattern) if not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): os.stat(path).st_mtime_ns for path in found}


def _same(before: dict[str, int], after: dict[str, int]) -> int:
    """How many files of `before` were not written again."""
    return sum(after.get(name) == time for name, time in before.items())
