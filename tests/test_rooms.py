"""Who may import whom, found in the syntax of every file, and what must stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pipeline", "knowledge", "data", "stages")
MAY = {
    "pipeline": {"pipeline"},
    "knowledge": {"knowledge"},
    "data": {"data", "knowledge"},
    "stages": {"stages", "data", "knowledge"},
}
LENT = {"pipeline.parallel", "pipeline.context", "pipeline.key.Place"}
"""What `stages` may use of the machinery."""
HEAVY = ("torch", "torchvision", "timm", "transformers", "torch_geometric", "matplotlib", "scipy")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it; `from a import b` gives "a.b"."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def light_stages() -> list[str]:
    """The stages, i.e. modules with a VERSION, and the recipes that put them together."""
    paths = sorted((ROOT / "stages").glob("*.py"))
    stages = [path for path in paths if path.stem == "recipes" or _has_version(path)]
    return [f"stages.{path.stem}" for path in stages]


def _has_version(path: Path) -> bool:
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    return any(getattr(target, "id", "") == "VERSION" for n in assigned for target in n.targets)


def _allowed(room: str, name: str) -> bool:
    top = name.partition(".")[0]
    if top in ("benchmarks", "tests", "run_pipeline"):
        return False
    if top not in ROOMS or top in MAY[room]:
        return True
    return room == "stages" and any(f"{name}.".startswith(f"{lent}.") for lent in LENT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    wrong = sorted({name for name in imported(path) if not _allowed(room, name)})
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_rule_would_find_a_wrong_import(tmp_path: Path) -> None:
    assert not _allowed("pipeline", "data.photos")
    assert not _allowed("data", "stages.cams")
    assert not _allowed("data", "pipeline.key.Place")
    assert not _allowed("stages", "pipeline.key.key_of")
    assert not _allowed("stages", "pipeline.store")
    assert _allowed("stages", "pipeline.parallel.map_unordered")
    assert _allowed("stages", "pipeline.key.Place")


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.cli",
        "pipeline.worker",
        "pipeline.parallel",
        *light_stages(),
    ],
)
def test_what_an_all_hit_run_imports_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"importing {module} imports {done.stdout}"


def test_no_file_of_a_room_unpickles() -> None:
    calls = {
        f"{path.relative_to(ROOT)}:{name}"
        for path in FILES
        for name in imported(path)
        if name.partition(".")[0] in ("pickle", "dill", "shelve", "marshal")
    }
    assert calls == set()


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_one_way_to_resize_and_one_place_of_a_pixel() -> None:
    """Other libraries round otherwise, and corners that are aligned move every pixel."""
    others = {
        f"{path.relative_to(ROOT)}:{name}"
        for path in FILES
        for name in imported(path)
        if name.partition(".")[0] in ("cv2", "skimage", "imageio")
    }
    assert others == set()
    aligned = [
        ast.unparse(word.value)
        for path in FILES
        for call in calls(path)
        for word in call.keywords
        if word.arg == "align_corners"
    ]
    assert len(aligned) > 3
    assert set(aligned) == {"False"}


def test_weights_are_loaded_whole() -> None:
    """Missing and unexpected names are errors everywhere."""
    loads = [
        call
        for path in FILES
        for call in calls(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "load_state_dict"
    ]
    assert len(loads) > 3
    assert not [
        call for call in loads if {word.arg for word in call.keywords} & {"strict", "assign"}
    ]
