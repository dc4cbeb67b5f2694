"""Content digests: right after any change, and quick where nothing changed."""

import os
import time
from pathlib import Path

import pytest

from pipeline.digests import ABSENT, DigestCache, sha256_of


def _old(path: Path) -> None:
    """Makes a file look settled; its ctime is now, so the cache must be told to trust it."""
    os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, as if written two seconds ago."""
    monkeypatch.setattr("pipeline.digests.YOUNG_SECONDS", -1.0)


def test_a_change_of_content_is_seen(tmp_path: Path, settled: None) -> None:
    path = tmp_path / "a"
    path.write_text("dog")
    cache = DigestCache(tmp_path / "cache.sqlite")
    first = cache.contents({"a": path})
    assert first == {"a": sha256_of(path)}
    path.write_text("horse")
    assert cache.contents({"a": path}) == {"a": sha256_of(path)} != first


def test_a_change_that_keeps_size_and_mtime_is_seen(tmp_path: Path, settled: None) -> None:
    path = tmp_path / "a"
    path.write_text("dog")
    _old(path)
    cache = DigestCache(tmp_path / "cache.sqlite")
    first = cache.contents({"a": path})
    time.sleep(0.02)  # ctime has the resolution of the kernel's tick
    path.write_text("cat")
    _old(path)
    assert cache.contents({"a": path}) != first


def test_a_young_file_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("dog")
    cache = DigestCache(tmp_path / "cache.sqlite")
    cache.contents({"a": path})
    assert not (tmp_path / "cache.sqlite").exists()


def test_a_missing_file_has_a_digest_of_its_own(tmp_path: Path) -> None:
    assert DigestCache(None).contents({"a": tmp_path / "a"}) == {"a": ABSENT}


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "f" / "g").mkdir(parents=True)
    (tmp_path / "f" / "g" / "x").write_text("1")
    (tmp_path / "f" / "y").write_text("2")
    assert list(DigestCache(None).contents({"f": tmp_path / "f"})) == ["f/g/x", "f/y"]


def test_a_broken_table_costs_only_time(tmp_path: Path, settled: None) -> None:
    path = tmp_path / "a"
    path.write_text("dog")
    (tmp_path / "cache.sqlite").write_text("no table at all" * 99)
    cache = DigestCache(tmp_path / "cache.sqlite")
    assert cache.contents({"a": path}) == {"a": sha256_of(path)}


def test_twenty_thousand_unchanged_files_are_not_read(tmp_path: Path, settled: None) -> None:
    paths = {}
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for n in range(1000):
            path = tmp_path / str(folder) / str(n)
            path.write_text(f"{n}")
            paths[f"{folder}/{n}"] = path
    cache = DigestCache(tmp_path / "cache.sqlite")
    seen: list[int] = []
    first = cache.contents(paths, lambda done, total: seen.append(done))
    assert len(seen) == len(first) == 20_000
    started = time.process_time()
    again = cache.contents(paths, lambda done, total: seen.append(done))
    assert time.process_time() - started < 1.0
    assert again == first
    assert len(seen) == 20_000  # nothing was read a second time


def test_a_file_that_cannot_be_read_counts_as_absent_and_is_asked_again(
    tmp_path: Path, settled: None
) -> None:
    unreadable, loop = Path("/proc/self/mem"), tmp_path / "loop"
    loop.symlink_to(loop)
    cache = DigestCache(tmp_path / "cache.sqlite")
    found = {"loop": loop} | ({"mem": unreadable} if unreadable.exists() else {})
    assert set(cache.contents(found).values()) == {ABSENT}
    assert not (tmp_path / "cache.sqlite").exists()
