"""What README and docs tell a newcomer is what the check does, and the flags they name exist."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import run_pipeline
from pipeline.cli import Desk
from pipeline.exhibit import FLAG
from pipeline.settings import settings_of
from run_pipeline import build
from stages.recipes import RECIPES

ROOT = Path(run_pipeline.__file__).parent
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def readme(page: Path = ROOT / "README.md") -> list[list[str]]:
    """Every command of the page's shell blocks, as words; `a && b` counts as two."""
    text = page.read_text(encoding="utf-8")
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
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    told = [words for page in pages for words in readme(page)]
    return [words[2:] for words in told if words[:2] == ["python", "run_pipeline.py"]]


OWN = ("score", "predict", "export", "build")
"""Commands with a parser of their own, which takes no setting of a recipe."""


@pytest.mark.parametrize("words", [w for w in commands() if w[:1] and w[0] in OWN], ids=" ".join)
def test_every_command_beside_the_pipeline_is_understood(words: list[str]) -> None:
    module = import_module(f"stages.commands.{words[0]}")
    assert words[0] in run_pipeline.COMMANDS
    module._parser().parse_args(words[1:])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_python_of_the_docs_imports_what_exists(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("words", [w for w in commands() if not w or w[0] not in OWN], ids=" ".join)
def test_every_flag_of_the_readme_exists(words: list[str]) -> None:
    desk = Desk("x", RECIPES, builds={"run": build}, commands={}, closing=None, description="")
    known = {setting.flag for recipe in RECIPES.values() for setting in settings_of(recipe)}
    known |= set(desk._flags())
    if words[:1] == ["compare"]:  # its own settings need no prefix
        known |= {setting.flag for setting in settings_of(RECIPES["voc"].compare)}
    if words[:1] == ["graph"]:
        known.add(FLAG)
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert {re.sub(r"(^--|\.)no-", r"\1", flag) for flag in given} <= known
    if "--recipe" in words:
        assert words[words.index("--recipe") + 1] in RECIPES
