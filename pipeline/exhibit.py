"""`STAGE --show`: the artifact of a stage, printed by the domain and made first where missing."""

from collections.abc import Callable
from pathlib import Path

from pipeline.commands import Request
from pipeline.record import Record
from pipeline.runner import Runner, Runtime
from pipeline.settings import UsageError

FLAG = "--show"
Show = Callable[[Path, bool], None]
"""Prints the artifact in a folder: as a page for people, or as JSON where that is asked for."""


def artifact_of(request: Request, stage: str) -> Path:
    """The artifact of `stage` with the request's settings.

    One that is there is only looked at. What is missing is made: by the run that --name names, else
    by a run of its own, so that the links of other runs stay as they are.
    """
    flags = request.options
    if flags.start or flags.until or flags.only or flags.force or flags.dry_run:
        raise UsageError(f"{stage} {FLAG} goes with no --from, --until, --only, --force, --dry-run")
    planner = request.planner(request.pipeline.select(until=stage))
    step = next(step for step in planner.plan() if step.stage.name == stage)
    if step.state == "hit" and step.artifact is not None:
        return step.artifact.path
    record = request.record
    if not flags.name:
        record = Record(record.runs, f"{record.folder.name}-{stage}")
    runtime = Runtime(flags.device, flags.precision, max(1, flags.workers), flags.launch)
    console, facts = request.console, request.facts
    return Runner(planner, record, console=console, runtime=runtime, facts=facts).run()[stage]
