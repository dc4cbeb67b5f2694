"""Machine code is kept on disk; where it cannot be, everything still runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from numba.core import config
from numba.core.caching import IndexDataCacheFile

from stages.crf.compiled.jit import _digest, compiled

ROOT = Path(__file__).resolve().parents[4]
CALL = """
import sys, shutil
from pathlib import Path
import numpy as np
from numba.core import config
before = config.CACHE_DIR
from stages.crf.compiled.filtering import fold
assert config.CACHE_DIR == before
if "full" in sys.argv:
    shutil.rmtree(before)
    Path(before).touch()
rows = np.arange(6, dtype=np.float32)
fold(3, rows, np.array([2, 3], np.float32), rows)
print(rows.tolist(), sum(fold.dispatcher.stats.cache_hits.values()))
"""


def call(cache: Path | str, *more: str, said: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", CALL, *more],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    return done.stdout.strip()


def test_the_second_process_compiles_nothing(tmp_path):
    assert call(tmp_path / "cache") == "[0.0, 2.0, 4.0, 9.0, 12.0, 15.0] 0"
    assert call(tmp_path / "cache") == "[0.0, 2.0, 4.0, 9.0, 12.0, 15.0] 1"


@pytest.mark.parametrize("more", [(), ("full",)])
def test_runs_where_nothing_can_be_kept(tmp_path, more):
    place = tmp_path / "cache" if more else "/dev/null/cache"
    assert call(place, *more).startswith("[0.0, 2.0, 4.0, 9.0, 12.0, 15.0]")


def test_what_is_kept_is_the_users_alone(tmp_path):
    call(tmp_path)
    folder = tmp_path / _digest()
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o755)  # as made by a version that did not ask
    assert call(tmp_path).endswith(" 1")
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["writable", "link"])
def test_code_that_others_could_have_written_is_not_read(tmp_path, kind):
    call(tmp_path)
    folder = tmp_path / _digest()
    if kind == "writable":
        folder.chmod(0o777)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    kept = sorted(tmp_path.rglob("*"))
    found = call(tmp_path, said="not yours alone")
    assert found == "[0.0, 2.0, 4.0, 9.0, 12.0, 15.0] 0"
    assert sorted(tmp_path.rglob("*")) == kept


def test_one_process_at_a_time_writes_what_is_kept(tmp_path, monkeypatch):
    """Two that add to numba's list at once would file their code under one name."""
    tried = []

    def save(self, key, data):
        with pytest.raises(Timeout):
            FileLock(Path(self._cache_path) / "writing.lock", timeout=0).acquire()
        tried.append(key)

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(IndexDataCacheFile, "save", save)
    assert compiled(_twice)(3) == 6
    assert len(tried) == 1


def _twice(number):
    return 2 * number
