import json
from pathlib import Path

import pytest

from knowledge.classes import ClassTable
from knowledge.descriptions import LONGEST, class_texts, read_descriptions

TABLE = ClassTable.of_names("own", ["Straße", "kettle", "caf\u00e9"])


@pytest.fixture
def write(tmp_path: Path):
    path = tmp_path / "texts.json"

    def written(document: object) -> Path:
        text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_descriptions_stand_behind_the_names_that_have_one(write) -> None:
    path = write({"kettle": " a metal pot with a spout on a stove ", "cafe\u0301": "tables, cups"})
    texts = class_texts(TABLE, descriptions=path)
    assert texts == ["Straße", "kettle: a metal pot with a spout on a stove", "café: tables, cups"]
    assert class_texts(TABLE, described=False, descriptions=path) == list(TABLE.names)
    assert class_texts(TABLE) == list(TABLE.names)


def test_a_file_stands_in_front_of_the_table(write) -> None:
    from knowledge.classes import VOC

    texts = class_texts(VOC, descriptions=write({"sofa": "a long padded seat"}))
    assert texts[VOC.index("sofa")] == "sofa: a long padded seat"
    assert texts[VOC.index("dog")] == VOC.classes[VOC.index("dog")].text


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kettel": "x"}, r"describes 'kettel', which is no class: did you mean 'kettle'\?"),
        ({"zebra": "x"}, "which is no class: there are Straße"),
        ({"kettle": " "}, "'kettle' is empty"),
        ({"kettle": "a\nb"}, "holds a line break"),
        ({"kettle": "x" * (LONGEST + 1)}, "has 401 characters"),
        ({"kettle": 3}, "holds no descriptions"),
        (["kettle"], "holds no descriptions"),
        ('{"kettle": "a", "kettle": "b"}', "describes 'kettle' twice"),
        ("{", "is no JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write, document: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"texts\.json.*{message}"):
        read_descriptions(write(document), TABLE.names)


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"graph\.descriptions: there is no .*absent"):
        class_texts(TABLE, descriptions=tmp_path / "absent.json")
