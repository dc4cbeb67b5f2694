"""Flags of a recipe: which there are, what they mean, and a recipe changed by them."""

import contextlib
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipeline.graph import unknown

Recipe = TypeVar("Recipe", bound=BaseModel)
BOX = "\N{BOX DRAWINGS LIGHT HORIZONTAL}╭╰"
"""What lines of the parser's box begin with that say nothing."""


class UsageError(ValueError):
    """The command line is wrong; the message says how it would be right."""


@dataclass(frozen=True)
class Setting:
    """One flag: its name as typed, its field, and the value that the recipe gives it."""

    flag: str
    info: FieldInfo
    value: object


def settings_of(model: BaseModel, prefix: str = "", *, nested: bool = True) -> Iterator[Setting]:
    """Every setting of `model` and, if `nested`, of the sections in it, as flags below `prefix`."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        flag = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{flag}.") if nested else ()
        else:
            yield Setting(f"--{flag}", info, value)


def changed(
    recipe: Recipe, tokens: Sequence[str], *, flags: Collection[str] = (), section: str = ""
) -> Recipe:
    """The recipe with the settings that `tokens` give; `flags` are further flags that exist.

    Settings of `section` need no prefix, and a list may be written a,b or a b. Raises UsageError
    for a flag or a choice that does not exist (naming the nearest) and for a bad value.
    """
    if not tokens:
        return recipe  # and the parser need not be imported
    known = {setting.flag: setting for setting in settings_of(recipe)}
    short = {_short(flag, section) for flag in known} if section else set()
    given = list(_spelt_out(tokens, known, section))
    for token in given:
        _check(token, known, {*known, *short, *flags})
    _check_choices(given, known)
    if not given[0].startswith("--"):
        raise UsageError(f"what is {given[0]!r}? Commands come first, settings start with --")
    import tyro

    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(type(recipe), args=given, default=recipe, prog="settings")
    except ValidationError as error:
        raise UsageError(_explained(error)) from None
    except SystemExit:
        raise UsageError(_unboxed(boxed.getvalue())) from None


def restored(recipe: Recipe, values: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """A recipe of the same kind with recorded `values`, and the names of those that are gone.

    Settings that came later have their default. Raises ValueError for a value that is now wrong.
    """
    kept = json.loads(json.dumps(values))
    gone: list[str] = []
    while True:
        try:
            return type(recipe).model_validate(kept), gone
        except ValidationError as error:
            extra = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
            if not extra:
                raise ValueError(_explained(error)) from None
        for location in extra:
            inner = kept
            for name in location[:-1]:
                inner = inner[name]
            del inner[location[-1]]
            gone.append(".".join(str(name) for name in location))


def explanation(model: BaseModel, section: str, *, nested: bool = True) -> str:
    """Each setting of a section with its kind, default and meaning: the text of `--help`."""
    lines = []
    prefix = f"{section.replace('_', '-')}." if section else ""
    for setting in settings_of(model, prefix, nested=nested):
        kind = kind_of(setting.info.annotation)
        limits = _limits(setting.info)
        lines.append(f"  {setting.flag} {kind}{limits}   (default: {_shown(setting.value)})")
        lines.append(f"      {setting.info.description or 'no description'}")
    return "\n".join(lines)


def kind_of(annotation: object) -> str:
    """An annotation as a person reads it: INT, FLOAT, {a,b}, PATH, FLOAT ..."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin is Literal:
        return "{" + ",".join(str(value) for value in inner) + "}"
    if origin in (Union, UnionType):
        kinds = [kind_of(choice) for choice in inner if choice is not NoneType]
        return "|".join(kinds + ["none"] * (NoneType in inner))
    if origin in (tuple, list, set, frozenset):
        kinds = [kind_of(choice) for choice in inner if choice is not ...]
        return f"{kinds[0]} ..." if len(set(kinds)) == 1 else " ".join(kinds)
    if isinstance(annotation, type):
        return "PATH" if issubclass(annotation, PurePath) else annotation.__name__.upper()
    return str(annotation)


def nearest_flag(flag: str, known: Collection[str]) -> str:
    """The message for a flag that does not exist."""
    near = get_close_matches(flag, sorted(known), n=1, cutoff=0.6)
    if not near:  # the right setting in another section, or without one
        last = flag.rpartition(".")[2].lstrip("-")
        near = [name for name in sorted(known) if name.rpartition(".")[2].lstrip("-") == last]
    hint = f"did you mean {near[0]}?" if near else "`--help` lists the flags, `STAGE --help` more"
    return f"there is no flag {flag}: {hint}"


