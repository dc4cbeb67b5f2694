import pytest
import torch

from stages.nets.device import autocast, has_bfloat16, pick_device

CPU = torch.device("cpu")


def test_auto_takes_cuda_where_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        pick_device(name)


@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("auto", torch.bfloat16 if has_bfloat16(CPU) else torch.float32),
    ],
)
def test_precision_is_that_of_a_matrix_product(precision: str, kind: torch.dtype) -> None:
    with autocast(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_an_unknown_precision_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="auto, float32, bfloat16"):
        autocast("half", CPU)
