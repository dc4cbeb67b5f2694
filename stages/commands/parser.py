"""The argument parser that commands share: no abbreviations, the docstring as help, --debug."""

import argparse
import os


def command_parser(verb: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `run_pipeline.py VERB`; `doc` is the docstring of the command's module."""
    parser = argparse.ArgumentParser(
        prog=f"run_pipeline.py {verb}",
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # `pipeline.cli` looks for it among all arguments; here it only has to be known.
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def at_least_one(text: str) -> int:
    """A number of processes or threads from the command line, at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def cores() -> int:
    """Cores that this process may use; fewer than the machine has under a scheduler."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
