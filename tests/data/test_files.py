"""Files appear whole or not at all; names stay below their root."""

from pathlib import Path

import pytest

from data.files import digest, inside, read_lines, replacing, write_lines


def test_a_file_appears_under_its_name_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "a.png"
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".png"
    assert path.read_bytes() == b"half"
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def _stop_halfway(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        _stop_halfway(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as temporary:
        pass_name = temporary.name
        temporary.write_bytes(b"1")
    (tmp_path / pass_name).write_bytes(b"left by a killed run")
    with replacing(path) as temporary:
        temporary.write_bytes(b"2")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_bytes() == b"2"


def test_a_name_of_255_bytes_is_written_too(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".png", "ü" * 125 + ".json", "x" * 255):
        with replacing(tmp_path / name) as temporary:
            temporary.write_bytes(b"1")
        assert (tmp_path / name).read_bytes() == b"1"
    assert len(list(tmp_path.iterdir())) == 3


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    lines = [{"photo": "caf\udce9.jpg"}]
    write_lines(tmp_path / "a.jsonl", lines)
    assert list(read_lines(tmp_path / "a.jsonl")) == lines


def test_lines_come_back_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"id": "ü", "n": 1}, {"id": "b\nc", "n": None}]
    assert write_lines(path, iter(lines)) == 2
    assert list(read_lines(path)) == lines
    path.write_text('{"id": 1}\n{"id": ')
    with pytest.raises(ValueError, match=r"a\.jsonl line 2"):
        list(read_lines(path))


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", ".."])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        inside(tmp_path, name)


def test_links_may_stay_below_the_root_but_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "photos").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (root / "photos" / "real").write_text("x")
    (root / "photos" / "good").symlink_to(root / "photos" / "real")
    (root / "photos" / "bad").symlink_to(tmp_path / "secret")
    (root / "bad").symlink_to(tmp_path / "secret")
    assert inside(root, "photos/good") == root / "photos" / "good"
    for name in ("photos/bad", "bad"):
        with pytest.raises(ValueError, match="link that leads out"):
            inside(root, name)


def test_a_folder_directly_below_the_root_may_lie_on_another_disk(tmp_path: Path) -> None:
    disk, root = tmp_path / "disk", tmp_path / "root"
    disk.mkdir()
    root.mkdir()
    (disk / "a").write_text("x")
    (tmp_path / "secret").write_text("x")
    (disk / "bad").symlink_to(tmp_path / "secret")
    (root / "photos").symlink_to(disk)
    assert inside(root, "photos/a").read_text() == "x"
    with pytest.raises(ValueError, match="leads out"):
        inside(root, "photos/bad")
