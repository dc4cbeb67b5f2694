import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.classes import COCO, DEMO, MOST_CLASSES, TABLES, VOC, Class, ClassTable, voc_colour


def test_voc_palette_begins_as_the_devkit_prints_it() -> None:
    assert [voc_colour(label) for label in (0, 1, 2, 3, 8, 15, 20, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (64, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_shipped_tables_are_whole(table: ClassTable) -> None:
    assert [entry.colour for entry in table.classes] == [
        voc_colour(entry.label) for entry in table.classes
    ]
    assert all(len(entry.description.split()) >= 6 for entry in table.classes)
    assert len({entry.description for entry in table.classes}) == len(table)
    assert ClassTable.parse(table.dump()) == table


def test_orders_and_ids_are_the_data_sets_own() -> None:
    assert VOC.names[0] == "aeroplane"
    assert VOC.names[14] == "person"
    assert list(VOC.names) == sorted(VOC.names)
    assert COCO.names[0] == "person"
    assert COCO.classes[79][:2] == (80, "toothbrush")
    categories = [entry.category for entry in COCO.classes]
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert categories == [number for number in range(1, 91) if number not in gaps]
    assert len(DEMO) >= 6


def test_coco_categories_are_those_of_real_annotations(shared) -> None:
    document = json.loads(
        (shared / "coco-tiny/annotations/instances_train2017.json").read_text(encoding="utf-8")
    )
    expected = [(row["id"], row["name"]) for row in document["categories"]]
    assert [(entry.category, entry.name) for entry in COCO.classes] == expected


def test_palette_holds_class_colours_and_pale_ignore() -> None:
    table = ClassTable("own", (Class(1, "cat", (9, 8, 7)), Class(2, "dog", (6, 5, 4))))
    palette = table.palette()
    assert len(palette) == 768
    assert palette[:9] == [0, 0, 0, 9, 8, 7, 6, 5, 4]
    assert palette[9:12] == [128, 128, 0]
    assert palette[765:] == [224, 224, 192]


def test_a_thousand_classes_have_a_thousand_colours() -> None:
    table = ClassTable.of_names("own", [f"class {place}" for place in range(MOST_CLASSES)])
    colours = [*table.colours, table.ignore_colour]
    assert len(set(colours)) == len(colours) == MOST_CLASSES + 2
    assert table.colours[255] == (224, 224, 192) == VOC.ignore_colour
    assert ClassTable.parse(table.dump()) == table
    with pytest.raises(ValueError, match="1000 classes fit no palette"):
        table.palette()


def test_index_is_zero_based_and_names_the_nearest() -> None:
    assert VOC.index("aeroplane") == 0
    assert "sofa" in VOC
    assert "couch" not in VOC
    with pytest.raises(ValueError, match=r"'motorbik' is no class of table 'voc'.*'motorbike'"):
        VOC.index("motorbik")


def test_unicode_names_are_one_name_however_they_are_typed() -> None:
    table = ClassTable.of_names("own", ["cafe\u0301", " Straße ", "猫", "a/b, c"])
    assert table.names == ("caf\u00e9", "Straße", "猫", "a/b, c")
    assert table.index("cafe\u0301") == table.index("caf\u00e9") == 0
    assert ClassTable.parse(table.dump()) == table
    with pytest.raises(ValueError, match="twice, as class 1 and as class 2"):
        ClassTable.of_names("own", ["cafe\u0301", "caf\u00e9"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no classes"),
        (["cat", " "], "class 2 of table 'own' has an empty name"),
        (["cat", "dog", "cat"], "'cat' twice, as class 1 and as class 3"),
        (["cat\ndog"], "control"),
        (["Background", "cat"], "what label 0 is called"),
        ([f"class {i}" for i in range(MOST_CLASSES + 1)], "1001 classes; at most 1000 fit"),
        ([f"class {i}" for i in range(4000)], "4000 classes; at most 1000 fit"),
    ],
)
def test_bad_tables_say_what_is_wrong(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTable.of_names("own", names)


def test_labels_must_run_in_order() -> None:
    with pytest.raises(ValueError, match="'dog' has label 3, but it stands at place 2"):
        ClassTable("own", (Class(1, "cat", (1, 1, 1)), Class(3, "dog", (2, 2, 2))))


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"name": "x", "classes": [{}]}'])
def test_parse_refuses_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match="no class table"):
        ClassTable.parse(text)


# No deadline: a busy machine is no failure.
@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=20))
def test_any_accepted_names_survive_a_round_trip(names: list[str]) -> None:
    try:
        table = ClassTable.of_names("own", names)
    except ValueError:
        return
    assert ClassTable.parse(table.dump()) == table
    assert [table.index(name) for name in names] == list(range(len(names)))
    assert json.loads(table.dump())["name"] == "own"


def test_importing_the_tables_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'sentence_transformers', 'pydantic'}"
    code = f"import knowledge.classes, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
