"""The flags that every command of a pipeline knows, before the settings of its recipe."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel

from pipeline.launch import LAUNCHERS
from pipeline.settings import UsageError


class Flags(argparse.ArgumentParser):
    """A parser whose errors are those of every wrong command line."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(message)


def flags(program: str, recipes: Mapping[str, BaseModel], description: str) -> Flags:
    """The parser of what `program` takes beside the settings of `recipes`."""
    parser = Flags(
        prog=program,
        usage=f"{program} [COMMAND] [flags] [--SECTION.SETTING VALUE ...]",
        description=description,
        allow_abbrev=False,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", metavar="NAME", help=f"one of {', '.join(recipes)} (default: the first)")
    add("--name", help="name of the run, i.e. of its folder below --runs (default: the recipe's)")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    add("--from", dest="start", metavar="STAGE", help="make it and all below it again")
    add("--until", metavar="STAGE", help="make it and what it needs, nothing else")
    add("--only", metavar="STAGE", help="make this stage alone; its inputs must be there")
    again = "make it again though cached; may be repeated"
    add("--force", action="append", default=[], metavar="STAGE", help=again)
    trust = "keep its newest artifact although its source has changed; may be repeated"
    add("--trust", action="append", default=[], metavar="STAGE", help=trust)
    add("--dry-run", action="store_true", help="print the plan (for gc: the list), change nothing")
    add("--keep", type=int, default=3, metavar="N", help="gc: newest artifacts kept per stage")
    add("--json", action="store_true", help="events as JSON lines")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    add("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    add("--workers", type=int, default=_cores(), metavar="N", help="processes for CPU work")
    add("--launch", default="inline", choices=list(LAUNCHERS), help="where stages run")
    add("--debug", action="store_true", help="show tracebacks")
    add("--help", "-h", action="store_true", help="this text; after a stage, its settings")
    return parser


def _cores() -> int:
    """Cores that this process may use; fewer than the machine has under a scheduler."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
