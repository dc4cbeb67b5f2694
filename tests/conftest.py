"""Fixtures of the whole suite: the folder of real photos, where it is at hand."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Two test processes share two cores: more threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A busy machine is no failure: examples are bounded in number, not in time.
settings.register_profile("tagmask", deadline=None)
settings.load_profile("tagmask")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `../shared/data` beside the checkout: real photos, lists, vectors and weights."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not at hand: no folder {SHARED.name} beside the checkout")
    return SHARED
