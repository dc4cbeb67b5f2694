import json
from itertools import pairwise
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.modules.batchnorm import _BatchNorm

from stages.nets.backbone import Backbone, build_backbone, headless
from stages.nets.cam import CamMaker
from stages.nets.classifier import Classifier

NAME = "test_efficientnet"


def scratch(name: str = NAME, **settings: object) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, weights="scratch", frozen_norm=False, **settings).eval()  # type: ignore[arg-type]


def weight_file(path: Path, *, drop: str = "", **metadata: str) -> Path:
    torch.manual_seed(1)
    state = timm.create_model(NAME).state_dict()
    save_file({k: v for k, v in state.items() if k != drop}, path, metadata=metadata)
    return path


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "resnet18", "convnext_atto"])
@torch.no_grad()
def test_maps_follow_channels_and_strides_for_any_size(name: str) -> None:
    backbone = scratch(name)
    assert backbone.strides[0] == 4
    assert backbone.strides[-1] == 16
    maps = backbone(torch.zeros(1, 3, 50, 70, dtype=torch.uint8))
    assert [m.shape[1] for m in maps] == backbone.channels
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // s, 80 // s) for s in backbone.strides]


TRANSFORMERS = {
    "vit_tiny_patch16_224": ([16] * 4, [192] * 4),
    "deit_tiny_patch16_224": ([16] * 4, [192] * 4),
    "test_vit": ([16] * 4, [64] * 4),
    "vit_small_patch14_dinov2": ([14] * 4, [384] * 4),
    "swin_tiny_patch4_window7_224": ([4, 8, 16, 32], [96, 192, 384, 768]),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_transformers_take_any_size_and_survive_json(name: str) -> None:
    strides, channels = TRANSFORMERS[name]
    backbone = scratch(name, output_stride=max(16, strides[-1]))
    assert (backbone.strides, backbone.channels, backbone.shift) == (strides, channels, 0.0)
    photo = torch.randint(0, 256, (1, 3, 33, 47), dtype=torch.uint8)
    maps = backbone(photo)
    step = max(strides)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, -(-33 // step) * step // s, -(-47 // step) * step // s)
        for c, s in zip(channels, strides, strict=True)
    ]
    again = Backbone(**json.loads(json.dumps(backbone.description))).eval()
    again.load_state_dict(backbone.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again(photo), maps, strict=True))


@torch.no_grad()
def test_a_plain_transformer_gives_its_depths_through_its_last_norm() -> None:
    backbone = scratch("test_vit")
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", dynamic_img_size=True).eval()
    whole.load_state_dict(
        {k.removeprefix("net.model."): v for k, v in backbone.state_dict().items()}, strict=False
    )
    photo = torch.randint(0, 256, (1, 3, 48, 32)).float()
    tokens = whole.forward_features((photo - backbone.mean) / backbone.std)[:, 1:]
    maps = backbone(photo)
    torch.testing.assert_close(maps[-1], tokens.transpose(1, 2).reshape(1, 64, 3, 2))
    assert all(not torch.equal(a, b) for a, b in pairwise(maps))


