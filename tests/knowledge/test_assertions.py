import gzip
from pathlib import Path

import numpy as np
import pytest

from knowledge.assertions import EXCLUDED, Assertions, read_assertions
from tests.knowledge.conceptnet_files import Edge, line, write_assertions

EDGES: list[Edge] = [
    ("IsA", "dog", "animal", 2.0),
    ("RelatedTo", "dog/n", "animal/n/wn/animal", 0.5),
    ("IsA", "cat", "animal", 1.0),
    ("AtLocation", "potted_plant", "house", 1.0),
]


def weight(found: Assertions, start: str, end: str) -> float:
    (row,), (column,) = found.places([start]), found.places([end])
    return float(found.weights[[row], [column]][0])


def test_edges_of_a_pair_add_up_whatever_their_senses(tmp_path: Path) -> None:
    found = read_assertions(write_assertions(tmp_path / "a.csv", EDGES))
    assert weight(found, "dog", "animal") == 2.5
    assert weight(found, "cat", "animal") == 1.0
    assert weight(found, "animal", "dog") == 0.0  # edges have a direction
    assert weight(found, "potted_plant", "house") == 1.0
    assert (found.edges, found.bad, len(found.keys)) == (4, 0, 5)


def test_places_leave_out_what_the_file_does_not_have(tmp_path: Path) -> None:
    found = read_assertions(write_assertions(tmp_path / "a.csv", EDGES))
    assert len(found.places(["dog", "unicorn", "cat", "zzz"])) == 2
    assert found.places(["unicorn"]).tolist() == []


@pytest.mark.parametrize(
    "edge",
    [
        *((name, "dog", "cat", 1.0) for name in EXCLUDED),
        ("RelatedTo", "dog", "dog/v", 1.0),
        ("RelatedTo", "dog", "fr:chien", 1.0),
        ("RelatedTo", "fr:chien", "dog", 1.0),
        ("RelatedTo", "fr:chien", "fr:chat", 1.0),
    ],
    ids=lambda edge: "-".join(map(str, edge)).replace("/", "_"),
)
def test_what_is_no_english_knowledge_changes_nothing(edge: Edge, tmp_path: Path) -> None:
    plain = read_assertions(write_assertions(tmp_path / "a.csv", EDGES))
    more = read_assertions(write_assertions(tmp_path / "b.csv", [edge, *EDGES]))
    assert np.array_equal(plain.keys, more.keys)
    assert (plain.weights != more.weights).nnz == 0
    assert (more.edges, more.bad) == (plain.edges, 0)


@pytest.mark.parametrize(
    "bad",
    [
        "no tabs at all\n",
        "\n",
        "a\t/r/IsA\t/c/en/dog\t/c/en/cat\n",  # four columns
        line(("IsA", "dog", "cat", 1.0)).replace("\n", "\textra\n"),
        line(("IsA", "dog", "cat", 1.0)).replace("}", ""),
        line(("IsA", "dog", "cat", 1.0)).replace('"weight"', '"height"'),
        line(("IsA", "dog", "cat", 1.0)).replace("1.0", '"much"'),
        line(("IsA", "dog", "cat", 1.0)).replace("1.0", "NaN"),
        line(("IsA", "dog", "cat", 0.0)),
        line(("IsA", "dog", "cat", -1.0)),
        line(("IsA", "", "cat", 1.0)),
        line(("IsA", "dog", "cat", 1.0)).replace('{"dataset": "/d/test", "weight": 1.0}', "[1]"),
    ],
)
def test_bad_lines_are_counted_and_left_out(bad: str, tmp_path: Path) -> None:
    found = read_assertions(write_assertions(tmp_path / "a.csv", EDGES, extra=bad))
    assert (found.edges, found.bad) == (4, 1)
    assert weight(found, "dog", "animal") == 2.5


def test_links_to_other_sites_are_no_bad_lines(tmp_path: Path) -> None:
    link = "/a/x\t/r/ExternalURL\t/c/en/dog\thttp://example.org/dog\t{}\n"
    assert read_assertions(write_assertions(tmp_path / "a.csv", EDGES, extra=link)).bad == 0


def test_gzip_by_content_reads_the_same(tmp_path: Path) -> None:
    plain = read_assertions(write_assertions(tmp_path / "a.csv", EDGES))
    packed = write_assertions(tmp_path / "a.csv.gz", EDGES)
    again = read_assertions(packed.rename(tmp_path / "named-otherwise.csv"))
    assert np.array_equal(plain.keys, again.keys)
    assert (plain.weights != again.weights).nnz == 0


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    whole = write_assertions(tmp_path / "a.csv.gz", EDGES * 200).read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"a\.csv\.gz is cut off or damaged"):
        read_assertions(tmp_path / "a.csv.gz")


def test_other_files_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*absent\.csv"):
        read_assertions(tmp_path / "absent.csv")
    (tmp_path / "tags.csv").write_text("a.jpg,dog\nb.jpg,cat\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tags\.csv holds no English assertion.*\(2 lines"):
        read_assertions(tmp_path / "tags.csv")


def test_progress_ends_at_the_size_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.assertions.EVERY", 100)
    path = write_assertions(tmp_path / "a.csv.gz", EDGES * 100)
    seen: list[tuple[int, int]] = []
    read_assertions(path, lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert len(seen) == 5
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 400
