"""Makes what a plan lacks: hit, resume or run, one stage after the other."""

import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.difference import differences, sentence
from pipeline.key import key_of, places
from pipeline.launch import LAUNCHERS
from pipeline.plan import Planner, Step
from pipeline.record import Record
from pipeline.source import Sources
from pipeline.store import BEGUN, Artifact, write_json
from pipeline.worker import Order


class Console(Protocol):
    """Where events go; `pipeline.console` has one for terminals, for logs and for machines."""

    def event(self, event: str, stage: str = "", **fields: Any) -> None: ...


class StageFailed(ValueError):
    """A stage ended with bad data, a bad setting or a failing disk; the message says which."""


@dataclass(frozen=True)
class Runtime:
    """What does not change any result: where and how stages run."""

    device: str = "auto"
    precision: str = "auto"
    workers: int = 1
    launch: str = "inline"


class Runner:
    """Carries out the plan of `planner` and links its artifacts in the folder of the run.

    `facts` enter `run.json` as they are: recipe, settings, flags.
    """

    def __init__(
        self,
        planner: Planner,
        record: Record,
        *,
        console: Console,
        runtime: Runtime | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.planner = planner
        self.store = planner.store
        self.record = record
        self.console = console
        self.runtime = runtime or Runtime()
        self.facts = dict(facts or {})
        self.artifacts: dict[str, Artifact] = {}
        self.settled: set[tuple[str, str]] = set()
        """Kind and key of all that this run has found or made: variants may share an artifact."""

    def run(self) -> dict[str, Path]:
        """Makes or finds every selected stage; returns stage -> link below `runs/<name>/`.

        Raises StageFailed for a stage that ends with ValueError or OSError, and ValueError where
        --only lacks an input. A failure is never cached.
        """
        steps = self.planner.plan()
        self.console.event("plan", steps=[_described(step) for step in steps])
        wanted = self.planner.selection.names
        self._complete_inputs([step for step in steps if step.stage.name not in wanted])
        links: dict[str, Path] = {}
        for step in steps:
            name = step.stage.name
            if name not in wanted:
                continue
            self.artifacts[name] = self._settle(step, steps)
            self.settled.add((step.stage.kind, step.key))
            links[name] = self._link(name)
        self._write(steps)
        return links

    def _link(self, name: str) -> Path:
        below = self.planner.pipeline.below(name)
        return self.record.link(name, self.artifacts[name], below)

    def _complete_inputs(self, outside: list[Step]) -> None:
        """With --only: the artifacts of the stages above, none of which may be missing."""
        stages = self.planner.pipeline.stages
        needed = {n for w in self.planner.selection.names for n in stages[w].reads.values()}
        lacking = [s.stage.name for s in outside if s.state != "hit" and s.stage.name in needed]
        if lacking:
            raise ValueError(
                f"--only {self.planner.selection.names[0]} needs {', '.join(lacking)}, not made"
                f" yet with these settings: run --until {lacking[-1]} first, or leave --only out"
            )
        self.artifacts |= {s.stage.name: s.artifact for s in outside if s.artifact is not None}

    def _settle(self, step: Step, steps: list[Step]) -> Artifact:
        """The artifact of one step: found, or made under the lock of its key."""
        kind = step.stage.kind
        digests = {n: self.artifacts[other].digest for n, other in step.stage.reads.items()}
        planned = step.artifact
        if step.state == "hit" and planned is not None and planned.inputs == digests:
            self._report_hit(step, planned)
            return planned
        self._write(steps)
        with self.store.lock(kind, step.key, lambda: self._note(step, "waiting for another run")):
            state, reason, found = self.planner.judge(step.stage, step.parts, step.key, digests)
            if found is not None and (state == "hit" or (kind, step.key) in self.settled):
                self._report_hit(step, found)
                return found
            self._check_unchanged(step)
            if found is not None and state == "resume":
                self._note(step, f"{reason}: repairing")
                self.store.set_back(found, self.store.damage(found))
            return self._make(step, digests, reason)

    def _make(self, step: Step, digests: Mapping[str, str], reason: str) -> Artifact:
        name, kind = step.stage.name, step.stage.kind
        again = (kind, step.key) in self.planner.again
        before = self.store.begun(kind, step.key)
        try:
            out, begun = self.store.begin(
                kind, step.key, parts=step.parts, inputs=digests, again=again
            )
            state = "resume" if begun == before else "run"
            self.console.event("start", name, state=state, key=step.key, reason=reason)
            facts = self._launched(step, out, begun)
            keys = step.parts["inputs"]
            inputs = {n: {"key": keys[n], "digest": digest} for n, digest in digests.items()}
            artifact = self.store.publish(kind, step.key, {**facts, "inputs": inputs})
        except (ValueError, OSError) as error:
            raise StageFailed(f"{name}: {explained(error)}") from error
        self.console.event(
            "done",
            name,
            key=step.key,
            seconds=artifact.manifest["seconds"],
            bytes=artifact.manifest["bytes"],
            peak_memory_bytes=artifact.manifest["peak_memory_bytes"],
        )
        return artifact

    def _launched(self, step: Step, out: Path, begun: dict[str, Any]) -> dict[str, Any]:
        """Runs the stage; keeps account of the seconds also where it is broken off."""
        started = time.monotonic()
        listener = StageListener(self.console, step.stage.name)
        try:
            facts = LAUNCHERS[self.runtime.launch](self._order(step, out), listener)
        except BaseException:
            begun["spent"] += time.monotonic() - started
            with suppress(OSError):
                write_json(out / BEGUN, begun)
            raise
        facts["seconds"] += begun["spent"]
        return {"version": step.parts["version"], **facts}

    def _order(self, step: Step, out: Path) -> Order:
        model = type(step.stage.config)
        everywhere: dict[str, Path] = {}
        for stage in self.planner.pipeline.stages.values():
            everywhere |= places(stage.section, stage.config)
        return Order(
            stage=step.stage.name,
            module=step.stage.module,
            model=f"{model.__module__}:{model.__qualname__}",
            config=step.stage.config.model_dump(mode="json"),
            inputs={n: str(self.artifacts[o].path) for n, o in step.stage.reads.items()},
            out=str(out),
            device=self.runtime.device,
            precision=self.runtime.precision,
            workers=self.runtime.workers,
            places={name: str(path) for name, path in everywhere.items()},
            trusted=tuple(self.facts.get("trusted", ())),
        )

    def _check_unchanged(self, step: Step) -> None:
        """Refuses to make an artifact from a source or a file that is not what its key says."""
        self.planner.sources = Sources(self.planner.cache)
        parts = self.planner.current_parts(step.stage, step.parts["inputs"], step.parts["trusted"])
        if key_of(parts) != step.key:
            found = sentence(differences(parts, step.parts))
            raise StageFailed(
                f"{step.stage.name}: {found} since this run began;"
                " the same command goes on with what is there now"
            )

    def _report_hit(self, step: Step, artifact: Artifact) -> None:
        self.console.event("hit", step.stage.name, key=artifact.key)
        if step.trusted:
            found = sentence(differences(self.planner.parts[step.stage.name], artifact.recipe))
            self._note(step, f"TRUSTED although it was made by other code: {found}")

    def _note(self, step: Step, text: str) -> None:
        self.console.event("note", step.stage.name, text=text)

    def _write(self, steps: list[Step]) -> None:
        self.facts["trusted"] = [step.stage.name for step in steps if step.trusted]
        keys = {step.stage.name: step.key for step in steps}
        self.record.write({"name": self.record.folder.name, **self.facts, "keys": keys})


class StageListener:
    """Passes what a running stage reports on to the console, under the stage's name."""

    def __init__(self, console: Console, stage: str) -> None:
        self.console = console
        self.stage = stage

    def progress(self, done: int, total: int, unit: str) -> None:
        self.console.event("progress", self.stage, done=done, total=total, unit=unit)

    def figures(self, figures: Mapping[str, float]) -> None:
        self.console.event("figures", self.stage, figures=dict(figures))

    def note(self, text: str) -> None:
        self.console.event("note", self.stage, text=text)


def _described(step: Step) -> dict[str, Any]:
    last = step.last.manifest if step.last else {}
    return {
        "stage": step.stage.name,
        "state": step.state,
        "key": step.key,
        "reason": step.reason,
        "seconds": last.get("seconds"),
        "bytes": last.get("bytes"),
    }


def explained(error: Exception) -> str:
    """The message of an error, with what to do where the disk is full."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{error}: the disk is full. Nothing half-made was published, finished items are kept;"
            " free some space and give the same command again"
        )
    return str(error)
