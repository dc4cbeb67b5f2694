"""The key: equal for equal recipes, different for any difference, blind to where things lie."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from pipeline.key import Parts, Place, canonical, flattened, key_of, places

NAMES = st.text(min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
DIGESTS = st.dictionaries(NAMES, st.text("0123456789abcdef", min_size=8, max_size=8), max_size=4)
PARTS = st.fixed_dictionaries(
    {
        "stage": NAMES,
        "version": st.integers(0, 9),
        "config": st.dictionaries(NAMES, VALUES, max_size=4),
        "inputs": DIGESTS,
        "source": DIGESTS,
        "files": DIGESTS,
        "trusted": st.lists(NAMES, max_size=2),
    }
)


class Inner(BaseModel, frozen=True, extra="forbid"):
    steps: int = 10
    cache: Annotated[Path | None, Place()] = None


class Config(BaseModel, frozen=True, extra="forbid"):
    rate: float = 0.1
    scales: tuple[float, ...] = (0.5, 1.0)
    names: frozenset[str] = frozenset()
    inner: Inner = Inner()
    root: Annotated[Path | None, Place()] = Field(None, description="folder")
    list_file: Path | None = None


def _shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON value with the entries of every object in another order."""
    if isinstance(value, dict):
        pairs = [(name, _shuffled(inner, chance)) for name, inner in value.items()]
        chance.shuffle(pairs)
        return dict(pairs)
    if isinstance(value, list):
        return [_shuffled(inner, chance) for inner in value]
    return value


@given(PARTS, st.integers())
def test_order_of_entries_and_a_round_trip_do_not_matter(parts: Parts, seed: int) -> None:
    again = json.loads(json.dumps(_shuffled(parts, random.Random(seed))))
    assert key_of(again) == key_of(parts)


@given(PARTS, PARTS)
def test_keys_are_equal_exactly_where_recipes_are(one: Parts, other: Parts) -> None:
    text, another = (json.dumps(parts, sort_keys=True) for parts in (one, other))
    assert (key_of(one) == key_of(other)) == (text == another)


@given(PARTS, st.sampled_from(["inputs", "source", "files"]), NAMES)
def test_one_more_entry_changes_the_key(parts: Parts, part: str, name: str) -> None:
    more = {**parts, part: {**parts[part], name: "not hexadecimal"}}  # type: ignore[literal-required]
    assert key_of(more) != key_of(parts)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, width=32))
def test_settings_differ_exactly_where_their_values_do(one: float, other: float) -> None:
    same = json.dumps(one) == json.dumps(float(other))
    if abs(other) == float("inf"):
        with pytest.raises(ValueError, match="setting rate is"):
            canonical(Config(rate=other))
        return
    assert (canonical(Config(rate=one)) == canonical(Config(rate=other))) == (same or one == other)


@given(st.frozensets(st.text(max_size=5)))
def test_sets_have_one_canonical_order(names: frozenset[str]) -> None:
    assert canonical(Config(names=names))["names"] == sorted(names, key=json.dumps)


def test_sets_have_the_same_order_in_every_process() -> None:
    code = (
        "from tests.pipeline.test_key import Config, canonical;"
        "print(canonical(Config(names=frozenset('abcdefgh'))))"
    )
    root = Path(__file__).resolve().parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_places_are_no_part_of_the_key_at_any_depth() -> None:
    here = Config(root=Path("/a"), inner=Inner(cache=Path("/b")))
    assert canonical(here) == canonical(Config())
    assert places("dataset", here) == {
        "dataset.root": Path("/a"),
        "dataset.inner.cache": Path("/b"),
    }
    assert places("dataset", Config()) == {}
    assert canonical(Config(list_file=Path("x"))) != canonical(Config())


def test_settings_flatten_to_dotted_names() -> None:
    flat = flattened({"rate": 1, "crf": {"steps": 5, "open": {}}})
    assert flat == {"rate": 1, "crf.steps": 5, "crf.open": {}}


def test_a_value_without_a_json_form_is_refused() -> None:
    class Odd(BaseModel, arbitrary_types_allowed=True):
        thing: object = object()

    with pytest.raises(ValueError, match="setting thing is a object"):
        canonical(Odd())
