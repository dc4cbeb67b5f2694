import gc
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.graph import ClassGraph
from stages.nets.backbone import Backbone
from stages.nets.cam import CamMaker, resampling, shared_maps
from stages.nets.classifier import Classifier

NAMES = ("cat", "dog", "car")


def classifier(name: str = "test_efficientnet", **options: object) -> Classifier:
    torch.manual_seed(0)
    graph = ClassGraph(NAMES, np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), {})
    return Classifier(Backbone(name, **options), NAMES, graph, hidden=4).eval()  # type: ignore[arg-type]


def photos(height: int, width: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    small = torch.rand(count, 3, 5, 5, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic")
    noise = torch.rand(count, 3, height, width, generator=generator) * 40
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


@given(
    length=st.integers(1, 700),
    stride=st.sampled_from([4, 8, 16, 32]),
    shift=st.sampled_from([-7.5, 0.0, 7.5]),
)
@settings(max_examples=60, deadline=None)
def test_rows_of_a_resampling_sum_to_one_and_read_no_padding(
    length: int, stride: int, shift: float
) -> None:
    cells = math.ceil(length / stride) + 2
    target = math.ceil(length / 4)
    matrix = resampling(cells, stride=stride, length=length, target=target, shift=shift)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(target, dtype=torch.float64))
    assert matrix.min() >= 0
    assert (matrix[:, -2:] == 0).all()


def test_a_ramp_over_the_photo_stays_in_its_place() -> None:
    matrix = resampling(10, stride=16, length=160, target=40, shift=3.0)
    middles = 16 * (torch.arange(10, dtype=torch.float64) + 0.5) + 3.0
    found = matrix @ middles  # each cell of the grid reads where it lies, in pixels
    inside = (4 * torch.arange(40) + 2 > 11.0) & (4 * torch.arange(40) + 2 < 155.0)
    expected = 4 * torch.arange(40, dtype=torch.float64) + 2
    torch.testing.assert_close(found[inside], expected[inside])


@pytest.mark.parametrize("size", [(48, 64), (37, 50), (33, 97), (16, 17), (50, 1)])
@pytest.mark.parametrize("competition", [0.0, 1.0])
@pytest.mark.parametrize("pad_type", [None, "same"])
def test_the_map_of_a_mirrored_photo_is_the_mirrored_map(
    size: tuple[int, int], competition: float, pad_type: str | None
) -> None:
    net = classifier(pad_type=pad_type)
    make = CamMaker(net, scales=(1.0, 1.5, 0.5), competition=competition)
    photo = photos(*size)
    straight = make(photo, [[0, 2]])[0]
    mirrored = make(photo.flip(-1), [[0, 2]])[0]
    assert straight.shape == (2, math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    assert straight.max() > 0
    torch.testing.assert_close(mirrored, straight.flip(-1), rtol=1e-4, atol=1e-6)


def test_at_one_scale_the_mirror_symmetry_is_exact() -> None:
    make = CamMaker(classifier(), scales=(1.0,), competition=1.0)
    photo = photos(37, 50)
    assert torch.equal(make(photo.flip(-1), [[0, 1]])[0], make(photo, [[0, 1]])[0].flip(-1))


def test_without_flip_the_symmetry_is_broken() -> None:
    make = CamMaker(classifier(), scales=(1.0,), flip=False)
    photo = photos(37, 50)
    assert not torch.allclose(make(photo.flip(-1), [[0]])[0], make(photo, [[0]])[0].flip(-1))


def test_a_photo_has_its_own_classes_whatever_its_batch() -> None:
    make = CamMaker(classifier(), scales=(1.0, 0.5))
    batch = photos(40, 48, count=3)
    together = make(batch, [[1], [0, 2], []])
    assert [len(maps) for maps in together] == [1, 2, 0]
    for at, classes in enumerate([[1], [0, 2], []]):
        alone = make(batch[at : at + 1], [classes])[0]
        torch.testing.assert_close(together[at], alone, rtol=1e-4, atol=1e-6)


def test_one_scale_by_hand() -> None:
    net = classifier()
    make = CamMaker(net, scales=(1.0,), flip=False, competition=2.0)
    photo = photos(32, 48)
    with torch.no_grad():
        logits = torch.einsum("cd,dhw->chw", net.linear.weight, net.features(photo)[0])
    maps = logits.relu() * logits.softmax(dim=0) ** 2
    rows = resampling(2, stride=16, length=32, target=8, shift=net.backbone.shift).float()
    columns = resampling(3, stride=16, length=48, target=12, shift=net.backbone.shift).float()
    expected = torch.stack([rows @ maps[c] @ columns.T for c in (0, 1)])
    torch.testing.assert_close(make(photo, [[0, 1]])[0], expected)


@pytest.mark.parametrize("branch", ["linear", "graph", "fused"])
def test_each_branch_makes_its_own_maps(branch: str) -> None:
    net = classifier()
    expected = net.class_weights(branch).detach()  # type: ignore[arg-type]
    make = CamMaker(net, branch=branch, scales=(1.0,))  # type: ignore[arg-type]
    assert make.weights is not None
    assert torch.equal(make.weights, expected)
    assert not make(photos(32, 32), [[0, 1, 2]])[0].requires_grad


def test_competition_takes_from_the_weaker_class_only_weight() -> None:
    net = classifier()
    plain = CamMaker(net, scales=(1.0,))(photos(48, 48), [[0, 1, 2]])[0]
    rivals = CamMaker(net, scales=(1.0,), competition=1.0)(photos(48, 48), [[0, 1, 2]])[0]
    assert (rivals <= plain).all()
    assert (rivals < plain).any()


def test_a_class_whose_score_is_high_everywhere_leaves_places_to_others() -> None:
    """What counts is by how much a place exceeds the class's usual score, not the score itself."""
    net, photo = classifier(), photos(96, 96)
    with torch.no_grad():
        pooled = net.pooled(photo)
        net.linear.weight[0], net.linear.weight[1] = 3 * pooled[0], pooled[0]

    def wins() -> torch.Tensor:
        first, second = CamMaker(net, scales=(1.0,), flip=False, competition=1.0)(photo, [[0, 1]])[
            0
        ]
        return (3 * second > first)[second > 0]

    assert not wins().any()
    net.centre(pooled, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(net.usual(net.linear.weight)[:2], net.score(pooled).linear[0, 0, :2])
    assert net.usual(net.linear.weight)[2] == 0  # no photo shows it
    assert wins().any()
    assert not wins().all()


def test_no_hook_survives_and_no_gradient_is_kept() -> None:
    net = classifier()
    CamMaker(net, scales=(1.0,))(photos(32, 32), [[0]])
    assert all(not m._forward_hooks and not m._backward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_memory_is_flat_over_many_photos() -> None:
    """Hundreds of photos leave no tensor behind: none is kept for a gradient or by a hook."""
    make, counts = CamMaker(classifier(), scales=(1.0, 0.5)), []
    for at in range(300):
        (found,) = make(photos(32, 32), [[0, 2]])
        assert not found.requires_grad
        assert found.grad_fn is None
        del found
        if at % 100 == 99:
            gc.collect()
            alive = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
            counts.append((len(alive), sum(one.numel() for one in alive)))
            del alive
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("name", "expected"), [("resnet18", -7.5), ("convnext_atto", 0.0), ("resnet18d", 2.3)]
)
def test_receptive_fields_lie_where_the_backbone_says(name: str, expected: float) -> None:
    assert Backbone(name).shift == expected


@pytest.mark.parametrize(("pad_type", "sign"), [(None, -1), ("same", 1)])
def test_the_shift_is_that_of_the_gradient(pad_type: str | None, sign: int) -> None:
    """The pixels that a cell depends on lie around the place that `shift` tells."""
    torch.manual_seed(0)
    backbone = Backbone("test_efficientnet", pad_type=pad_type).eval()
    for module in backbone.modules():
        if hasattr(module, "se") and module.se is not None:
            module.se = torch.nn.Identity()  # looks at the whole map
    photo = torch.rand(1, 3, 32, 1600) * 255
    photo.requires_grad_(True)
    backbone(photo)[-1][0, :, :, 50].sum().backward()
    assert photo.grad is not None
    touched = photo.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    middle = (touched.min() + touched.max() + 1).item() / 2
    assert middle == 16 * 50.5 + sign * 7.5
    assert backbone.shift == sign * 7.5


@pytest.mark.parametrize("competition", [0.0, 1.5])
def test_makers_that_share_a_pass_make_what_each_makes_alone(competition: float) -> None:
    images, classes = photos(37, 52, 2), [[0, 2], []]
    nets = [classifier(), classifier()]
    torch.nn.init.normal_(nets[1].linear.weight)
    makers = [
        CamMaker(net, branch=branch, scales=(1.0, 1.5), competition=competition)
        for net in nets
        for branch in ("linear", "graph", "fused")
    ]
    together = shared_maps(makers, images, classes)
    for maker, maps in zip(makers, together, strict=True):
        for one, other in zip(maker(images, classes), maps, strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(together[0][0], together[3][0])
