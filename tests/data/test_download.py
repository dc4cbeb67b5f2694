"""Downloads happen on request only, through torchvision and its checksum."""

import hashlib
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from torchvision.datasets import SBDataset, voc

from data.download import fetch_sbd, fetch_voc
from tests.data.test_sbd import write_sbd
from tests.datasets import write_voc


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        del said


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Address of a web site on this machine that shows the folder `web`."""
    (tmp_path / "web").mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small VOC archive that torchvision takes for the real one; returns its path."""
    home = write_voc(tmp_path / "made" / "VOCdevkit" / "VOC2012", {"a": ["cat"]}, {"v": ["dog"]})
    (home / "SegmentationClass").mkdir()
    path = tmp_path / "web" / "VOCtrainval_11-May-2012.tar"
    with tarfile.open(path, "w") as packed:
        packed.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    entry = {**voc.DATASET_YEAR_DICT["2012"], "url": f"{site}/{path.name}", "md5": md5}
    monkeypatch.setitem(voc.DATASET_YEAR_DICT, "2012", entry)
    return path


def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    said: list[str] = []
    for fetch in (fetch_voc, fetch_sbd):
        with pytest.raises(FileNotFoundError, match=r"add --download to fetch .* GB"):
            fetch(tmp_path / "data", download=False, say=said.append)
    assert not (tmp_path / "data").exists()
    assert not said


@pytest.mark.filterwarnings("ignore:Python 3.14:DeprecationWarning")
def test_what_is_fetched_is_checked_and_counted(archive: Path, tmp_path: Path) -> None:
    said: list[str] = []
    line = fetch_voc(tmp_path / "data", download=True, say=said.append)
    home = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    assert line == f"{home}: train 1, val 1"
    assert (home / "JPEGImages" / "a.jpg").is_file()
    assert [text.split()[0] for text in said] == ["fetching", "note:", "note:"]
    assert "train.txt names 1 photos, VOC 2012's has 1,464" in said[1]
    archive.unlink()  # what is there is not fetched again
    assert fetch_voc(tmp_path / "data", download=False, say=said.append) == line


def test_a_wrong_checksum_stops(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"VOC 2012 could not be fetched .*start again"):
        fetch_voc(tmp_path / "data", download=True, say=lambda text: None)


def test_without_network_the_way_out_is_named(archive: Path, tmp_path: Path) -> None:
    archive.unlink()
    with pytest.raises(ValueError, match=r"check the network and start again, or unpack"):
        fetch_voc(tmp_path / "data", download=True, say=lambda text: None)


def test_half_a_data_set_is_named(tmp_path: Path) -> None:
    home = write_voc(tmp_path / "VOCdevkit" / "VOC2012", {"a": ["cat"], "b": ["cat"]}, {"v": []})
    (home / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 photos of train\.txt"):
        fetch_voc(tmp_path, download=False, say=lambda text: None)
    (home / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(ValueError, match=r"lacks .*train\.txt"):
        fetch_voc(tmp_path, download=False, say=lambda text: None)


@pytest.mark.filterwarnings("ignore:Python 3.14:DeprecationWarning")
def test_sbd_is_fetched_too(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations, _ = write_sbd(tmp_path / "made")
    for folder in ("img", "inst"):
        (annotations / folder).mkdir()
    path = tmp_path / "web" / "benchmark.tgz"
    with tarfile.open(path, "w:gz") as packed:
        packed.add(tmp_path / "made" / "benchmark_RELEASE", "benchmark_RELEASE")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(SBDataset, "url", f"{site}/{path.name}")
    monkeypatch.setattr(SBDataset, "md5", md5)
    said: list[str] = []
    line = fetch_sbd(tmp_path / "data", download=True, say=said.append)
    assert line.startswith(f"{tmp_path / 'data' / 'sbd'}: 3 masks; next: build sbd")
    assert fetch_sbd(tmp_path / "data", download=False, say=said.append) == line
