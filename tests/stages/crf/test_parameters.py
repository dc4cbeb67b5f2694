"""Named sets, numbers of one's own, and both through the command line's parser."""

import pytest
import tyro
from pydantic import BaseModel, ValidationError

from stages.crf.parameters import SETS, CrfParameters


class Settings(BaseModel, frozen=True):
    crf: CrfParameters = CrfParameters()


def test_default_is_irn_label():
    assert CrfParameters().numbers() == SETS["irn_label"] == (10, 3, 3, 50, 5, 10)


def test_one_number_replaces_that_of_the_set():
    numbers = CrfParameters(set="deeplab", iterations=5).numbers()
    assert numbers == SETS["deeplab"]._replace(iterations=5)


def test_zero_is_a_number():
    assert CrfParameters(iterations=0, gaussian_weight=0).numbers()[:3] == (0, 3, 0)


def test_scale_is_for_pixels_only():
    assert CrfParameters(set="psa_seam").numbers(0.5) == (10, 1.5, 3, 40, 13, 10)


def test_command_line():
    flags = ["--crf.set", "psa_seam", "--crf.iterations", "5"]
    parsed = tyro.cli(Settings, args=flags, default=Settings())
    assert parsed.crf.numbers() == SETS["psa_seam"]._replace(iterations=5)


@pytest.mark.parametrize(
    "wrong", [{"set": "irn"}, {"iterations": -1}, {"bilateral_sxy": 0}, {"sxy": 3}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        CrfParameters(**wrong)