def _check(token: str, known: Collection[str], every: Collection[str]) -> None:
    if not token.startswith("--"):
        return
    flag = token.partition("=")[0]
    section, _, name = flag.rpartition(".")
    plain = f"{section}.{name[3:]}" if section else f"--{flag[5:]}"  # --classify.no-flip
    if flag not in known and not (name.startswith(("no-", "--no-")) and plain in known):
        raise UsageError(nearest_flag(flag, every))


def _check_choices(tokens: Sequence[str], known: Mapping[str, Setting]) -> None:
    """Refuses a value that its setting does not take; tyro would name no nearest."""
    flag, choices = "", None
    for token in tokens:
        if token.startswith("--"):
            flag, equals, value = token.partition("=")
            choices = choices_of(known[flag].info.annotation) if flag in known else None
            values = [value] if equals else []
        else:
            values = [token]
        for value in values:
            if flag in known and known[flag].info.annotation is bool:
                section, _, name = flag[2:].rpartition(".")
                no = f"--{section}.no-{name}" if section else f"--no-{name}"
                raise UsageError(f"{flag} takes no value ({value!r}): write {flag} or {no} alone")
            if choices is not None and value not in choices:
                raise UsageError(f"{flag}: {unknown('choice', value, choices)}")


def _spelt_out(tokens: Sequence[str], known: Mapping[str, Setting], section: str) -> Iterator[str]:
    """The tokens with the whole names of flags, and every value of a list as one of its own."""
    several = False
    for token in map(_hyphenated, tokens):
        flag, equals, value = token.partition("=")
        if token.startswith("--"):
            flag = _whole(flag, known, section)
            several = flag in known and _is_list(known[flag].info.annotation)
            yield flag if several or not equals else f"{flag}={value}"
        else:
            equals, value = "yes", token
        if equals and several:
            yield from (part for part in value.split(",") if part)
        elif not token.startswith("--"):
            yield token


def _whole(flag: str, known: Collection[str], section: str) -> str:
    """The flag with the prefix of `section` where it exists with that prefix alone."""
    plain = f"--{flag[5:]}" if flag.startswith("--no-") else flag
    if not section or flag in known or plain in known:
        return flag
    for name in (flag, plain):
        if f"--{section}.{name[2:]}" in known:
            return f"--{section}.{flag[2:]}"
    return flag


def _short(flag: str, section: str) -> str:
    return f"--{flag.removeprefix(f'--{section}.').removeprefix('--')}"


def _is_list(annotation: object) -> bool:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, UnionType):
        return any(_is_list(choice) for choice in inner)
    return origin in (tuple, list, set, frozenset)


def choices_of(annotation: object) -> list[str] | None:
    """The only values that a setting takes, one by one in a list; None where any will do."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [str(value) for value in inner]
    if annotation is NoneType:
        return ["None"]
    if origin is Annotated:
        return choices_of(inner[0])
    if origin in (Union, UnionType, tuple, list, set, frozenset):
        found = [choices_of(choice) for choice in inner if choice is not ...]
        known = [choices for choices in found if choices is not None]
        return [value for choices in known for value in choices] if known == found else None
    return None


def _hyphenated(token: str) -> str:
    if not token.startswith("--"):
        return token
    flag, equals, value = token.partition("=")
    return "--" + flag[2:].replace("_", "-") + equals + value


def _explained(error: ValidationError) -> str:
    """The first complaint of pydantic as one line that names the setting."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"setting {name or error.title} = {first['input']!r}: {first['msg']}{more}"


def _unboxed(text: str) -> str:
    """The parser's box as one line; of settings that do not go together, what their model says."""
    lines = (line.strip("\N{BOX DRAWINGS LIGHT VERTICAL} ") for line in text.splitlines())
    said = " ".join(line for line in lines if line and line[0] not in BOX)
    if found := re.search(r"Value error, (.*?) \[type=", said):
        return found.group(1)
    if found := re.search(r"Error parsing (\S+): .*? for \w+ ([\w.]+) (.*?) \[type=", said):
        return f"setting {found.group(1)}.{found.group(2)}: {found.group(3)}"
    return re.split(" For full helptext| Argument helptext", said)[0]


def _limits(info: FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(mark, name)}"
        for mark in info.metadata
        for name, sign in signs.items()
        if getattr(mark, name, None) is not None
    ]
    return f" [{', '.join(found)}]" if found else ""


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(str(inner) for inner in value) or "none"
    return "none" if value is None else str(value)
