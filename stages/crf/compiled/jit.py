"""How the functions of this package are compiled, and where the machine code is kept.

numba keeps machine code as pickles. Whoever could write them could run code of theirs, as with any
kept program, so they are read from a folder alone that the user owns and no one else may enter.
"""

import hashlib
import inspect
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock
from numba.core import config

OPTIONS = {"nogil": True, "error_model": "numpy"}
"""Threads run side by side; a division by zero is infinite, as in NumPy."""
FUSED = {"contract", "nsz", "reassoc"}
"""Sums may be reordered and multiplications fused with them; NaN stays NaN."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an entry point on its first call and keep the machine code on disk.

    Where nothing can be written, it is compiled in each process anew. Rounding is that of the
    source, operation by operation.
    """
    return _compiled(function, fastmath=False)


def compiled_fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, with sums that may be reordered: results differ in the last bits."""
    return _compiled(function, fastmath=FUSED)


def compiled_borrowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled_fused`, for what makes no array: arguments are not counted as being in use.

    numba would count up and down at every call of a part, some dozens of times for a block of
    pixels, with locked instructions on counters that threads share.
    """
    return _compiled(function, fastmath=FUSED, _nrt=False)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a part of entry points: it becomes part of their code."""
    return numba.njit(inspect.unwrap(function), inline="always", **OPTIONS)


def _compiled(function: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    plain = inspect.unwrap(function)  # test runs wrap functions in checks of their types
    try:
        with _cache_folder():
            dispatcher = numba.njit(plain, cache=True, **more, **OPTIONS)
            _save_in_turn(dispatcher)
    except RuntimeError:  # no home, or no folder that can be written to
        dispatcher = numba.njit(plain, **more, **OPTIONS)

    @wraps(plain)
    def call(*arguments: Any) -> Any:
        try:
            return call.dispatcher(*arguments)  # type: ignore[attr-defined]
        except OSError:  # of the cache, say a full disk: compiled code itself raises none
            call.dispatcher = numba.njit(plain, **more, **OPTIONS)  # type: ignore[attr-defined]
            return call.dispatcher(*arguments)  # type: ignore[attr-defined]

    call.dispatcher = dispatcher  # type: ignore[attr-defined]
    return call


def _save_in_turn(dispatcher: Any) -> None:
    """Let one process at a time add machine code to the cache.

    numba reads the list of what is kept, adds a file to it and writes it back: two processes that
    compile for other widths at once would take one name for both, and later read each other's code.
    """
    cache = dispatcher._cache
    save, folder = cache.save_overload, Path(cache.cache_path)

    def in_turn(signature: Any, code: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with suppress(NotImplementedError):  # a disk without locks
                held.enter_context(FileLock(folder / "writing.lock"))
            save(signature, code)

    cache.save_overload = in_turn


@contextmanager
def _cache_folder() -> Iterator[None]:
    """While it is open, numba's cache is a folder of ours, named by the content of this package.

    numba itself compares the file of an entry point alone: an edit of a part in another file would
    run the old machine code. What NUMBA_CACHE_DIR says is respected.

    Raises RuntimeError where there is no folder that is the user's alone.
    """
    before = config.CACHE_DIR
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(before) if before else home / "tagmask" / "numba") / _digest()
    try:
        _make_private(folder)
    except OSError as error:
        raise RuntimeError(f"{folder} cannot be made: {error}") from error
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _make_private(folder: Path) -> None:
    """Make `folder`, or take it where it is the user's and nobody else could write to it so far.

    Raises RuntimeError, and warns, where it is not. Elsewhere than on POSIX systems a user's cache
    folder is private by default, and its mode says nothing.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if os.name != "posix":
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        said = f"{folder} is not yours alone: the dense CRF is compiled in each process; remove it"
        warnings.warn(said, stacklevel=2)
        raise RuntimeError(said)
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:16]
