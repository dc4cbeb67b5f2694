from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data.manifest import Manifest
from pipeline.context import Context
from pipeline.key import canonical
from stages import classify, features
from stages.nets.classifier import Classifier
from stages.nets.pooled import file_of, read_pooled
from stages.nets.resize import resized
from tests.stages.conftest import TinyRun

SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet",
    "weights": "scratch",
    "frozen_norm": False,
    "conv_head": True,
    "levels": 2,
    "epochs_head": 3,
    "scales_head": (1.0, 1.5),
}


def settings(**changes: Any) -> features.Config:
    return features.Config.of(classify.Config(**{**SMALL, **changes}))


def run(tiny_run: TinyRun, out: Path, context: Context | None = None, **changes: Any) -> Path:
    features.run(settings(**changes), tiny_run.inputs, out, context or tiny_run.context)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_features_are_means_over_photos_scales_and_mirror_images(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    out = run(tiny_run, tmp_path / "out", seed=5)
    manifest = Manifest.of(tiny_run.inputs, tiny_run.context.places)
    torch.manual_seed(5)
    backbone = features.initial_backbone(settings(seed=5))
    classifier = Classifier(backbone, manifest.classes.names, None, levels=2).eval()
    train, val = manifest.split("train"), manifest.split("val")
    views, plain = read_pooled(out, train, "views"), read_pooled(out, train, "plain")
    assert views.shape == (len(train), 4, sum(backbone.channels[-2:]))
    assert torch.equal(views[:, 0], plain)
    from data.photos import read_photo

    image = torch.from_numpy(read_photo(manifest.path(train[2])).copy()).permute(2, 0, 1)[None]
    large = resized(image, 1.5)
    with torch.no_grad():
        wanted = [classifier.pooled(one)[0] for one in (image, large, image.flip(-1))]
        wanted.append(classifier.pooled(large.flip(-1))[0])
    for place, one in enumerate(wanted):
        torch.testing.assert_close(views[2, place], one, rtol=0.05, atol=0.02)  # bfloat16, maybe
    assert read_pooled(out, val, "plain").shape[0] == len(val)
    with pytest.raises(ValueError, match=r"no views features.*--force features"):
        read_pooled(out, val, "views")


def test_a_photo_is_seen_at_its_own_size_though_that_is_none_of_the_scales(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    photos = Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train")
    plain = read_pooled(run(tiny_run, tmp_path / "a"), photos, "plain")
    other = run(tiny_run, tmp_path / "b", scales_head=(1.5,))
    torch.testing.assert_close(read_pooled(other, photos, "plain"), plain)
    assert read_pooled(other, photos, "views").shape[1] == 2


def test_what_is_there_is_kept_and_what_lacks_is_made(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = run(tiny_run, tmp_path / "out")
    before = contents(out)
    photos = Manifest.of(tiny_run.inputs, tiny_run.context.places).photos
    assert len(before) == len(photos)
    file_of(out, photos[0]).unlink()
    kept = file_of(out, photos[1])
    kept.write_bytes(b"looked at by nobody")
    run(tiny_run, out)
    after = contents(out)
    name = str(kept.relative_to(out))
    assert after.pop(name) == b"looked at by nobody"
    before.pop(name)
    assert after == before


def test_two_ranks_share_the_photos(tiny_run: TinyRun, tmp_path: Path) -> None:
    whole = run(tiny_run, tmp_path / "whole")
    for rank in (0, 1):
        context = replace(tiny_run.context, rank=rank, world=2)
        run(tiny_run, tmp_path / "shared", context)
    photos = Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train")
    first, second = (read_pooled(f, photos, "views") for f in (whole, tmp_path / "shared"))
    torch.testing.assert_close(first, second, rtol=0.02, atol=0.01)
    assert contents(whole).keys() == contents(tmp_path / "shared").keys()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"seed": 3}, True),
        ({"graph_branch": False, "graph_weight": 1.0, "mode": "as_released"}, True),
        ({"lr_head": 0.1, "epochs_head": 9, "dropout": 0.4, "batch_size": 2}, True),
        ({"scales_head": (1.0,)}, False),
        ({"levels": 1}, False),
        ({"output_stride": 32}, False),
        ({"weights": "scratch", "seed": 3}, False),
        ({"backbone": "resnet18"}, False),
    ],
)
def test_a_sweep_over_heads_shares_features(changes: dict[str, Any], same: bool) -> None:
    plain = {"weights": "imagenet", "frozen_norm": True}
    one, other = settings(**plain), settings(**{**plain, **changes})
    assert (canonical(one) == canonical(other)) == same


def test_the_place_of_a_weight_file_is_no_part_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    config = settings(weights="file", weights_file=path)
    assert str(tmp_path) not in str(canonical(config))
    assert features.sources(config) == {"weights_file w.safetensors": path}
    assert features.sources(settings()) == {}


def test_a_damaged_file_is_named(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = run(tiny_run, tmp_path / "out")
    photos = Manifest.of(tiny_run.inputs, tiny_run.context.places).split("train")
    file_of(out, photos[0]).write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"\.safetensors holds no plain features"):
        read_pooled(out, photos, "plain")


def test_a_scale_given_twice_is_one(tiny_run: TinyRun, tmp_path: Path) -> None:
    once = run(tiny_run, tmp_path / "once", scales_head=(1.5, 1.0))
    twice = run(tiny_run, tmp_path / "twice", scales_head=(1.5, 1.5, 1.0))
    assert contents(twice) == contents(once)
