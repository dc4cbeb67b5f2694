"""What the README tells a newcomer is what the check does, and the flags that it names exist."""

import re
import shlex
from pathlib import Path

import pytest

import run_pipeline
from pipeline.cli import Desk
from pipeline.settings import settings_of
from run_pipeline import build
from stages.recipes import RECIPES

ROOT = Path(run_pipeline.__file__).parent
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def readme() -> list[list[str]]:
    """Every command of the README's shell blocks, as words; `a && b` counts as two."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(BLOCK.findall(text)).replace("\\\n", " ")
    return [words for line in blocks.splitlines() for words in parted(line)]


def parted(line: str) -> list[list[str]]:
    """The words of each command of one line of shell, comments left out."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def test_the_check_installs_and_tests_as_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if line.startswith(("pip ", "pytest"))]
    checked = [[word for word in shlex.split(line) if word != "--quiet"] for line in lines]
    told = readme()
    place = told.index(["pytest"])
    assert checked == told[place - 1 : place + 1]
    assert told[place - 1][:3] == ["pip", "install", "-e"]


def test_the_first_command_needs_nothing_but_pip() -> None:
    assert readme()[:2] == [["pip", "install", "-e", "."], ["python", "run_pipeline.py"]]


def commands() -> list[list[str]]:
    return [words[2:] for words in readme() if words[:2] == ["python", "run_pipeline.py"]]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_flag_of_the_readme_exists(words: list[str]) -> None:
    desk = Desk("x", RECIPES, builds={"run": build}, commands={}, closing=None, description="")
    known = {setting.flag for recipe in RECIPES.values() for setting in settings_of(recipe)}
    known |= set(desk._flags())
    if words[:1] == ["compare"]:  # its own settings need no prefix
        known |= {setting.flag for setting in settings_of(RECIPES["voc"].compare)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert {re.sub(r"(^--|\.)no-", r"\1", flag) for flag in given} <= known
    if "--recipe" in words:
        assert words[words.index("--recipe") + 1] in RECIPES
