"""A toy project in a folder: the classifier -> CAM files -> labels of the comparison of engines.

Every stage notes what it computes in `log.txt`, outside the artifacts, so that a test can count.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.pipeline.toy_project import FILES

REPOSITORY = Path(__file__).resolve().parents[2]
ITEMS = 12


NURSERY = """
import json, os, runpy, sys, traceback
import filelock, tyro
import pipeline.cli

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.path[:0] = order["environment"]["PYTHONPATH"].split(os.pathsep)
        sys.dont_write_bytecode = True
        for number, name in ((0, os.devnull), (1, "out.txt"), (2, "err.txt")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags, 0o600), number)
        sys.argv = ["main.py", *order["flags"]]
        code = 1
        try:
            runpy.run_path("main.py", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Forks processes that have the libraries loaded: the start of Python costs a test most."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, flags: tuple[str, ...], folder: Path, environment: dict[str, str]
    ) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of `main.py` in `folder`."""
        order = {"flags": flags, "folder": str(folder), "environment": environment}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        return status, (folder / "out.txt").read_text(), (folder / "err.txt").read_text()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@cache
def nursery() -> Nursery:
    """The one of this test process."""
    return Nursery()


class Toy:
    """The project in `folder`, run as a user would run it: one process a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.txt"
        self.runs = folder / "runs"
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def environment(self, **extra: str) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), str(REPOSITORY)])
        own = {"PYTHONPATH": path, "TOY_LOG": str(self.log), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **own, **extra}

    def start(self, *flags: str, **extra: str) -> "subprocess.Popen[str]":
        """Starts `main.py` with `flags` and returns at once."""
        return subprocess.Popen(
            [sys.executable, "main.py", *flags],
            cwd=self.folder,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_interruptible,
        )

    def run(self, *flags: str, code: int = 0, **extra: str) -> "Outcome":
        """Runs `main.py` to its end in a process of its own; its exit status must be `code`."""
        before = len(self.logged())
        status, out, err = nursery().run(flags, self.folder, self.environment(**extra))
        assert status == code, f"status {status}\n{out}\n{err}"
        return Outcome(out, err, self.logged()[before:])

    def go(self) -> None:
        """Lets a process go on that was started with TOY_HOLD and waits at that photo."""
        (self.folder / "go").touch()

    def logged(self) -> list[str]:
        """What stages have computed so far, oldest first."""
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces `old` by `new` in one file of the project; `old` must be there."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def artifact(self, stage: str, run: str = "toy") -> Path:
        return (self.runs / run / stage).resolve()

    def published(self, stage: str) -> list[Path]:
        """Directories in the store that carry the name of a complete artifact."""
        folder = self.runs / ".store" / stage
        return sorted(p for p in folder.glob("*") if p.is_dir() and "." not in p.name)

    def manifest(self, stage: str, run: str = "toy") -> dict:
        return json.loads((self.artifact(stage, run) / "manifest.json").read_text())


class Outcome:
    """Output of one command and what stages computed in it."""

    def __init__(self, out: str, err: str, computed: list[str]) -> None:
        self.out = out
        self.err = err
        self.computed = computed

    @property
    def stages(self) -> list[str]:
        """Stages that computed anything, in order, each once."""
        return list(dict.fromkeys(line.split()[0].replace("cam", "cams") for line in self.computed))

    @property
    def cams(self) -> list[int]:
        return [int(line.split()[1]) for line in self.computed if line.startswith("cam ")]


def _interruptible() -> None:
    """Hear Ctrl-C even where the tests run in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns once `condition()` holds; fails the test when it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
