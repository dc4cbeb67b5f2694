"""A toy project in a folder: the classifier -> CAM files -> labels of the comparison of engines.

Every stage notes what it computes in `log.txt`, outside the artifacts, so that a test can count.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ITEMS = 12

FILES = {
    "stages/__init__.py": "",
    "stages/index.py": '''
"""The photos there are."""
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.key import Place

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    root: Annotated[Path | None, Place()] = Field(None, description="folder of the photos")
    count: int = Field(12, ge=1, description="number of photos")


def sources(config):
    names = sorted(config.root.glob("*.txt")) if config.root else []
    return {path.name: path for path in names}


def run(config, inputs, out, context):
    from stages.log import log

    log("index")
    texts = {label: path.read_text() for label, path in sources(config).items()}
    (out / "index.txt").write_text(f"{config.count} {texts}")
''',
    "stages/classify.py": '''
"""A classifier."""
from pydantic import BaseModel, Field

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    rate: float = Field(0.1, gt=0, description="learning rate")
    noise: bool = Field(False, description="other bytes at every training")


def run(config, inputs, out, context):
    import uuid

    from stages.log import log
    from stages.nets import weights

    log("classify")
    context.figures(loss=0.5)
    text = (inputs["index"] / "index.txt").read_text()
    noise = uuid.uuid4().hex if config.noise else ""
    (out / "model.txt").write_text(f"{weights.scaled(config.rate)} {text} {noise}")
''',
    "stages/cams.py": '''
"""One file a photo."""
import os
import time

from pydantic import BaseModel, Field

VERSION = 1


class Config(BaseModel, frozen=True, extra="forbid"):
    scale: float = Field(1.0, description="factor of the photo's side")
    labels_too: bool = Field(False, description="a setting with two words")


def run(config, inputs, out, context):
    from stages.log import log

    model = (inputs["classify"] / "model.txt").read_text()
    todo = [n for n in range(12) if not (out / f"{n}.cam").exists()]
    for n in context.track(todo, total=12, done=12 - len(todo)):
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
        while os.environ.get("TOY_HOLD") == str(n) and not os.path.exists("go"):
            time.sleep(0.01)
        hidden = out / f".{n}.tmp"
        hidden.write_text(f"{n} {config.scale} {model}")
        hidden.rename(out / f"{n}.cam")
        log(f"cam {n}")
''',
    "stages/labels.py": '''
"""Labels of all photos."""
from pydantic import BaseModel, Field

VERSION = 1


class Crf(BaseModel, frozen=True, extra="forbid"):
    iterations: int = Field(10, ge=0, description="mean-field steps")


class Config(BaseModel, frozen=True, extra="forbid"):
    crf: Crf = Field(Crf(), description="dense CRF")


def run(config, inputs, out, context):
    from stages.log import log

    log("labels")
    cams = sorted(path.read_text() for path in inputs["cams"].glob("*.cam"))
    (out / "labels.txt").write_text(f"{config.crf.iterations} {cams}")
''',
    "stages/log.py": """
import os


def log(text):
    with open(os.environ["TOY_LOG"], "a") as stream:
        stream.write(text + "\\n")
""",
    "stages/nets/__init__.py": "",
    "stages/nets/weights.py": '''
"""Weights."""


def scaled(rate):
    """Ten times the rate."""
    return rate * 10  # ten
''',
    "main.py": """
import os
import resource
import sys

from pydantic import BaseModel

from pipeline.cli import main
from pipeline.graph import Pipeline, Stage
from stages.cams import Config as Cams
from stages.classify import Config as Classify
from stages.index import Config as Index
from stages.labels import Config as Labels


class Recipe(BaseModel, frozen=True, extra="forbid"):
    dataset: Index = Index()
    classify: Classify = Classify()
    cams: Cams = Cams()
    labels: Labels = Labels()


def build(recipe):
    return Pipeline([
        Stage("index", "stages.index", "dataset", recipe.dataset),
        Stage("classify", "stages.classify", "classify", recipe.classify, ("index",)),
        Stage("cams", "stages.cams", "cams", recipe.cams, ("index", "classify")),
        Stage("labels", "stages.labels", "labels", recipe.labels, ("cams",)),
    ])


def shout(argv):
    print(" ".join(argv).upper())


def closing(artifacts):
    return "report: " + str(artifacts.get("labels"))


RECIPES = {"toy": Recipe(), "big": Recipe(dataset=Index(count=99))}

if __name__ == "__main__":
    if "TOY_FILE_SIZE" in os.environ:
        limit = int(os.environ["TOY_FILE_SIZE"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code = main(
        sys.argv[1:], program="main.py", recipes=RECIPES, build=build,
        commands={"shout": shout}, closing=closing,
    )
    if "TOY_PROBE" in os.environ:
        heavy = ("torch", "numpy", "joblib", "tyro", "rich", "filelock")
        print("imported:", *(name for name in heavy if name in sys.modules))
    sys.exit(code)
""",
}


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


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns once `condition()` holds; fails the test when it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
