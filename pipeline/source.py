"""The source digest of a stage: its module and every project module behind it, by meaning.

Comments, docstrings and the `description` of a setting's `Field` are no part of it, so that
explaining better costs nothing; everything else is, since an edited helper is what caches miss.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pipeline.digests import ABSENT, DigestCache

OWN = __name__.partition(".")[0]
"""The package of the machinery: it carries stages and does not change what they compute."""
KIND = f"source-1-{sys.version_info.major}.{sys.version_info.minor}"
"""Name of remembered shapes; the syntax tree of another Python may look different."""
UNSEEN = {"kind", "type_comment", "type_ignores", "ctx"}
"""Fields of the syntax tree that mean nothing, or nothing that their place does not say."""


class Sources:
    """Finds the project modules behind a stage's module. One object serves one plan."""

    def __init__(self, cache: DigestCache) -> None:
        self.cache = cache
        self._facts: dict[Path, tuple[str, list[str]]] = {}
        self._files: dict[tuple[Path, str], Path | None] = {}

    def digests(self, module: str) -> dict[str, str]:
        """Path relative to the project -> digest, of `module` and all that it imports.

        Follows imports at the top and inside functions, `from package import module`, packages'
        `__init__`, relative imports, and strings that are the dotted name of a project module
        (as given to `importlib.import_module`). Raises ValueError where a file does not parse.
        """
        root, rooms = project_of(module)
        found: dict[str, str] = {}
        waiting = list(_with_parents(module))
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            path = self._file(root, name)
            if path is None:
                continue
            digest, imports = self._read(path, name)
            found[path.relative_to(root).as_posix()] = digest
            for other in {part for full in imports for part in _with_parents(full)}:
                top = other.partition(".")[0]
                if other not in seen and top != OWN and (rooms is None or top in rooms):
                    seen.add(other)
                    waiting.append(other)
        return dict(sorted(found.items()))

    def _read(self, path: Path, name: str) -> tuple[str, list[str]]:
        if path not in self._facts:
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            text = self.cache.values(KIND, [str(path)], lambda file: facts(file, package))
            value = text[str(path)]
            self._facts[path] = (ABSENT, []) if value == ABSENT else tuple(json.loads(value))
        return self._facts[path]

    def _file(self, root: Path, name: str) -> Path | None:
        if (root, name) not in self._files:
            base = root.joinpath(*name.split("."))
            choices = (base / "__init__.py", base.with_name(f"{base.name}.py"))
            self._files[root, name] = next((c for c in choices if c.is_file()), None)
        return self._files[root, name]


def facts(file: str, package: str) -> str:
    """JSON [digest, dotted names that the module may import] of one Python file."""
    try:
        tree = ast.parse(Path(file).read_bytes(), filename=file)
    except SyntaxError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from None
    digest = hashlib.sha256(shape(tree).encode()).hexdigest()
    return json.dumps([digest, sorted(set(_imports(tree, package)))])


def shape(node: object) -> str:
    """The meaning of a syntax tree as text: no positions, comments, docstrings, descriptions."""
    if isinstance(node, ast.Call) and _called(node.func) == "Field":
        kept = [word for word in node.keywords if word.arg != "description"]
        node = ast.Call(func=node.func, args=node.args, keywords=kept)
    if isinstance(node, ast.AST):
        inner = ",".join(
            f"{name}={shape(value)}"
            for name, value in ast.iter_fields(node)
            if name not in UNSEEN and value is not None and value != []
        )
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return f"[{','.join(shape(item) for item in node if not _explains(item))}]"
    return repr(node)


def project_of(module: str) -> tuple[Path, frozenset[str] | None]:
    """The folder that a module is imported from, and which top-level names in it are ours.

    In a checkout all of them are (None). Among installed packages, only those that the same
    distribution brought: otherwise every library would count as source of the project.
    """
    top = module.partition(".")[0]
    spec = find_spec(top)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ValueError(f"there is no module {module}: is the folder of the project on the path?")
    places = list(spec.submodule_search_locations or ())
    root = Path(places[0]).parent if places else Path(str(spec.origin)).parent
    if root.name not in ("site-packages", "dist-packages"):
        return root, None
    for listing in root.glob("*.dist-info/top_level.txt"):
        names = frozenset(listing.read_text().split())
        if top in names:
            return root, names
    return root, frozenset({top})


def _explains(node: object) -> bool:
    """A bare string: the docstring of a module, class, function or attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _called(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = node.value.split(".")
            if len(parts) > 1 and len(node.value) < 200 and all(p.isidentifier() for p in parts):
                yield node.value


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])
