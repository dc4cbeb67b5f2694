"""predict: own photos of every kind become masks, overlays and JSON; a bad one stops nothing."""

import json
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.labels import read_label
from data.own import OwnPhoto, gather, in_batches
from data.photos import read_photo
from knowledge.classes import ClassTable
from stages.commands import predict
from stages.model import Model
from stages.nets import look as looking
from stages.nets.look import look, tiles
from stages.predictions import legend, overlay
from tests.datasets import pixels, write_photo


def predicted(photos: Path | str, run: Path, out: Path, *more: str) -> int:
    arguments = [str(photos), "--run", str(run), "--out", str(out), "--device", "cpu", *more]
    return predict.main([*arguments, "--precision", "float32"])


def found(out: Path, name: str) -> dict:
    return json.loads((out / "found" / f"{name}.json").read_text())


def files(out: Path) -> dict[str, int]:
    return {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file()
    }


def test_every_good_photo_gets_its_files(photos, run_folder, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert predicted(photos, run_folder, out) == 0
    names = ["0", "1", "2", "3", "inner/deep/4", "turned"]
    model = Model.load(run_folder, device="cpu", precision="float32")
    for name in names:
        (path,) = photos.glob(f"{name}.*")
        image, label = read_photo(path), read_label(out / "masks" / f"{name}.png")
        assert label.shape == image.shape[:2]
        assert (label == model.predict(path)).mean() > 0.999
        assert read_photo(out / "overlays" / f"{name}.jpg").shape == image.shape
        said = found(out, name)
        assert said["size"] == list(label.shape)
        assert sum(one["area"] for one in said["classes"].values()) == pytest.approx(1, abs=1e-4)
        for one in said["classes"].values():
            assert one["pixels"] == (label == one["label"]).sum()
            assert 0 <= one["score"] <= 1
    assert found(out, "turned")["size"] == [56, 40]
    bad = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert [Path(one["photo"]).name for one in bad] == ["broken.jpg", "empty.png"]
    assert "has no bytes" in bad[1]["reason"]
    told = capsys.readouterr()
    assert "6 photos labelled" in told.out
    assert "2 cannot be used" in told.out
    assert "broken.jpg cannot be decoded" in told.err
    assert ClassTable.parse((out / "classes.json").read_text()) == model.classes
    assert not list(out.rglob(".*partial*"))


def test_what_is_done_is_not_done_again(photos, run_folder, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    predicted(photos, run_folder, out)
    before = files(out)
    (out / "found" / "2.json").unlink()
    (out / "overlays" / "3.jpg").unlink()
    assert predicted(photos, run_folder, out) == 0
    after = files(out)
    assert after.keys() == before.keys()
    again = {name for name in before if after[name] != before[name]} - {"problems.jsonl"}
    kinds = (("masks", "png"), ("overlays", "jpg"), ("found", "json"))
    assert again == {f"{kind}/{name}.{suffix}" for kind, suffix in kinds for name in "23"}
    assert "2 photos labelled" in capsys.readouterr().out


def test_another_model_or_setting_does_not_fill_the_same_folder(
    photos, run_folder, tmp_path
) -> None:
    out = tmp_path / "out"
    predicted(photos, run_folder, out)
    with pytest.raises(ValueError, match="made with another longest: give another folder"):
        predicted(photos, run_folder, out, "--longest", "32")
    with pytest.raises(ValueError, match="made with another made by, model, settings of tags"):
        predicted(photos, run_folder, out, "--from-tags")


def test_only_bad_photos_give_status_one(photos, run_folder, tmp_path) -> None:
    assert predicted(photos / "empty.png", run_folder, tmp_path / "out") == 1
    assert len((tmp_path / "out" / "problems.jsonl").read_text().splitlines()) == 1


def test_files_patterns_and_folders_name_photos(photos, run_folder, tmp_path) -> None:
    assert [one.id for one in gather([str(photos / "*.jpg")])] == [
        "0", "1", "2", "3", "broken", "turned",
    ]  # fmt: skip
    deep = gather([str(photos / "**" / "*.png")])
    assert [one.id for one in deep] == ["empty", "inner/deep/4"]
    both = gather([str(photos / "0.jpg"), str(photos)])
    assert len(both) == 8
    write_photo(photos / "0.png", 9)
    assert {one.id for one in gather([str(photos)])} >= {"0", "0.png"}
    inside = photos / "out"
    predicted(photos / "1.jpg", run_folder, inside)
    assert len(gather([str(photos)], without=inside)) == 9


def test_a_pattern_does_not_lead_out_of_the_folder_of_outputs(photos) -> None:
    with pytest.raises(ValueError, match=r"put \.\. in front of the first \*"):
        gather([str(photos / "*" / ".." / ".." / photos.name / "*.jpg")])
    assert gather([str(photos / "inner" / ".." / "*.jpg")])[0].id == "0"


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_threads_is_at_least_one(photos, run_folder, tmp_path, number, capsys) -> None:
    with pytest.raises(SystemExit):
        predicted(photos, run_folder, tmp_path / "out", f"--workers={number}")
    assert f"'{number}' is no number from 1 on" in capsys.readouterr().err


def test_names_that_find_nothing_or_collide_are_told(photos, tmp_path) -> None:
    for name in (tmp_path / "none.jpg", tmp_path / "*.jpg", photos / "inner" / "x*"):
        with pytest.raises(FileNotFoundError, match="names no photo"):
            gather([str(name)])
    write_photo(tmp_path / "other" / "0.jpg", 1)
    with pytest.raises(ValueError, match=r"would both be called '0'.*a folder that holds both"):
        gather([str(photos / "0.jpg"), str(tmp_path / "other" / "0.jpg")])


def test_a_folder_without_model_and_wrong_flags_are_told(photos, run_folder, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder: name runs/NAME"):
        predicted(photos, tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="neither a run nor a model folder"):
        predicted(photos, tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="--tag and --background belong to --from-tags"):
        predicted(photos, run_folder, tmp_path / "out", "--tag", "0.3")
    with pytest.raises(ValueError, match="--longest belongs to the network"):
        predicted(photos, run_folder, tmp_path / "out", "--from-tags", "--longest", "99")
    for wrong in (["--tag", "2"], ["--longest", "0"], ["--model", "x"]):
        with pytest.raises(SystemExit):
            predicted(photos, run_folder, tmp_path / "out", *wrong)
    assert not (tmp_path / "out").exists()


def test_a_run_without_network_points_to_tags(photos, run_folder, tmp_path) -> None:
    (run_folder / "segment").unlink()
    with pytest.raises(ValueError, match=r"no segmentation network.*--from-tags"):
        predicted(photos, run_folder, tmp_path / "out")
    assert predicted(photos, run_folder, tmp_path / "out", "--from-tags") == 0


def test_masks_of_predicted_tags(photos, run_folder, tmp_path) -> None:
    out = tmp_path / "out"
    assert predicted(photos, run_folder, out, "--from-tags", "--tag", "0.0") == 0
    model = Model.load(run_folder, device="cpu", precision="float32")
    label, said = read_label(out / "masks" / "0.png"), found(out, "0")
    tags = model.tags(photos / "0.jpg")
    assert said["tags"] == {name: pytest.approx(share, abs=1e-3) for name, share in tags.items()}
    assert set(np.unique(label)) <= {0, 1, 2, 3}
    none = tmp_path / "none"
    assert predicted(photos, run_folder, none, "--from-tags", "--tag", "1") == 0
    assert found(none, "0")["tags"] == {}
    assert read_label(none / "masks" / "0.png").max() == 0


def test_a_background_score_of_one_leaves_nothing(photos, run_folder, tmp_path) -> None:
    more = ("--from-tags", "--tag", "0", "--background", "1")
    predicted(photos, run_folder, tmp_path / "out", *more)
    assert read_label(tmp_path / "out" / "masks" / "0.png").max() == 0


def test_tiles_cover_an_axis_once() -> None:
    for length in (1, 1024, 1025, 1920, 1921, 4032, 5000):
        parts = tiles(length)
        assert parts[0][1] == 0
        assert parts[-1][2] == length
        assert all(a[2] == b[1] for a, b in pairwise(parts))
        for start, first, last in parts:
            assert 0 <= start <= first < last <= min(start + 1024, length)
            if len(parts) > 1:
                assert start + 1024 <= length
        for a, b in pairwise(parts):
            assert a[0] + 1024 - b[0] >= 128


def test_tiles_give_what_the_whole_photo_gives_where_context_is_local(
    run_folder, monkeypatch
) -> None:
    """A network of local operations alone: away from seams its labels know nothing of tiles."""
    model = Model.load(run_folder, device="cpu", precision="float32")
    head = model.segmenter.head
    torch.nn.init.zeros_(head.grm.gamma)  # no reasoning over the whole photo
    torch.nn.init.zeros_(head.plain.decoder.context.weight)  # and no mean of it
    images = torch.tensor(pixels(7, (160, 208))).permute(2, 0, 1)[None].contiguous()
    whole = look(model.segmenter, images)
    monkeypatch.setattr(looking, "LIMIT", 160 * 207)
    monkeypatch.setattr(looking, "TILE", 128)
    monkeypatch.setattr(looking, "OVERLAP", 96)
    tiled = look(model.segmenter, images)
    assert len(looking.tiles(208)) > 1
    assert (whole.labels == tiled.labels).float().mean() > 0.97
    assert torch.allclose(whole.scores, tiled.scores, atol=0.1)


def test_a_shrunk_photo_is_labelled_at_its_own_size(run_folder) -> None:
    model = Model.load(run_folder, device="cpu", precision="float32")
    image = pixels(8, (96, 128))
    label = model.predict(image, longest=64)
    assert label.shape == (96, 128)
    small = model.predict(np.asarray(Image.fromarray(image).resize((64, 48))))
    assert (label[::2, ::2] == small).mean() > 0.8
    assert (model.predict(image, longest=128) == model.predict(image)).all()


def test_photos_of_one_size_travel_together(tmp_path) -> None:
    sizes = [(16, 16), (16, 24)] * 6
    named = [
        OwnPhoto(str(at), write_photo(tmp_path / f"{at}.png", at, size))
        for at, size in enumerate(sizes)
    ]
    problems: list[str] = []
    lost = OwnPhoto("lost", tmp_path / "lost.png")
    batches = list(
        in_batches(
            [*named, lost], pixels=3 * 256, workers=2, report=lambda one, why: problems.append(why)
        )
    )
    assert sorted(one.id for group, _ in batches for one in group) == sorted(p.id for p in named)
    for group, images in batches:
        assert len(group) == len(images) <= 3
        for photo, image in zip(group, images, strict=True):
            assert (image == read_photo(photo.path)).all()
    assert max(len(group) for group, _ in batches) == 3
    assert "lost.png" in problems[0]


def test_photos_of_rare_sizes_do_not_pile_up(tmp_path) -> None:
    named = [
        OwnPhoto(str(at), write_photo(tmp_path / f"{at}.png", at, (16, 16 + at)))
        for at in range(30)
    ]
    taken: list[str] = []

    def source():
        for one in named:
            taken.append(one.id)
            yield one

    batches = in_batches(source(), pixels=512, workers=1, report=lambda one, why: None)
    next(batches)
    assert len(taken) < 20
    assert sum(len(group) for group, _ in batches) == 29


def test_an_overlay_leaves_the_background_alone() -> None:
    table = ClassTable.of_names("t", ["a", "Ωmega"])
    image, label = pixels(3, (8, 8)), np.zeros((8, 8), np.uint8)
    label[2:4] = 2
    mask = Image.fromarray(label)
    mask.putpalette(table.palette())
    painted = np.asarray(overlay(image, mask))
    assert (painted[4:] == image[4:]).all()
    assert (painted[2:4] != image[2:4]).any()
    assert legend(table).size[1] > 60


def test_large_photos_are_pointed_out(photos, run_folder, tmp_path, capsys) -> None:
    write_photo(tmp_path / "large" / "x.jpg", 1, (200, 240))
    predicted(tmp_path / "large", run_folder, tmp_path / "out")
    assert "--longest 64 may well label them better" in capsys.readouterr().err


def test_the_parser_knows_what_the_command_reads() -> None:
    asked = predict._parser().parse_args(["x", "--run", "r", "--debug"])
    assert isinstance(asked, Namespace)
    assert asked.out == Path("predictions")
