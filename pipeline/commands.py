"""The commands that every pipeline has: run, status, why, verify, gc."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.console import Plain, duration, size
from pipeline.garbage import remove, waste
from pipeline.graph import Pipeline, Selection
from pipeline.plan import Planner, Step
from pipeline.record import Record, linked
from pipeline.runner import Runner, Runtime
from pipeline.settings import UsageError
from pipeline.store import Store


@dataclass
class Request:
    """What a command is given: flags, the pipeline with its settings, the store and the run."""

    options: argparse.Namespace
    pipeline: Pipeline
    store: Store
    record: Record
    console: Plain
    about: str | None
    """The word after the command: the stage that `why` and `verify` are about."""
    closing: Callable[[dict[str, Path]], str | None] | None
    facts: dict[str, Any] = field(default_factory=dict)

    def selection(self) -> Selection:
        """The stages that --from, --until, --only and --force mean."""
        flags = self.options
        force = [name for given in flags.force for name in given.split(",")]
        try:
            return self.pipeline.select(
                start=flags.start, until=flags.until, only=flags.only, force=force
            )
        except ValueError as error:
            raise UsageError(str(error)) from None

    def planner(self, selection: Selection) -> Planner:
        """A planner that shows progress where many files must be read for the first time."""

        def progress(stage: str, done: int, total: int) -> None:
            self.console.event("progress", stage, done=done, total=total, unit="files read")

        trust = [name for given in self.options.trust for name in given.split(",")]
        made = (self.record.read() or {}).get("keys", {})
        return Planner(
            self.pipeline,
            self.store,
            selection=selection,
            trust=trust,
            made=made,
            progress=progress,
        )


def run(request: Request) -> int:
    """Makes what is missing, then shows the closing lines; with --dry-run, only the plan."""
    planner = request.planner(request.selection())
    if request.options.dry_run:
        wanted = planner.selection.names
        _show(request, [step for step in planner.plan() if step.stage.name in wanted])
        return 0
    flags = request.options
    runtime = Runtime(flags.device, flags.precision, max(1, flags.workers), flags.launch)
    runner = Runner(
        planner, request.record, console=request.console, runtime=runtime, facts=request.facts
    )
    links = runner.run()
    text = request.closing(links) if request.closing else None
    if text:
        request.console.event("closing", text=text)
    return 0


def status(request: Request) -> int:
    """Every stage with its state, and when, how long and how large its artifact was made."""
    _show(request, request.planner(request.selection()).plan())
    return 0


def why(request: Request) -> int:
    """One line: why the stage would run, or that it would not."""
    if request.about is None:
        raise UsageError("why needs a stage: `why labels`")
    name = request.pipeline.stage(request.about).name
    selection = request.pipeline.select(only=name, force=set(request.options.force) & {name})
    step = request.planner(selection).plan()[-1]
    verbs = {
        "hit": f"{name} would not run: {step.key[:8]} is there",
        "resume": f"{name} would resume: {step.reason}",
        "run": f"{name} would run: {step.reason}",
    }
    text = verbs[step.state]
    if request.options.json:
        facts = {"state": step.state, "key": step.key, "reason": step.reason}
        request.console.event("why", name, **facts)
    else:
        request.console.say(text)
    return 0


def verify(request: Request) -> int:
    """Re-hashes the artifacts of the run (or of one stage); status 1 where a file is not as made.

    The next run repairs what was found.
    """
    until = request.about or request.options.until
    steps = request.planner(request.pipeline.select(until=until)).plan()
    wrong = 0
    for step in steps:
        if step.artifact is None or request.about not in (None, step.stage.name):
            continue
        damage = request.store.verify(step.artifact)
        for name, what in damage.items():
            path = step.artifact.path / name
            request.console.event("note", step.stage.name, text=f"{path} {what}")
        files = len(step.artifact.manifest["files"])
        if not damage:
            text = f"{files} files are as they were made"
            request.console.event("note", step.stage.name, text=text)
        wrong += len(damage)
    return 1 if wrong else 0


def gc(request: Request) -> int:
    """Removes artifacts beyond the newest --keep of each stage that no run links to."""
    if request.options.keep < 1:
        raise UsageError("--keep N: at least 1 artifact of each stage is kept")
    freed = 0
    found = list(
        waste(request.store, keep=request.options.keep, linked=linked(request.record.runs))
    )
    for item in found:
        if not request.options.dry_run and not remove(request.store, item):
            request.console.event("note", item.path.parent.name, text=f"{item.path} is in use")
            continue
        freed += item.bytes
        text = f"{item.path}, {size(item.bytes)}"
        request.console.event("note", item.path.parent.name, text=text)
    verb = "would free" if request.options.dry_run else "freed"
    request.console.event("closing", text=f"gc {verb} {size(freed)} in {len(found)} directories")
    return 0


def _show(request: Request, steps: list[Step]) -> None:
    """The plan as a table, or as one JSON line a stage."""
    request.console.fit(step.stage.name for step in steps)
    for step in steps:
        facts = step.last.manifest if step.last else {}
        row: dict[str, Any] = {"state": step.state, "key": step.key, "reason": step.reason}
        row |= {name: facts.get(name) for name in ("seconds", "bytes", "made")}
        if request.options.json:
            request.console.event("step", step.stage.name, **row)
            continue
        cost = f"{duration(facts['seconds'])}, {size(facts['bytes'])}" if facts else ""
        age = f"{duration(time.time() - facts['made'])} ago" if facts else ""
        name = f"{step.stage.name:<{request.console.width}}"
        line = f"{name} {step.state:<6} {step.key[:8]}  {cost:<20} {age:<16}"
        request.console.say(f"{line} {step.reason}".rstrip())


COMMANDS: dict[str, Callable[[Request], int]] = {
    "run": run,
    "status": status,
    "why": why,
    "verify": verify,
    "gc": gc,
}
