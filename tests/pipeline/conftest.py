"""The toy project that most tests of the machinery run."""

from pathlib import Path

import pytest

from tests.pipeline.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def made(toy: Toy) -> Toy:
    """The toy after one complete run."""
    assert toy.run().stages == ["index", "classify", "cams", "labels"]
    return toy
