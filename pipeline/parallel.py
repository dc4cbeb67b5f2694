"""Maps over many items on many cores: results stream back as they come."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int = 1,
    name: Callable[[Item], str] = str,
    backend: str = "loky",
) -> Iterator[Result]:
    """Yield `function(item)` of every item, in the order of completion.

    At most two items per worker are taken from `items` ahead of their turn, so it may be a
    generator. Results wait for the reader: what is large is better written by `function`. With
    `workers=1` everything runs here, in order, and breakpoints work. `function`, its items and
    results travel between processes: use a module-level function or `functools.partial`. `backend`
    is joblib's: "loky" (processes), "threading", or a registered "dask" or "ray".

    An item that fails ends the map: ValueError and OSError are raised again with `name(item)` in
    front of their message, any other exception carries the name as a note.
    """
    named = partial(_named, function, name)
    if workers <= 1:
        for item in items:
            yield named(item)
        return
    from joblib import Parallel, delayed  # heavy, and only needed here

    pool = Parallel(
        n_jobs=workers,
        backend=backend,
        return_as="generator_unordered",
        pre_dispatch=2 * workers,
        batch_size=1,
    )
    yield from pool(delayed(named)(item) for item in items)


def _named(function: Callable[[Item], Result], name: Callable[[Item], str], item: Item) -> Result:
    try:
        return function(item)
    except (ValueError, OSError) as error:
        if name(item) in str(error):
            raise
        kind = ValueError if isinstance(error, ValueError) else OSError
        raise kind(f"{name(item)}: {error}") from error
    except Exception as error:
        error.add_note(f"while working on {name(item)}")
        raise
