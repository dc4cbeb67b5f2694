"""Where a stage runs. A launcher takes a work order and returns what `execute` returns."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pipeline.context import Listener
from pipeline.worker import LEASH, Order, execute

Launcher = Callable[[Order, Listener], dict[str, Any]]
PATIENCE_SECONDS = 10
"""Time that an interrupted worker has to end by itself."""


class StageError(RuntimeError):
    """A stage failed in another process with something that is neither bad data nor a bad setting.

    `trace` is the traceback over there.
    """

    def __init__(self, text: str, trace: str) -> None:
        super().__init__(text)
        self.trace = trace


def inline(order: Order, listener: Listener) -> dict[str, Any]:
    """In this very process: breakpoints work."""
    return execute(order, listener)


def worker(order: Order, listener: Listener) -> dict[str, Any]:
    """In a process of its own: memory and threads are given back after every stage.

    Raises ValueError or OSError with the stage's message, StageError for anything else.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "order.json"
        path.write_text(order.dump())
        command = [sys.executable, "-m", "pipeline.worker", str(path), LEASH]
        # "-m" puts the current folder first on the path; the project may lie elsewhere.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        ) as process:
            try:
                return _follow(process, listener, order.stage)
            except BaseException:
                _stop(process)
                raise


LAUNCHERS: dict[str, Launcher] = {"inline": inline, "worker": worker}
"""By the name given to --launch. More devices and nodes are further entries here."""


def _follow(process: subprocess.Popen[str], listener: Listener, stage: str) -> dict[str, Any]:
    """Passes events on until the worker ends; returns its last one."""
    stream: IO[str] | None = process.stdout
    assert stream is not None
    last: dict[str, Any] = {}
    for line in stream:
        last = json.loads(line)
        _pass_on(last, listener)
    code = process.wait()
    event = last.pop("event", None)
    if event == "done" and code == 0:
        return last
    if event == "error":
        known = {"ValueError": ValueError, "OSError": OSError}
        if last["kind"] in known:
            raise known[last["kind"]](last["text"])
        raise StageError(last["text"], last["trace"])
    died = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise ValueError(
        f"the process of {stage} ended with {died}: if it was SIGKILL, memory may have run out"
        " (try fewer --workers)"
    )


def _pass_on(event: dict[str, Any], listener: Listener) -> None:
    if event["event"] == "progress":
        listener.progress(event["done"], event["total"], event["unit"])
    elif event["event"] == "figures":
        listener.figures(event["figures"])
    elif event["event"] == "note":
        listener.note(event["text"])


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)
        return
    process.kill()
