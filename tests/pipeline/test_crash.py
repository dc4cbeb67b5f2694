"""Processes that race, die at any moment or find the disk full leave the store valid."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.toy import ITEMS, Toy, wait_until

PUBLISH = """
import sys
from pathlib import Path
from pipeline.store import Store

store = Store(Path(sys.argv[1]))
parts = {"stage": "s", "version": 1, "config": {}, "inputs": {}, "source": {}, "files": {}}
facts = {"version": 1, "inputs": {}, "seconds": 1.0, "peak_memory_bytes": 1, "versions": {}}
while True:
    with store.lock("s", "k" * 64):
        out, _ = store.begin("s", "k" * 64, parts=parts, inputs={}, again=True)
        for n in range(5):
            (out / f"{n}.txt").write_text(str(n) * 1000)
        store.publish("s", "k" * 64, facts)
    print("published", flush=True)
"""


def test_two_runs_that_want_the_same_make_it_once(toy: Toy) -> None:
    toy.run("--until", "classify")
    first = toy.start(TOY_HOLD="3")
    wait_until(lambda: "cam 2" in toy.logged())
    second = toy.start("--name", "other")
    assert second.stdout is not None
    lines = [second.stdout.readline() for _ in range(3)]
    assert lines[2].split(maxsplit=2) == ["cams", "note", "waiting for another run\n"]
    toy.go()
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    cams = [line for line in toy.logged() if line.startswith("cam ")]
    assert len(cams) == ITEMS
    assert toy.logged().count("labels") == 1
    assert outputs[1].split()[:2] == ["cams", "hit"]
    assert toy.artifact("cams", "other") == toy.artifact("cams", "toy")


@pytest.mark.parametrize("seed", range(4))
def test_sigkill_at_any_moment_leaves_only_the_missing_items(toy: Toy, seed: int) -> None:
    chance = random.Random(seed)
    expected: set[int] = set()
    for _ in range(2):
        process = toy.start(TOY_PAUSE="0.02")
        time.sleep(chance.uniform(0.15, 0.7))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        folder = toy.runs / ".store" / "cams"
        expected |= {int(path.stem) for path in folder.glob("*/*.cam")}
    again = toy.run()
    assert set(again.cams) == set(range(ITEMS)) - expected
    assert len(again.cams) == len(set(again.cams))
    assert toy.run().computed == []
    assert toy.run("verify").out.count("as they were made") == 4
    texts = [(toy.artifact("cams") / f"{n}.cam").read_text().split()[0] for n in range(ITEMS)]
    assert texts == [str(n) for n in range(ITEMS)]


@pytest.mark.parametrize("seed", range(6))
def test_an_artifact_is_absent_or_complete_whenever_its_writer_dies(
    tmp_path: Path, seed: int
) -> None:
    from pipeline.store import Store

    command = [sys.executable, "-c", PUBLISH, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.03))
    process.kill()
    process.communicate()
    store = Store(tmp_path)
    artifact = store.find("s", "k" * 64)
    if artifact is not None:
        assert store.verify(artifact) == {}
        assert len(artifact.manifest["files"]) == 5
    after = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert after.stdout is not None
    assert after.stdout.readline() == "published\n"  # whatever was left is in nobody's way
    after.kill()
    after.communicate()


def test_a_file_that_may_not_grow_publishes_nothing(toy: Toy) -> None:
    big = '(out / "labels.txt").write_text("x" * 300_000 + '
    toy.edit("stages/labels.py", '(out / "labels.txt").write_text(', big)
    toy.run("--until", "cams")
    failed = toy.run(code=1, TOY_FILE_SIZE="100000")
    assert "the disk is full" in failed.err
    assert "Traceback" not in failed.err
    assert toy.published("labels") == []
    assert toy.run().stages == ["labels"]


def test_a_disk_full_at_publication_publishes_nothing(toy: Toy) -> None:
    """Everything of the stage fits, its manifest does not."""
    many = 'log("labels")\n    for n in range(900): (out / f"{n}").write_text("x")'
    toy.edit("stages/labels.py", 'log("labels")', many)
    toy.run("--until", "cams")
    assert "the disk is full" in toy.run(code=1, TOY_FILE_SIZE="50000").err
    assert toy.published("labels") == []
    assert "resume" in toy.run().out
    assert len(toy.manifest("labels")["files"]) == 901


def test_a_full_file_system_publishes_nothing(toy: Toy) -> None:
    toy.runs.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(toy.runs).encode(), b"tmpfs", 0, b"size=512k") != 0:
        pytest.skip(f"mounting is not permitted: {os.strerror(ctypes.get_errno())}")
    try:
        (toy.runs / "ballast").write_bytes(bytes(400_000))
        big = '(out / "labels.txt").write_text("x" * 300_000 + '
        toy.edit("stages/labels.py", '(out / "labels.txt").write_text(', big)
        failed = toy.run(code=1)
        assert "No space left on device" in failed.err
        assert "the disk is full" in failed.err
        assert failed.stages == ["index", "classify", "cams", "labels"]
        assert toy.published("labels") == []
        assert "the disk is full" in toy.run(code=1).err
        (toy.runs / "ballast").unlink()
        assert toy.run().stages == ["labels"]
        assert toy.run().computed == []
    finally:
        libc.umount(str(toy.runs).encode())
