"""The figures at the head of the page, and what a score over a few photos does not say."""

import pytest

from stages.reports.artifacts import Run
from stages.reports.figures import caution, headline


@pytest.mark.parametrize(
    ("photos", "classes", "few"),
    [(0, 2, True), (29, 2, True), (30, 2, False), (62, 21, True), (63, 21, False), (50, 81, True)],
)
def test_a_score_over_a_few_photos_is_told(photos: int, classes: int, few: bool) -> None:
    assert ("means nothing" in caution(photos, classes)) == few
    assert caution(None, classes) == ""


def test_every_miou_of_a_few_photos_carries_its_caution(tiny_run) -> None:
    figures = headline(Run.of(tiny_run.inputs))
    told = {name for name, figure in figures.items() if "means nothing" in figure["note"]}
    assert {"labels", "network"} <= told
