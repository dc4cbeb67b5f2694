"""The command line over any pipeline: run, status, why, verify, gc, and what the domain adds."""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.commands import COMMANDS, Request
from pipeline.console import Plain, console_for
from pipeline.exhibit import FLAG, Show, artifact_of
from pipeline.flags import flags
from pipeline.graph import Pipeline, unknown
from pipeline.record import STORE, Record
from pipeline.runner import explained
from pipeline.settings import UsageError, changed, explanation, restored
from pipeline.store import Store
from pipeline.survey import Survey

Build = Callable[[Any], Pipeline]
Command = Callable[[list[str]], int | None]
Closing = Callable[[dict[str, Path]], str | None]
FROM_RECORD = ("status", "why", "verify")
"""Commands that look at a run as it was made, unless flags say otherwise."""
ABOUT_A_STAGE = ("why", "verify")
"""Commands that may name a stage."""
RUN = "run"
"""The command that runs the pipeline; further pipelines are run by commands of their own."""


@dataclass(frozen=True)
class Start:
    """Where a command line starts from, before its settings."""

    recipe: str
    settings: BaseModel
    pipeline: str = RUN
    """Command that runs the pipeline in question."""

    @property
    def run(self) -> str:
        """Name of the run where none is given."""
        return self.recipe if self.pipeline == RUN else f"{self.recipe}-{self.pipeline}"

    @property
    def section(self) -> str:
        """Section of the recipe that is the pipeline's own, or nothing."""
        return self.pipeline if self.pipeline in type(self.settings).model_fields else ""


def main(
    argv: Sequence[str],
    *,
    program: str,
    recipes: Mapping[str, BaseModel],
    build: Build,
    pipelines: Mapping[str, Build] | None = None,
    commands: Mapping[str, Command] | None = None,
    surveys: Mapping[str, Survey] | None = None,
    shows: Mapping[str, Show] | None = None,
    closing: Closing | None = None,
    description: str = "",
) -> int:
    """Parses `argv` (without the program's name) and does what it says; returns the exit status.

    `recipes`: name -> settings, one section per stage; the first is the default. `build`: settings
    -> pipeline. `pipelines`: name -> `build` of a further pipeline over the same recipes, run by
    the command of that name; settings of the section of that name need no prefix there. `commands`:
    further commands, each given the arguments after its name; where one shares its name with a
    pipeline, it is the one that takes words. `surveys`: commands that take the flags of a run and
    look at what it would do. `shows`: stage -> prints its artifact (`STAGE --show`). `closing`:
    stage -> artifact directory of a finished run -> the lines to end with (also when all are hits).

    Status 0: done; 1: a stage or a check failed, with one message; 2: the command line is wrong;
    130: interrupted. Other exceptions than ValueError and OSError are bugs and say so.
    """
    desk = Desk(
        program,
        recipes,
        builds={RUN: build, **(pipelines or {})},
        commands=commands or {},
        surveys=surveys or {},
        shows=shows or {},
        closing=closing,
        description=description,
    )
    debug = "--debug" in argv
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's end: like Ctrl-C
    try:
        return desk.serve(list(argv))
    except UsageError as error:
        return _failed(error, 2, debug=debug)
    except BrokenPipeError:  # `... | head` has read enough; nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return _failed(error, 1, debug=debug)
    except KeyboardInterrupt:
        _say("interrupted: what is finished is kept; the same command goes on from there")
        return 130
    except Exception as error:
        if debug:
            raise
        trace = getattr(error, "trace", "")
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        name = "" if trace else f"{type(error).__name__}: "
        _say(f"error: {name}{error}{notes}. This is a bug; --debug shows where it happened")
        return 1


