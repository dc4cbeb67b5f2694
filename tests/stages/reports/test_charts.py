"""Charts: every number keeps its place, gaps and flat lines do not break the axes."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reports.charts import Mark, Series, line_chart

finite = st.floats(-1e6, 1e6, allow_nan=False)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.e+]+) ([-\d.e+]+)", path)]


def test_a_known_line() -> None:
    series = Series("loss", [0.0, 5.0, 10.0], [0.0, 1.0, 2.0])
    chart = line_chart([series], title="t", across="x", up="y", marks=[Mark("m", 5.0, 1.0)])
    assert chart is not None
    drawn = points(chart.lines[0][1])
    assert drawn[0] == (chart.left, chart.bottom)
    assert drawn[2] == (chart.right, chart.top)
    assert drawn[1] == chart.marks[0][1:]
    assert [tick.text for tick in chart.ticks_across] == ["0", "2", "4", "6", "8", "10"]
    assert chart.description == "loss: 0 at 0, 2 at 10, most 2; m: 1 at 5"


@given(st.lists(st.one_of(finite, st.none()), min_size=2, max_size=50))
def test_every_line_stays_inside_the_frame(values: list[float | None]) -> None:
    series = Series("s", [float(n) for n in range(len(values))], values)
    chart = line_chart([series], title="t", across="x", up="y")
    if sum(value is not None for value in values) < 2:
        assert chart is None
        return
    assert chart is not None
    for x, y in points(chart.lines[0][1]):
        assert chart.left - 0.01 <= x <= chart.right + 0.01
        assert chart.top - 0.01 <= y <= chart.bottom + 0.01
    assert 2 <= len(chart.ticks_up) <= 12
    assert 1 <= len(chart.ticks_across) <= 12


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_no_number_leaves_a_gap(missing: float | None) -> None:
    chart = line_chart(
        [Series("s", [0.0, 1.0, 2.0], [1.0, missing, 3.0])], title="t", across="x", up="y"
    )
    assert chart is not None
    assert len(points(chart.lines[0][1])) == 2


def test_long_lines_are_thinned() -> None:
    many = [float(n) for n in range(5000)]
    chart = line_chart([Series("s", many, many)], title="t", across="x", up="y")
    assert chart is not None
    assert 200 < len(points(chart.lines[0][1])) < 1000
