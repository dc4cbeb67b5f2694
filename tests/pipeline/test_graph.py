"""Order, circles and selections of a pipeline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.graph import Pipeline, Stage


class Nothing(BaseModel, frozen=True):
    pass


def stage(name: str, *inputs: str) -> Stage:
    return Stage(name, f"stages.{name}", name, Nothing(), inputs)


@pytest.fixture
def flow() -> Pipeline:
    return Pipeline(
        [
            stage("index"),
            stage("masks", "index"),
            stage("graph", "index"),
            stage("classify", "index", "graph"),
            stage("cams", "classify"),
            stage("inspect", "masks", "cams"),
            stage("segment-masks", "masks", "graph"),
        ]
    )


@given(st.permutations(range(8)), st.data())
def test_every_stage_follows_its_inputs(names: list[int], data: st.DataObject) -> None:
    stages = [
        stage(
            str(n), *data.draw(st.lists(st.sampled_from([str(m) for m in range(n)]), unique=True))
        )
        if n
        else stage("0")
        for n in range(8)
    ]
    pipeline = Pipeline([stages[n] for n in names])
    for position, name in enumerate(pipeline.order):
        assert set(pipeline.stage(name).inputs) <= set(pipeline.order[:position])


def test_the_listed_order_is_kept_where_edges_allow(flow: Pipeline) -> None:
    assert flow.order == flow.names


def test_a_circle_is_refused_and_shown() -> None:
    with pytest.raises(ValueError, match=r"circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> )"):
        Pipeline([stage("a", "c"), stage("b", "a"), stage("c", "b")])


def test_an_unknown_input_and_a_double_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input of cams: .*did you mean 'classify'"):
        Pipeline([stage("classify"), stage("cams", "clasify")])
    with pytest.raises(ValueError, match="two stages are called cams"):
        Pipeline([stage("cams"), stage("cams")])


def test_selections(flow: Pipeline) -> None:
    assert flow.select().names == flow.order
    until = flow.select(until="cams")
    assert until.names == ("index", "graph", "classify", "cams")  # no masks: nothing needs them
    start = flow.select(start="classify")
    assert start.names == flow.order
    assert start.again == {"classify", "cams", "inspect"}
    assert flow.select(start="classify", until="cams").again == {"classify", "cams"}
    assert flow.select(only="segment-masks").names == ("segment-masks",)
    assert flow.select(force=["cams"]).again == {"cams"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"start": "cams", "until": "graph"}, "graph does not need cams"),
        ({"until": "cams", "force": ["inspect"]}, "--force inspect: this run leaves"),
        ({"only": "cams", "until": "cams"}, "--only goes with neither"),
        ({"start": "camms"}, "did you mean 'cams'"),
        ({"until": "camms"}, "did you mean 'cams'"),
    ],
)
def test_selections_that_make_no_sense(flow: Pipeline, flags: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow.select(**flags)
