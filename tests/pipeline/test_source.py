"""The source digest: what counts as an edit, and which modules stand behind a stage."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.digests import DigestCache
from pipeline.source import Sources, facts, project_of, shape


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of several modules; its top-level names occur nowhere else."""
    files = {
        "toyroom/__init__.py": "",
        "toyroom/stage.py": "def run():\n    from toyroom.inner import helper\n",
        "toyroom/inner/__init__.py": "import toytop\n",
        "toyroom/inner/helper.py": "from .. import sibling\nfrom . import other\n",
        "toyroom/inner/other.py": "import importlib\nimportlib.import_module('toyroom.named')\n",
        "toyroom/sibling.py": "import os, json\nimport pipeline.context\n",
        "toyroom/named.py": "from toyroom.missing import nothing\nimport toyroom.stage\n",
        "toyroom/unused.py": "x = 1\n",
        "toytop.py": "y = 2\n",
        "pipeline/context.py": "z = 3\n",
        "json.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith(("toyroom", "toytop"))]:
        del sys.modules[name]


def _meaning(text: str) -> str:
    return shape(ast.parse(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1  # one", "x = 1"),
        ("def f():\n    'Doc.'\n    return 1", "def f():\n\n    return 1"),
        ('"""Doc."""\nx = 1', "'Other.'\nx = (1)"),
        ("class A:\n    x: int = 1\n    'Of x.'", "class A:\n    x: int = 1"),
        ("x: int = Field(1, description='a')", "x: int = Field(1)"),
        ("x = pydantic.Field(1, description='a', ge=0)", "x = pydantic.Field(1, ge=0)"),
        ("x = 'a'", 'x = "a"'),
    ],
)
def test_what_means_the_same_has_the_same_shape(one: str, other: str) -> None:
    assert _meaning(one) == _meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = None", "x = ..."),
        ("x = 'a'", "x = b'a'"),
        ("x: int = Field(1, ge=0)", "x: int = Field(1, ge=1)"),
        ("x = Class(description='a')", "x = Class(description='b')"),
        ("def f(a, b): pass", "def f(b, a): pass"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("f(*a)", "f(a)"),
        ("x = 'doc'", "'doc'"),
        ("if a: b()\nelse: c()", "if a:\n    b()\n    c()"),
        ("for a in b: c()", "async def f():\n    for a in b: c()"),
        ("x = [a for a in b]", "x = {a for a in b}"),
        ("x[1:]", "x[:1]"),
        ("f'{a!r}'", "f'{a!s}'"),
        ("global_ = lambda: 0", "global_ = lambda: None"),
    ],
)
def test_what_means_something_else_has_another_shape(one: str, other: str) -> None:
    assert _meaning(one) != _meaning(other)


def test_all_modules_behind_a_stage_are_found(project: Path) -> None:
    found = Sources(DigestCache(None)).digests("toyroom.stage")
    assert set(found) == {
        "toyroom/__init__.py",
        "toyroom/stage.py",
        "toyroom/inner/__init__.py",
        "toyroom/inner/helper.py",
        "toyroom/inner/other.py",
        "toyroom/sibling.py",
        "toyroom/named.py",
        "toytop.py",
        "json.py",
    }
    assert "toyroom.inner.helper" not in sys.modules  # read, not imported


def test_an_edit_changes_the_digest_of_its_file_alone(project: Path) -> None:
    cache = DigestCache(project / "cache.sqlite")
    before = Sources(cache).digests("toyroom.stage")
    (project / "toyroom" / "sibling.py").write_text(
        "import os, json\nimport pipeline.context, re\n"
    )
    after = Sources(cache).digests("toyroom.stage")
    assert {n for n in after if after[n] != before[n]} == {"toyroom/sibling.py"}
    (project / "toyroom" / "inner" / "other.py").write_text("")
    assert "toyroom/named.py" not in Sources(cache).digests("toyroom.stage")


def test_an_edit_of_the_same_size_and_time_is_seen_soon_after_a_write(project: Path) -> None:
    path = project / "toytop.py"
    cache = DigestCache(project / "cache.sqlite")
    before = Sources(cache).digests("toyroom.stage")["toytop.py"]
    times = path.stat()
    path.write_text("y = 3\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Sources(cache).digests("toyroom.stage")["toytop.py"] != before


def test_a_module_that_does_not_parse_is_named(project: Path) -> None:
    path = project / "toyroom" / "sibling.py"
    path.write_text("x = 1\ndef (:\n")
    with pytest.raises(ValueError, match=r"sibling\.py, line 2"):
        Sources(DigestCache(None)).digests("toyroom.stage")


def test_among_installed_packages_only_the_own_distribution_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    for name, text in {
        "toywheel/stage.py": "import toylibrary, toyroom2.rule",
        "toywheel/__init__.py": "",
        "toyroom2/__init__.py": "",
        "toyroom2/rule.py": "",
        "toylibrary/__init__.py": "",
        "toy-1.0.dist-info/top_level.txt": "toywheel\ntoyroom2\n",
        "toylibrary-1.0.dist-info/top_level.txt": "toylibrary\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    assert project_of("toywheel.stage") == (site, frozenset({"toywheel", "toyroom2"}))
    assert set(Sources(DigestCache(None)).digests("toywheel.stage")) == {
        "toywheel/__init__.py",
        "toywheel/stage.py",
        "toyroom2/__init__.py",
        "toyroom2/rule.py",
    }


def test_a_module_that_is_nowhere_is_named() -> None:
    with pytest.raises(ValueError, match="there is no module toynowhere"):
        project_of("toynowhere.stage")


def test_relative_imports_become_absolute(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("from ..a import b\nfrom . import c\n")
    assert '["r.a", "r.a.b", "r.s", "r.s.c"]' in facts(str(path), "r.s")
