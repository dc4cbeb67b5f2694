"""The chart of points: every point and its spread stay inside the frame, names in the picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reports.scatter import LINE, NAME_SPACE, Dot, scatter_chart

places = st.floats(0, 1e4, allow_nan=False)
values = st.floats(0, 100, allow_nan=False)
WORDS = {"title": "t", "across": "x", "up": "y"}


@given(st.lists(st.tuples(places, values, st.none() | st.floats(0, 50)), min_size=1, max_size=12))
def test_everything_drawn_stays_inside(found: list[tuple[float, float, float | None]]) -> None:
    chart = scatter_chart([Dot("n", *one) for one in found], **WORDS)
    assert chart is not None
    assert len(chart.dots) == len(found)
    for dot, (_, _, spread) in zip(chart.dots, found, strict=True):
        assert chart.left <= dot.x <= chart.right
        assert chart.top <= dot.top <= dot.y <= dot.bottom <= chart.bottom
        assert dot.left_of == (dot.x > chart.right - NAME_SPACE)
        if spread is None:
            assert dot.top == dot.y == dot.bottom


def test_more_is_further_right_and_higher() -> None:
    chart = scatter_chart([Dot("a", 1.0, 30.0, 1.0), Dot("b", 2.0, 40.0, None, kind=2)], **WORDS)
    assert chart is not None
    a, b = chart.dots
    assert a.x < b.x
    assert a.y > b.y
    assert a.bottom - a.y == pytest.approx(a.y - a.top, abs=0.02)
    assert (a.kind, b.kind) == (1, 2)
    assert chart.description == "a: 30 at 1; b: 40 at 2"


def test_names_of_close_points_stand_below_each_other() -> None:
    dots = [Dot(name, 1 + n / 100, 40 + n / 100) for n, name in enumerate("abc")]
    chart = scatter_chart([*dots, Dot("far", 9.0, 40.0), Dot("low", 1.0, 1.0)], **WORDS)
    assert chart is not None
    heights = sorted(dot.name_y for dot in chart.dots[:3])
    assert heights[1] - heights[0] >= LINE - 0.02
    assert heights[2] - heights[1] >= LINE - 0.02
    assert all(dot.name_y == dot.y for dot in chart.dots[3:])


def test_without_a_number_there_is_no_chart() -> None:
    assert scatter_chart([], **WORDS) is None
    assert scatter_chart([Dot("a", float("nan"), 1.0)], **WORDS) is None
