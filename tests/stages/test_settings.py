"""Numbers that no stage can work with are refused as flags, before anything runs."""

import pytest
from pydantic import ValidationError

from pipeline.settings import UsageError, changed, explanation
from stages.cams import Config as Cams
from stages.nets.settings import HeadConfig
from stages.recipes import DEMO


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--cams.scales", ("1.0", "0.0")),
        ("--cams.scales", ("-1.0",)),
        ("--classify.scales-head", ("0",)),
        ("--classify.scales-head", ("-0.5", "1")),
        ("--classify.scale", ("0", "1")),
        ("--evaluate.scales", ("0",)),
        ("--evaluate.scales", ("1", "-1")),
        ("--evaluate.cost-size", ("0", "0")),
        ("--evaluate.cost-size", ("64", "-64")),
    ],
)
def test_sizes_and_factors_are_above_zero(
    flag: str, values: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    section, name = flag.removeprefix("--").replace("-", "_").split(".")
    with pytest.raises(UsageError, match=rf"setting {section}\.{name}\.\d: .* greater than 0$"):
        changed(DEMO, [flag, *values])
    assert capsys.readouterr() == ("", "")


def test_good_ones_are_read_from_flags() -> None:
    flags = "--cams.scales 1 0.5 --classify.scales-head 2 --evaluate.scales 1.5 1"
    recipe = changed(DEMO, [*flags.split(), "--evaluate.cost-size", "64", "96"])
    assert recipe.cams.scales == (1.0, 0.5)
    assert recipe.classify.scales_head == (2.0,)
    assert recipe.evaluate.scales == (1.5, 1.0)
    assert recipe.evaluate.cost_size == (64, 96)


def test_help_names_their_kind() -> None:
    assert "--cams.scales FLOAT ... " in explanation(Cams(), "cams")


def test_dilations_are_above_zero() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        HeadConfig(dilations=(0,))


@pytest.mark.parametrize("words", [["--cams.flip", "False"], ["--cams.flip=0"]])
def test_a_switch_takes_no_value_that_would_be_misread(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"takes no value .*: write --cams.flip or --cams.no-flip"):
        changed(DEMO, words)
    assert not changed(DEMO, ["--cams.no-flip"]).cams.flip
    assert changed(DEMO, ["--cams.flip", "--cams.scales", "1"]).cams.flip