@torch.no_grad()
def test_maps_of_a_net_with_channels_last_lie_as_the_photo_does() -> None:
    """A patch stem at stride 4: a change at one corner shows there first."""
    backbone = scratch("swin_tiny_patch4_window7_224", output_stride=32)
    photo = torch.zeros(1, 3, 64, 96)
    changed = photo.clone()
    changed[..., :4, 80:84] = 255.0
    moved = (backbone(changed)[0] - backbone(photo)[0]).abs().sum(dim=1)[0]
    assert divmod(int(moved.argmax()), 24) == (0, 20)


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224", "test_convnext"])
def test_flattened_names_of_an_extractor_find_their_weights(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_file(timm.create_model(name).state_dict(), tmp_path / "w.safetensors")
    backbone = build_backbone(
        name, weights=tmp_path / "w.safetensors", supervision="x", output_stride=32
    )
    left_out = {key.split(".")[0] for key in backbone.card["left_out"]}
    assert left_out <= {"head", "norm", "fc_norm"}
    backbone(torch.zeros(1, 3, 40, 40))[-1].sum().backward()


def test_the_classifier_stands_on_a_transformer() -> None:
    classifier = Classifier(scratch("test_vit"), ("a", "b", "c"), None, levels=2)
    images = torch.randint(0, 256, (2, 3, 33, 47), dtype=torch.uint8)
    logits = classifier(images)
    assert logits.linear.shape == (2, 2, 3)
    maps = CamMaker(classifier, scales=(1.0, 0.5))(images, [[0], [1, 2]])
    assert [tuple(one.shape) for one in maps] == [(1, 9, 12), (2, 9, 12)]


@torch.no_grad()
def test_padding_is_the_mean_colour() -> None:
    backbone = scratch()
    photo = torch.randint(0, 256, (1, 3, 40, 50)).float()
    padded = backbone.mean.expand(1, 3, 48, 64).clone()
    padded[..., :40, :50] = photo
    for ours, theirs in zip(backbone(photo), backbone(padded), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_bytes_and_floats_give_the_same_maps() -> None:
    backbone, photo = scratch(), torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    for ours, theirs in zip(backbone(photo), backbone(photo.float()), strict=True):
        assert torch.equal(ours, theirs)


def test_the_description_builds_the_same_net_again() -> None:
    backbone = scratch(conv_head=True)
    again = Backbone(**backbone.description)
    again.load_state_dict(backbone.state_dict())
    photo = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    for ours, theirs in zip(backbone(photo), again.eval()(photo), strict=True):
        assert torch.equal(ours, theirs)


def test_headless_gives_the_same_maps_but_the_last() -> None:
    whole = scratch(conv_head=True).eval()
    plain = headless(whole).eval()
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    assert plain.channels == whole.channels[:-1]
    for mine, theirs in zip(plain(images), whole(images)[:-1], strict=True):
        assert torch.equal(mine, theirs)
    assert headless(plain) is plain


def test_frozen_norms_keep_their_statistics_and_take_no_gradient(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "w.safetensors", supervision="shapes")
    backbone = build_backbone(NAME, weights=path, frozen_norm=True).train()
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    before = [n.running_mean.clone() for n in norms if n.running_mean is not None]
    backbone(torch.randint(0, 256, (2, 3, 32, 32)).float())[-1].sum().backward()
    after = [n.running_mean for n in norms if n.running_mean is not None]
    assert norms
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for n in norms for p in n.parameters())
    assert any(p.grad is not None for p in backbone.parameters())


def test_trained_norms_learn_their_statistics() -> None:
    backbone = scratch().train()
    norm = next(m for m in backbone.modules() if isinstance(m, _BatchNorm))
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    backbone(torch.randint(0, 256, (2, 3, 32, 32)).float())
    assert not torch.equal(before, norm.running_mean)


def test_a_file_fills_the_net_and_its_metadata_are_obeyed(tmp_path: Path) -> None:
    path = weight_file(
        tmp_path / "w.safetensors",
        source="a test",
        supervision="shapes",
        architecture="pad_type=same",
        input="RGB / 127.5 - 1 (mean 0.5, std 0.25)",
    )
    backbone = build_backbone(NAME, weights=path)
    state = timm.create_model(NAME).state_dict()
    assert torch.equal(backbone.mean.flatten(), torch.full((3,), 127.5))
    assert torch.equal(backbone.std.flatten(), torch.full((3,), 63.75))
    assert backbone.description["pad_type"] == "same"
    assert backbone.shift == 7.5
    assert backbone.card["supervision"] == "shapes"
    assert "classifier.weight" in backbone.card["left_out"]
    assert set(backbone.card["left_out"]) < set(state)
    whole = build_backbone(NAME, weights=path, conv_head=True)
    assert whole.card["left_out"] == ["classifier.bias", "classifier.weight"]
    assert whole.channels[-1] == state["conv_head.weight"].shape[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: weight_file(p, supervision="x", drop="conv_stem.weight"), "missing 1 keys"),
        (lambda p: weight_file(p, source="somewhere"), "weights-supervision"),
        (lambda p: p, "no such weight file"),
        (lambda p: p.write_bytes(b"not safetensors") and p, "no readable safetensors"),
    ],
)
def test_files_that_do_not_serve_are_refused(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path / "w.safetensors")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_backbone(NAME, weights=path)


def test_unexpected_keys_are_listed(tmp_path: Path) -> None:
    state = timm.create_model(NAME).state_dict()
    save_file({**state, "extra.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"unexpected 1 keys \(extra.weight\)"):
        build_backbone(NAME, weights=tmp_path / "w.safetensors", supervision="x")
    with pytest.raises(ValueError, match="not a file of resnet18"):
        build_backbone("resnet18", weights=tmp_path / "w.safetensors", supervision="x")


def test_a_folded_norm_must_stay_frozen(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "w.safetensors", supervision="x", note="BN is folded")
    with pytest.raises(ValueError, match="frozen_norm=True"):
        build_backbone(NAME, weights=path, frozen_norm=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet_50"}, "no network called 'resnet_50'"),
        ({"name": "hrnet_w18_small", "output_stride": 16}, "output stride 16"),
        ({"name": "swin_tiny_patch4_window7_224"}, "output stride 16"),
        ({"name": "vit_tiny_patch16_224", "output_stride": 8}, "set output_stride=16"),
        ({"name": "mixer_s16_224"}, "photos of any size"),
        ({"name": NAME, "weights": "coco"}, "scratch, imagenet or the path"),
        ({"name": NAME, "frozen_norm": True}, "nothing to keep"),
        ({"name": "test_resnet", "conv_head": True}, "conv_head=False"),
    ],
)
def test_settings_that_do_not_work_say_what_would(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(**{"weights": "scratch", "frozen_norm": False, **settings})  # type: ignore[arg-type]


def test_without_a_connection_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"cannot be downloaded.*weights-file.*weights=scratch"):
        build_backbone("resnet18", weights="imagenet")


@torch.no_grad()
def test_the_real_weights_load_as_their_readme_says(shared: Path) -> None:
    path = shared / "backbones" / "mobilenetv2_100_tf_imagenet.safetensors"
    backbone = build_backbone("mobilenetv2_100", weights=path, conv_head=True)
    assert backbone.channels[-2:] == [320, 1280]
    assert backbone.strides[-2:] == [16, 16]
    assert torch.equal(backbone.mean.flatten(), torch.full((3,), 127.5))
    assert "ImageNet" in backbone.card["supervision"]
    maps = backbone.eval()(torch.full((1, 3, 64, 64), 127.5))
    assert all(torch.isfinite(m).all() for m in maps)
