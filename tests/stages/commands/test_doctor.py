"""The check before a run: it names what is wrong, knows the protocol's counts, and forecasts."""

import json
import sys
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

import run_pipeline
from data.findings import Finding
from pipeline.context import Context
from pipeline.key import places
from pipeline.memory import peak_bytes
from pipeline.settings import changed
from run_pipeline import advice, build, meant
from stages.commands.doctor import Case, examine, look
from stages.recipes import RECIPES
from tests.broken import FAULTS, Fault, healthy
from tests.program import Program

SCRATCH = ["--classify.weights", "scratch", "--classify.no-frozen-norm"]


def case(recipe: str, *flags: str, probe: bool = False, until: str | None = None) -> Case:
    """What the command makes of these flags."""
    settings = changed(RECIPES[recipe], flags)
    pipeline = build(settings)
    wanted = pipeline.select(until=until).names
    found: dict[str, Path] = {}
    for stage in pipeline.stages.values():
        found |= places(stage.section, stage.config)
    stages = [pipeline.stage(name) for name in pipeline.order if name in wanted]
    context = Context("cpu", "float32", places=found)
    return Case(settings, recipe, stages, Path("runs"), context, peak_bytes, probe)


def found(one: Case, folder: Path) -> list[Finding]:
    return examine(one, folder / "work")[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_with_what_to_do(fault: Fault, tmp_path: Path) -> None:
    root = healthy(tmp_path / "data")
    more = fault.make(root)
    flags = [] if "--dataset.root" in more else ["--dataset.root", str(root)]
    (tmp_path / "work").mkdir()
    findings = found(
        case(fault.recipe, *flags, *SCRATCH * (fault.code != "weights"), *more), tmp_path
    )
    named = [one for one in findings if one.code == fault.code and one.level == fault.level]
    assert any(fault.said in one.text for one in named), findings
    assert all(": " in one.text or ";" in one.text for one in named)
    others = {one.code for one in findings if one.level == "error"} - {fault.code}
    assert not others


def test_there_are_twenty_faults_and_more_each_of_its_own() -> None:
    assert len({fault.make for fault in FAULTS}) == len(FAULTS) >= 20


def test_a_healthy_data_set_prevents_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = healthy(tmp_path / "data")
    one = case("voc-cpu", "--dataset.root", str(root), *SCRATCH)
    (tmp_path / "work").mkdir()
    odd = [f for f in found(one, tmp_path) if f.level in ("warning", "error")]
    assert {f.code for f in odd} <= {"class-without-photo", "few-photos", "small"}
    assert look(one, as_json=False) == 0
    assert "nothing prevents this run" in capsys.readouterr().out


def test_status_one_where_a_run_is_prevented(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = case("voc-cpu", "--dataset.root", str(tmp_path / "nowhere"), *SCRATCH)
    assert look(one, as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ready"] is False
    assert said["forecast"] is None
    assert [f["code"] for f in said["findings"] if f["level"] == "error"] == ["index"]


def test_every_checksum_of_the_voc_lists_is_reproduced(shared: Path, tmp_path: Path) -> None:
    gt = shared / "transcam-voc12-train" / "gt"
    flags = ["--dataset.root", str(shared / "voc12-lists"), "--masks.root", str(gt)]
    by_code = {f.code: f for f in found(case("voc-cpu", *flags, *SCRATCH), tmp_path)}
    expected = {"train-photos": 1464, "val-photos": 1449, "test-photos": 1456}
    expected |= {"train_aug-photos": 10582, "train_aug-tags": 16458, "train-tags": 2171}
    expected |= {"val-tags": 2147, "all-photos": 12031, "all-tags": 18605, "train_aug-most": 6}
    expected |= {"train-in-train_aug": 0, "val-and-train_aug": 0, "train_aug-person": 4155}
    expected |= {"train_aug-cow": 267, "masks-photos": 1464, "masks-pixels": 248127236}
    assert {code: by_code[code].found for code in expected} == expected
    assert by_code["masks-background"].found == pytest.approx(0.0349, abs=5e-5)
    counted = [f for f in by_code.values() if f.expected is not None]
    assert len(counted) == 32 + 3
    assert {f.level for f in counted} == {"ok"}
    assert [f.code for f in by_code.values() if f.level == "error"] == ["no-photos"]


def test_every_checksum_of_the_coco_lists_is_reproduced(shared: Path, tmp_path: Path) -> None:
    root = shared / "coco14-lists"
    counted = [
        f
        for f in found(case("coco-cpu", "--dataset.root", str(root)), tmp_path)
        if f.expected is not None
    ]
    assert {f.code: f.found for f in counted} == {
        "train2014-photos": 82081,
        "train2014-tags": 235348,
        "train2014-most": 18,
        "train2014-person": 45061,
        "train2014-hair drier": 128,
        "val2014-photos": 40137,
        "val2014-tags": 113748,
        "val2014-most": 15,
        "train-and-val": 0,
    }
    assert {f.level for f in counted} == {"ok"}


def test_a_part_of_voc_is_said_to_be_one(shared: Path, tmp_path: Path) -> None:
    root = shared / "voc-mini" / "VOC2012"
    (tmp_path / "work").mkdir()
    findings = found(case("voc-cpu", "--dataset.root", str(root), *SCRATCH), tmp_path)
    by_code = {f.code: f for f in findings}
    assert (by_code["train-photos"].found, by_code["train-photos"].expected) == (311, 1464)
    assert (by_code["val-photos"].found, by_code["val-photos"].expected) == (160, 1449)
    assert by_code["photos"].found == by_code["masks"].found == 471
    assert all(f.level != "error" for f in findings)


def test_the_layout_means_a_recipe(shared: Path, tmp_path: Path) -> None:
    told = {"voc12-lists": "voc-cpu", "coco14-lists": "coco-cpu", "voc-mini/VOC2012": "voc-cpu"}
    told |= {"coco-tiny": "coco-cpu", "ccp-mini": "folder"}
    for name, recipe in told.items():
        assert meant(["--dataset.root", str(shared / name)]) == recipe
    assert meant([f"--dataset.root={shared / 'coco-tiny'}"]) == "coco-cpu"
    assert meant(["--dataset.root", str(tmp_path / "nowhere")]) == "folder"
    assert meant(["--labels.power", "2"]) is None


def test_the_demo_is_rehearsed_and_forecast(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    findings, cost = examine(case("demo", probe=True, until="evaluate"), tmp_path / "work")
    assert not [f for f in findings if f.level == "error"]
    assert cost is not None
    names = [one.stage for one in cost.stages]
    assert names == ["index", "masks", "graph", "classify", "cams", "labels", "segment", "evaluate"]
    assert cost.photos == 20
    assert all(one.seconds > 0 for one in cost.stages)
    assert cost.seconds > sum(one.seconds for one in cost.stages[:3])
    assert cost.bytes > 100_000
    assert cost.memory > 100_000_000
    assert {"disk", "memory"} <= {f.code for f in findings}


def test_the_forecast_ends_where_the_run_does(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    findings, cost = examine(case("demo", probe=True, until="classify"), tmp_path / "work")
    assert cost is not None
    assert [one.stage for one in cost.stages] == ["index", "graph", "classify"]
    assert "masks" in {f.code for f in findings}  # they are looked at all the same


def test_weights_that_saw_the_masks_are_named_before_the_run(tmp_path: Path) -> None:
    root, path = healthy(tmp_path / "data"), tmp_path / "w.safetensors"
    state = timm.create_model("test_resnet").state_dict()
    save_file(dict(state), path, metadata={"supervision": "ImageNet labels + VOC masks"})
    (tmp_path / "work").mkdir()
    flags = ["--classify.backbone", "test_resnet", "--classify.weights", "file"]
    one = case("voc-cpu", "--dataset.root", str(root), *flags, "--classify.weights-file", str(path))
    (error,) = [f for f in found(one, tmp_path) if f.level == "error"]
    assert error.code == "weights"
    assert "classify: the initial weights w.safetensors were supervised by" in error.text


SURPRISES = [
    ("stages.graph.run", MemoryError("Unable to allocate 67.6 GiB"), "graph fails on"),
    ("stages.graph.run", IndexError("list index out of range"), "IndexError: list index"),
    ("stages.index.run", MemoryError(), "the memory does not suffice (MemoryError"),
    ("stages.masks.run", RuntimeError("can't allocate memory"), "the memory does not suffice"),
    ("stages.commands.doctor.few_enough", RuntimeError("CUDA out of memory"), "be rehearsed"),
]


@pytest.mark.parametrize(("place", "error", "text"), SURPRISES)
def test_what_nobody_foresaw_is_a_finding_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, text: str
) -> None:
    def surprise(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(place, surprise)
    (tmp_path / "work").mkdir()
    findings, _ = examine(case("demo", probe=True, until="graph"), tmp_path / "work")
    (one,) = [f for f in findings if f.level == "error"]
    assert text in one.text
    if not isinstance(error, IndexError):
        assert "close programs, lower --workers" in one.text


def test_the_command_of_the_program(tmp_path: Path) -> None:
    root = healthy(tmp_path / "data")
    program = Program(tmp_path / "runs")
    said = program.run("doctor", "--dataset.root", str(root), "--dry-run", *SCRATCH).stdout
    assert said.startswith("recipe voc-cpu")
    assert "6 photos to train on, 2 to score" in said
    assert not (tmp_path / "runs").exists()
    document = json.loads(
        program.run("doctor", "--dataset.root", str(root / "x"), "--json", *SCRATCH, code=1).stdout
    )
    assert document["ready"] is False
    assert "each finding says what to do" in advice()


def test_doctor_is_no_command_with_arguments_of_its_own() -> None:
    assert "doctor" not in run_pipeline.COMMANDS


@pytest.mark.parametrize("flag", ["--only", "--until"])
def test_a_part_of_the_run_is_rehearsed_from_its_beginning(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(case: Case, *, as_json: bool) -> int:
        seen.extend(stage.name for stage in case.stages)
        return 0

    monkeypatch.setattr("stages.commands.doctor.look", note)
    monkeypatch.setattr(sys, "argv", ["x", "doctor", flag, "labels", "--runs", str(tmp_path)])
    assert run_pipeline.main() == 0
    assert seen == ["index", "graph", "classify", "cams", "labels"]
