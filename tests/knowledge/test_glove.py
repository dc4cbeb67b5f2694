import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from knowledge.classes import COCO, VOC
from knowledge.glove import read_glove
from knowledge.relations import text_similarity
from knowledge.vectors import read_word_vectors

LINES = """the 9 9 9
dog 1 0 0
dining 0 2 0
table 0 0 4
potted 1 1 1
plant 3 3 3
television 5 0 0
t-shirt 0 7 0
new york 1 2 3
york 2 2 2
dog 8 8 8
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


def test_names_of_several_words_are_the_mean_of_theirs(words: Path) -> None:
    found = read_glove(words, ["Dog", "dining table", "diningtable", "potted_plant", "tvmonitor"])
    expected = [[1, 0, 0], [0, 1, 2], [0, 1, 2], [2, 2, 2], [5, 0, 0]]
    assert found.tolist() == expected
    assert found.dtype == np.float32


def test_hyphens_and_words_with_spaces(words: Path) -> None:
    # "new york" has one number too many for "new", which is therefore not there.
    assert read_glove(words, ["t-shirt", "york"]).tolist() == [[0, 7, 0], [2, 2, 2]]
    assert read_glove(words, ["potted-plant"]).tolist() == [[2, 2, 2]]
    with pytest.raises(ValueError, match=r"words\.txt has no vector for 'new' \(1 of 1 classes\)"):
        read_glove(words, ["new"])


def test_gzip_and_word2vecs_first_line_read_the_same(words: Path, tmp_path: Path) -> None:
    packed = tmp_path / "words.vec.gz"
    packed.write_bytes(gzip.compress(f"10 3\n{LINES}".encode()))
    assert np.array_equal(read_glove(packed, ["dog"]), read_glove(words, ["dog"]))
    found = read_word_vectors(packed, ["dog", "dining table"])
    assert (found.source, found.model) == ("file", "words.vec.gz")
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(ValueError, match="is cut off or damaged"):
        read_glove(packed, ["nothing"])


def test_files_without_vectors_are_named(tmp_path: Path) -> None:
    for text in ("", "dog\ncat\n", "dog is a word\n"):
        path = tmp_path / "no.txt"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"no\.txt"):
            read_glove(path, ["dog"])
    path.write_text("cat 1 2\ndog x y\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"the line of 'dog' holds no numbers"):
        read_glove(path, ["dog"])


def test_only_needed_words_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.txt"
    path.write_text("".join(f"w{n} {n} 0\n" for n in range(5000)), encoding="utf-8")
    made: list[int] = []
    array = np.array

    def counted(*args, **kwargs):
        made.append(1)
        return array(*args, **kwargs)

    monkeypatch.setattr("knowledge.glove.np.array", counted)
    assert read_glove(path, ["w7", "w4000"]).tolist() == [[7, 0], [4000, 0]]
    assert len(made) == 3  # the first line, for the size, and the two words


@pytest.mark.parametrize(
    ("file", "names", "mean", "most", "pair"),
    [
        ("glove300_voc20", VOC.names, 0.18, 0.68, {"cat", "dog"}),
        ("glove300_coco80_alphabetical", COCO.names, 0.13, 0.86, None),
    ],
)
def test_published_figures_of_glove(
    file: str,
    names: tuple[str, ...],
    mean: float,
    most: float,
    pair: set[str] | None,
    shared: Path,
) -> None:
    path = shared / f"text/{file}.safetensors"
    vectors = read_word_vectors(path, names).values
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(len(names), k=1)]
    assert cosines.mean() == pytest.approx(mean, abs=0.005)
    assert cosines.max() == pytest.approx(most, abs=0.005)
    if pair is not None:
        similarity = text_similarity(vectors)
        np.fill_diagonal(similarity, 0)
        assert {names[place] for place in divmod(int(similarity.argmax()), 20)} == pair
        assert 5.75 < np.linalg.norm(vectors, axis=1).min() < 5.85
        assert 7.15 < np.linalg.norm(vectors, axis=1).max() < 7.25


def test_text_of_real_vectors_gives_the_real_vectors(shared: Path, tmp_path: Path) -> None:
    source = shared / "text/glove300_voc20.safetensors"
    with safe_open(source, framework="numpy") as file:
        names = json.loads(file.metadata()["names"])
        rows = file.get_tensor("embeddings")
    single = [name for name in ("cat", "dog", "horse", "sofa") if name in names]
    path = tmp_path / "glove.300d.txt"
    lines = (
        " ".join([name, *map(repr, map(float, rows[names.index(name)]))]) for name in single[::-1]
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_glove(path, single)
    assert np.array_equal(found, read_word_vectors(source, single).values)