class Desk:
    """Finds out which command, recipe and run the arguments mean."""

    def __init__(
        self,
        program: str,
        recipes: Mapping[str, BaseModel],
        *,
        builds: Mapping[str, Build],
        commands: Mapping[str, Command],
        closing: Closing | None,
        description: str,
        surveys: Mapping[str, Survey] | None = None,
        shows: Mapping[str, Show] | None = None,
    ) -> None:
        self.program = program
        self.recipes = recipes
        self.builds = builds
        self.commands = commands
        self.surveys = surveys or {}
        self.shows = shows or {}
        self.closing = closing
        self.parser = flags(program, recipes, description)

    def serve(self, argv: list[str]) -> int:
        """Does what the arguments say; returns the exit status."""
        command = argv.pop(0) if argv and not argv[0].startswith("-") else RUN
        words = bool(argv) and not argv[0].startswith("-")
        if command in self.commands and (words or command not in self.builds):
            return self.commands[command](argv) or 0
        wants_help = "--help" in argv or "-h" in argv
        default = Start(*next(iter(self.recipes.items())), pipeline=command)
        if command not in (*self.builds, *COMMANDS, *self.surveys):
            if command in self.shows and FLAG in argv and not wants_help:
                return self._show(command, [token for token in argv if token != FLAG])
            return self._about_stage(command, default.settings, wants_help=wants_help)
        if wants_help:
            print(self._help(command, default))
            return 0
        about = argv.pop(0) if words else None
        if about is not None and command not in ABOUT_A_STAGE:
            raise UsageError(f"{command} takes no {about!r}: a stage goes with --only or --until")
        options, tokens = self.parser.parse_known_args(argv)
        start = self._start(command, options, tokens)
        recipe = changed(start.settings, tokens, flags=self._flags(), section=start.section)
        with console_for(json_lines=options.json) as console:
            request = self._request(options, start, recipe, console=console, about=about)
            request.facts |= {"flags": [*argv]}
            if command in self.surveys:
                return self.surveys[command].look(recipe, request)
            return COMMANDS.get(command, COMMANDS[RUN])(request)

    def _show(self, stage: str, argv: list[str]) -> int:
        """`graph --show`: progress goes to standard error, the page or its JSON to the output."""
        options, tokens = self.parser.parse_known_args(argv)
        start = self._start(stage, options, tokens)
        recipe = changed(start.settings, tokens, flags=self._flags())
        with console_for(json_lines=False, stream=sys.stderr) as console:
            request = self._request(options, start, recipe, console=console, about=None)
            request.facts |= {"flags": argv}
            folder = artifact_of(request, stage)
        self.shows[stage](folder, options.json)
        return 0

    def _help(self, command: str, start: Start) -> str:
        if command in self.surveys:
            return self.surveys[command].explained()
        return self.explained(start) if start.section else self.overview()

    def overview(self) -> str:
        """The text of `--help`: usage, commands, recipes, stages."""
        default = next(iter(self.recipes.values()))
        stages = self.builds[RUN](default).names
        lists = {
            "commands": self._words(),
            "recipes": list(self.recipes),
            "stages": list(stages),
        }
        text = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in lists.items())
        top = explanation(default, "", nested=False)
        return "\n".join(
            [
                self.parser.format_help(),
                text,
                *(["", "settings of the whole recipe:", top] if top else []),
                f"\n{self.program} STAGE --help lists the settings of a stage",
            ]
        )

    def explained(self, start: Start) -> str:
        """The text of `PIPELINE --help`: its own settings, which need no prefix."""
        own = explanation(getattr(start.settings, start.section), "")
        return f"{start.pipeline} has these settings, beside all others:\n\n{own}"

    def _words(self) -> list[str]:
        return list(dict.fromkeys([*COMMANDS, *self.builds, *self.commands, *self.surveys]))

    def _request(
        self,
        options: argparse.Namespace,
        start: Start,
        recipe: BaseModel,
        *,
        console: Plain,
        about: str | None,
    ) -> Request:
        facts = {"recipe": start.recipe, "settings": recipe.model_dump(mode="json")}
        return Request(
            options=options,
            pipeline=self.builds[start.pipeline](recipe),
            store=Store(options.runs / STORE),
            record=Record(options.runs, options.name or start.run),
            console=console,
            about=about,
            closing=self.closing,
            facts={**facts, "pipeline": start.pipeline},
        )

    def _start(self, command: str, options: argparse.Namespace, tokens: Sequence[str]) -> Start:
        """Recipe and pipeline to start from: those recorded with the run, or those asked for."""
        meant = self.surveys[command].recipe(tokens) if command in self.surveys else None
        name = options.recipe or meant or next(iter(self.recipes))
        if name not in self.recipes:
            raise UsageError(unknown("recipe", name, list(self.recipes)))
        if command in self.builds:
            return Start(name, self.recipes[name], command)
        known = Record(options.runs, options.name or name).read()
        if command not in (*FROM_RECORD, *self.shows) or known is None:
            return Start(name, self.recipes[name])
        kind = known.get("pipeline", RUN)
        if options.recipe not in (None, known["recipe"]) or known["recipe"] not in self.recipes:
            return Start(name, self.recipes[name])
        recipe, gone = restored(self.recipes[known["recipe"]], known["settings"])
        if gone:
            _say(f"note: settings of that run that no longer exist: {', '.join(gone)}")
        return Start(known["recipe"], recipe, kind if kind in self.builds else RUN)

    def _about_stage(self, name: str, recipe: BaseModel, *, wants_help: bool) -> int:
        """`labels --help`; any other use of a word that is no command is an error."""
        pipeline = self.builds[RUN](recipe)
        words = [*self._words(), *pipeline.names]
        by_section = {stage.section: stage.name for stage in reversed(pipeline.stages.values())}
        name = name if name in pipeline.names else by_section.get(name, name)
        if name not in pipeline.names:
            raise UsageError(unknown("command", name, words))
        shown = f", `{name} {FLAG}`" if name in self.shows else ""
        if not wants_help:
            ways = f"`{name} --help`{shown}, --from {name} or --only {name}?"
            raise UsageError(f"{name} is a stage: {ways}")
        stage = pipeline.stage(name)
        reads = ", ".join(stage.reads.values()) or "nothing"
        print(f"{name} (reads {reads}) has these settings:\n")
        print(explanation(stage.config, stage.section))
        if shown:
            print(f"\n{name} {FLAG} [flags of a run] prints what it made (--json: for programs)")
        return 0

    def _flags(self) -> list[str]:
        return [flag for action in self.parser._actions for flag in action.option_strings]


def _failed(error: Exception, status: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    _say(f"error: {explained(error)}")
    return status


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
