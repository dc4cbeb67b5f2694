"""A background score keeps the name of the normalisation that it belongs to, or is refused."""

import json
from pathlib import Path

import pytest

from stages.model import tag_settings
from stages.normalisation import MAXIMA, PROBABILITIES, background_score
from stages.reports.artifacts import Run
from stages.tag_masks import TagSettings
from tests.stages.test_rescore import run


def said(folder: Path, **document: object) -> Path:
    (folder / "thresholds.json").write_text(json.dumps(document))
    return folder


def test_a_score_of_other_scores_is_no_background_score(tmp_path: Path) -> None:
    assert background_score(said(tmp_path, threshold=0.3, normalisation=MAXIMA)) == 0.3
    with pytest.raises(ValueError, match=r"2\.0 belongs to scores that are probabilities"):
        background_score(said(tmp_path, threshold=2.0, normalisation=PROBABILITIES))


def test_the_second_look_refuses_labels_of_another_normalisation(looked, tmp_path: Path) -> None:
    said(looked.inputs["labels"], threshold=2.0, normalisation=PROBABILITIES)
    with pytest.raises(ValueError, match=r"thresholds\.json: .* take the first labels"):
        run(looked, tmp_path / "rescore")
    assert not list((tmp_path / "rescore").iterdir())


def test_a_model_takes_no_score_of_another_normalisation(tiny_run) -> None:
    bare = tiny_run.without("inspect")
    default = TagSettings().background
    for name, expected in ((MAXIMA, 0.33), (PROBABILITIES, default)):
        said(bare["labels"], threshold=0.33, normalisation=name)
        assert tag_settings(Run.of(bare)).background == expected
