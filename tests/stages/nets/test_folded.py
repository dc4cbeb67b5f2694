import pytest
import torch
from torch import nn

from stages.nets.backbone import Backbone
from stages.nets.folded import folded


def backbone(name: str, **options: bool) -> Backbone:
    """With norms that do something, unlike those of a new network."""
    torch.manual_seed(0)
    made = Backbone(name, **options)  # type: ignore[arg-type]
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return made.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    "name", ["mobilenetv2_035", "test_resnet", "resnet18", "test_efficientnet"]
)
def test_maps_are_the_same_without_a_norm(name: str) -> None:
    before = backbone(name, conv_head=name.startswith(("mobile", "test_eff")))
    state = {key: value.clone() for key, value in before.state_dict().items()}
    after = folded(before)
    assert norms(before) > 0
    assert norms(after) == 0
    photo = torch.randint(0, 256, (2, 3, 50, 71), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(before(photo), after(photo), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
    for key, value in before.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_network_without_batch_norm_stays_as_it_is() -> None:
    before = backbone("test_vit")
    photo = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(before(photo), folded(before)(photo), strict=True):
            assert torch.equal(one, other)


class _Both(nn.Module):
    """Reads what is before a norm as well as what is behind it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.feature_info = inner, inner.feature_info
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.running_mean, 0.7)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        raw = self.conv(image)
        shared = (raw + self.norm(raw)).mean()
        return [one + shared for one in self.inner(image)]


def test_a_network_that_reads_before_a_norm_too_is_left_alone() -> None:
    before = backbone("test_resnet")
    before.net = _Both(before.net).eval()
    after = folded(before)
    assert norms(after) == norms(before)
    photo = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(before(photo), after(photo), strict=True):
            assert torch.equal(one, other)
