"""The toy project that most tests of the machinery run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.pipeline.toy import Toy, nursery

# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _closed_nursery() -> Iterator[None]:
    yield
    if nursery.cache_info().currsize:
        nursery().close()


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def made(toy: Toy) -> Toy:
    """The toy after one complete run."""
    assert toy.run().stages == ["index", "classify", "cams", "labels"]
    return toy
