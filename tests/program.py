"""The real program as a person starts it: every command is a fresh process."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import run_pipeline

ROOT = Path(run_pipeline.__file__).parent
SECONDS = 300
"""Longest that one command may take before the test gives up on it."""


@dataclass(frozen=True)
class Program:
    """`run_pipeline.py` with one folder of runs and the flags that every command gets."""

    runs: Path
    flags: tuple[str, ...] = ()
    name: str = "demo"

    def run(
        self,
        *words: str,
        code: int = 0,
        python: tuple[str, ...] = (str(ROOT / "run_pipeline.py"),),
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end on one core, offline; fails unless its exit status is `code`.

        `python`: what follows the interpreter, e.g. ("-c", code) in place of the file.
        """
        fixed = ("--runs", str(self.runs), "--device", "cpu", "--workers", "1")
        done = subprocess.run(
            [sys.executable, *python, *words, *fixed, *self.flags],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        return done

    def events(self, *words: str, **options: Any) -> list[dict[str, Any]]:
        """What `run --json` says, an object a line."""
        said = self.run(*words, "--json", **options).stdout
        return [json.loads(line) for line in said.splitlines()]

    def path(self, stage: str, name: str = "") -> Path:
        """A file of the run, through the link that a person would follow."""
        return self.runs / self.name / stage / name

    def json(self, stage: str, name: str) -> dict[str, Any]:
        return json.loads(self.path(stage, name).read_text(encoding="utf-8"))

    def files(self, stage: str) -> dict[str, str]:
        """File -> digest of its content, as the manifest of the artifact says."""
        return {
            name: digest for name, (_, digest) in self.json(stage, "manifest.json")["files"].items()
        }

    def key(self, stage: str) -> str:
        return self.json(stage, "manifest.json")["key"]

    def partial(self, stage: str) -> Path:
        """The directory of an artifact that a killed run left unfinished; there is just one."""
        (found,) = (self.runs / ".store" / stage).glob("*.partial")
        return found


def states(said: str) -> dict[str, str]:
    """Stage -> "hit", "run" or "resume", from the plain lines of a run."""
    words = (line.split() for line in said.splitlines())
    return {w[0]: w[1] for w in words if len(w) > 2 and w[1] in ("hit", "run", "resume")}
