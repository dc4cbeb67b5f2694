"""Work orders: what a process is told, what it tells back, and how it may end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.context import Silent
from pipeline.launch import StageError, worker
from pipeline.worker import Order
from tests.pipeline.toy import Toy, wait_until


class Heard(Silent):
    """Keeps what a stage reported."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def progress(self, done: int, total: int, unit: str) -> None:
        self.heard.append((done, total, unit))

    def note(self, text: str) -> None:
        self.heard.append((text,))


STAGE = """
import os
import sys
from pydantic import BaseModel

class Config(BaseModel):
    how: str = "well"

def run(config, inputs, out, context):
    print("chatter")
    os.write(1, b"more chatter\\n")
    for n in context.track(context.mine(range(4)), total=4):
        (out / str(n)).write_text(f"{context.rank} of {context.world}")
    context.note(str(context.places["dataset.root"]))
    if config.how == "badly":
        raise ValueError("photo 3 is no photo")
    if config.how == "wrongly":
        {}["x"]
    if config.how == "killed":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "toyorder.py").write_text(STAGE)
    (tmp_path / "out").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return {
        "stage": "toy",
        "module": "toyorder",
        "model": "toyorder:Config",
        "config": {},
        "inputs": {},
        "out": str(tmp_path / "out"),
        "places": {"dataset.root": "/photos"},
    }


def test_an_order_survives_json() -> None:
    order = Order("cams", "stages.cams", "stages.cams:Config", {"a": 1}, {"index": "/x"}, "/out")
    assert Order.parse(order.dump()) == order
    with pytest.raises(ValueError, match="this is no work order"):
        Order.parse('{"stage": "cams", "sage": 1}')


def test_a_worker_reports_and_returns(order: dict[str, Any], capfd: Any) -> None:
    listener = Heard()
    facts = worker(Order(**order), listener)
    assert listener.heard[0] == (0, 4, "photos")
    assert listener.heard[-2:] == [(4, 4, "photos"), ("/photos",)]
    assert facts["seconds"] > 0
    assert facts["peak_memory_bytes"] > 1e6
    assert "pydantic" in facts["versions"]
    assert "more chatter" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("badly", ValueError, "photo 3 is no photo"),
        ("wrongly", StageError, "KeyError: 'x'"),
        ("killed", ValueError, "ended with signal SIGKILL"),
    ],
)
def test_a_failing_worker_says_why(
    order: dict[str, Any], how: str, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        worker(Order(**{**order, "config": {"how": how}}), Heard())


def test_ranks_share_the_work(order: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text(json.dumps(order))
    for rank in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.worker", str(path)],
            env={
                **os.environ,
                "RANK": rank,
                "WORLD_SIZE": "2",
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout.splitlines()[-1])["event"] == "done"
    texts = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert texts == {"0": "0 of 2", "1": "1 of 2", "2": "0 of 2", "3": "1 of 2"}


def test_a_worker_does_not_outlive_the_run_that_holds_the_lock(toy: Toy) -> None:
    toy.run("--until", "classify")
    process = toy.start("--launch", "worker", TOY_HOLD="3")
    wait_until(lambda: "cam 2" in toy.logged())
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)  # returns once the worker, which has the same pipe, has ended
    assert toy.run().cams == list(range(3, 12))


def test_an_interrupted_worker_ends_with_its_run(toy: Toy) -> None:
    toy.run("--until", "classify")
    process = toy.start("--launch", "worker", TOY_HOLD="3")
    wait_until(lambda: "cam 2" in toy.logged())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from there" in err
    assert toy.run().cams == list(range(3, 12))
