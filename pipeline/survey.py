"""A command that looks at what a run with its settings would do, without running it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.commands import Request


def nothing_meant(tokens: Sequence[str]) -> str | None:
    """The recipe that settings mean where none is named: no particular one."""
    del tokens
    return None


@dataclass(frozen=True)
class Survey:
    """What `pipeline.cli` needs to serve such a command. It takes every flag that a run takes."""

    look: Callable[[Any, Request], int]
    """Given the settings of the recipe and the request; returns the exit status."""
    explained: Callable[[], str]
    """Gives the text of its `--help`."""
    recipe: Callable[[Sequence[str]], str | None] = nothing_meant
    """Name of the recipe that the settings on the command line mean where none is named."""
