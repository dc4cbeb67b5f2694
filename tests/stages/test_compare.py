"""compare: the table, the page and the ledger, from scores as `evaluate` writes them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.labels import read_label, write_label
from stages import compare, report
from stages.compare import Arm, Config
from stages.confusion import Confusion
from stages.reports.comparison_text import count, with_spread
from tests.stages.conftest import CLASSES, TinyRun

HEADS = ("none", "grm", "sgr")
SEEDS = (0, 1, 2)
SHIFTS = {
    ("none", 0): 4,
    ("none", 1): 5,
    ("none", 2): 6,
    ("grm", 0): 3,
    ("grm", 1): 4,
    ("grm", 2): 5,
}
"""How far the predictions of an arm miss, in pixels: grm by one less than none, seed by seed."""


@pytest.fixture
def compared(tiny_run: TinyRun) -> TinyRun:
    """The tiny run with arms none, grm and sgr, three seeds; upper bounds for none."""
    arms = Config(heads=HEADS, seeds=SEEDS, bound_heads=("none",)).arms(bounds=True)
    for arm in arms:
        add_arm(tiny_run, arm)
    return tiny_run


def add_arm(run: TinyRun, arm: Arm, **extra: object) -> None:
    trained_on = "masks" if arm.masks else "pseudo"
    shift = 1 if arm.masks else SHIFTS.get((arm.head, arm.seed), 7 - arm.seed)
    above = ("index", "graph", "classify", "masks" if arm.masks else "labels")

    def train(out: Path) -> None:
        (out / "model.json").write_text(json.dumps({"head": arm.head}))

    config = {"head": arm.head, "seed": arm.seed, "labels": trained_on, "lr": 0.002}
    run.add(arm.segment, above, train, **config)
    scored = ("index", "masks", "graph", "segment")
    run.add(arm.evaluate, scored, lambda out: evaluated(run, out, arm, shift, extra), arm=str(arm))


def evaluated(run: TinyRun, out: Path, arm: Arm, shift: int, extra: dict) -> None:
    """Predictions that miss the masks by `shift` pixels, with scores.json as the stage has it."""
    confusion = Confusion(len(CLASSES) + 1)
    for path in sorted((run.root / "masks").glob("photo-[678].png")):
        mask = read_label(path)
        prediction = np.roll(np.where(mask == 255, 0, mask).astype(np.uint8), shift, axis=1)
        confusion.add(mask, prediction)
        write_label(out / path.name, prediction, CLASSES)
    cost = {"none": 1.0, "grm": 1.5, "sgr": 3.0}[arm.head]
    scores = {
        **confusion.scores(("background", *CLASSES.names)),
        **{"split": "val", "definition": "mean IoU", "images": 3, "reason": None},
        "miou_all_background": confusion.trivial().miou(),
        **{"images_per_second": 10 / cost, "params": int(1e6 * cost)},
        **{"multiply_adds": int(2e9 * cost), "multiply_adds_size": [64, 48]},
        **{"peak_memory_bytes": 1 << 30, "crf": None, "oracle_tags": False},
        "trained_on": {"labels": "pseudo-labels", "photos": 6, "seed": arm.seed},
    }
    if arm.head == "sgr":
        hard = {"S_C": 0.25, "S_I": None}
        scores["regions"] = {"overlap": 0.5, "soft": {"S_C": 0.1 * (1 + arm.seed)}, "hard": hard}
        scores["variants"] = {"flip <b>": {"miou": scores["miou"] + 0.01}}  # type: ignore[operator]
    (out / "scores.json").write_text(json.dumps({**scores, **extra}))


def written(run: TinyRun, out: Path, **settings: object) -> tuple[dict, str, str]:
    """compare.json, the page and the text of a comparison of HEADS."""
    given = {"heads": HEADS, "seeds": SEEDS, "bound_heads": ("none",), **settings}
    compare.run(Config.model_validate(given), run.inputs, out, run.context)
    texts = [(out / f"compare.{kind}").read_text("utf-8") for kind in ("json", "html", "txt")]
    return json.loads(texts[0]), texts[1], texts[2]


def miou(run: TinyRun, name: str) -> float:
    return json.loads((run.inputs[name] / "scores.json").read_text())["miou"]


def test_the_table_is_what_the_scores_say(compared: TinyRun, tmp_path: Path) -> None:
    numbers, _, text = written(compared, tmp_path)
    none, grm, sgr = numbers["heads"]
    own = [miou(compared, f"evaluate-none-{seed}") for seed in SEEDS]
    assert none["miou"]["values"] == {str(seed): own[seed] for seed in SEEDS}
    assert none["miou"]["spread"] == pytest.approx(np.std(own, ddof=1))
    assert (none["difference"], grm["upper_bound"], grm["ratio"]) == (None, None, None)
    gains = [miou(compared, f"evaluate-grm-{seed}") - own[seed] for seed in SEEDS]
    assert grm["difference"]["mean"] == pytest.approx(np.mean(gains))
    assert min(gains) > 0
    assert grm["difference"]["verdict"] == "beats it"
    assert sgr["difference"]["verdict"] == "within the spread"
    bound = miou(compared, "evaluate-masks-none-1")
    assert none["ratio"]["values"]["1"] == pytest.approx(own[1] / bound)
    assert [head["multiply_adds_ratio"] for head in numbers["heads"]] == [1.0, 1.5, 3.0]
    assert grm["training_seconds"] == 1.5
    line = next(line for line in text.splitlines() if line.startswith("grm"))
    for cell in ("beats it", with_spread(grm["difference"], signed=True), "1.5 M", "3 G", "1.50"):
        assert cell in line


def test_regions_and_variants_are_shown_where_there_are_some(
    compared: TinyRun, tmp_path: Path
) -> None:
    numbers, page, _ = written(compared, tmp_path / "a")
    sgr = numbers["heads"][2]
    found = {"overlap": 0.5, "soft/S_C": pytest.approx(0.2), "hard/S_C": 0.25}
    assert sgr["regions"] == found
    assert sgr["variants"]["flip <b>"]["gain"]["mean"] == pytest.approx(0.01)
    assert 'id="regions"' in page
    assert "flip &lt;b&gt;" in page
    assert "<b>" not in page
    _, page, _ = written(compared, tmp_path / "b", heads=("none", "grm"))
    assert 'id="regions"' not in page
    assert 'id="variants"' not in page


def test_upper_bounds_are_marked_and_count_their_masks(compared: TinyRun, tmp_path: Path) -> None:
    numbers, page, _ = written(compared, tmp_path)
    assert (numbers["ledger"]["training"], numbers["ledger"]["choosing"]) == (0, 0)
    assert numbers["ledger"]["culprits"] == []
    assert numbers["ledger_bound"]["training"] == 6
    bounds = [arm for arm in numbers["arms"] if arm["upper_bound"]]
    assert [(arm["head"], arm["trained_on"]) for arm in bounds] == [("none", "masks")] * 3
    assert page.count("masks: the upper bound</td>") == 3
    assert page.count('<td class="text">pseudo-labels</td>') == 9


def test_the_page_leaves_nothing_open_and_reaches_nowhere(
    compared: TinyRun, tmp_path: Path
) -> None:
    _, page, _ = written(compared, tmp_path, title="<script>alert(1)</script>", shown=3)
    assert "<script" not in page
    links = re.findall(r"""(?:src|href|srcset|data|action)\s*=\s*["']?([^"'\s>]+)""", page)
    assert len([link for link in links if link.startswith("data:image/jpeg")]) == 3 * 5
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert page.count('<circle class="point point-1"') == len(HEADS) + 1  # and the legend's
    assert page.count('<circle class="point point-2"') == 1 + 1


def test_without_masks_it_says_why_nothing_is_scored(compared: TinyRun, tmp_path: Path) -> None:
    for seed in SEEDS:
        for head in ("none", "grm"):
            add_arm(compared, Arm(head, seed), miou=None, reason="no <mask>", images=0)
    numbers, page, text = written(compared, tmp_path, heads=("none", "grm"), bound_heads=())
    assert numbers["heads"][0]["miou"] is None
    assert "not scored: no <mask>" in text
    assert "no &lt;mask&gt;" in page


def test_heads_that_differ_in_what_matters_are_not_ranked(
    compared: TinyRun, tmp_path: Path
) -> None:
    for seed in SEEDS:
        add_arm(compared, Arm("grm", seed), oracle_tags=True)
    with pytest.raises(ValueError, match=r"none and grm cannot.*oracle tags: False and"):
        written(compared, tmp_path)


def test_a_missing_arm_is_named(compared: TinyRun, tmp_path: Path) -> None:
    lacking = replace(compared, inputs=compared.without("segment-grm-1"))
    with pytest.raises(FileNotFoundError, match="lacks segment-grm-1"):
        written(lacking, tmp_path)


def test_networks_trained_on_masks_are_called_so(tiny_run: TinyRun, tmp_path: Path) -> None:
    masks = Arm("none", 0, masks=True)
    add_arm(tiny_run, masks)
    weak = Arm("none", 0)
    tiny_run.inputs[weak.segment] = tiny_run.inputs[masks.segment]
    tiny_run.inputs[weak.evaluate] = tiny_run.inputs[masks.evaluate]
    run = replace(tiny_run, inputs=tiny_run.without(masks.segment, masks.evaluate))
    numbers, _, text = written(run, tmp_path, heads=("none",), seeds=(0,))
    assert numbers["ledger"]["training"] == 6
    assert "trained on masks: nothing is learnt from tags" in text


def test_twice_the_same_bytes(compared: TinyRun, tmp_path: Path) -> None:
    assert written(compared, tmp_path / "a") == written(compared, tmp_path / "b")


def test_arms_are_counted_on_from_a_seed_or_listed() -> None:
    counted = Config(heads=("none", "grm"), seeds=2).settled(5)
    assert counted.seeds == (5, 6)
    assert Config(seeds=(4, 0)).settled(5).seeds == (4, 0)
    names = [arm.evaluate for arm in counted.arms(bounds=False)]
    assert names == [f"evaluate-{head}-{seed}" for head in ("none", "grm") for seed in (5, 6)]
    bounds = Config(heads=("none", "grm"), seeds=2, bound_heads=("grm",), bound_seeds=1)
    found = [arm.segment for arm in bounds.settled(0).arms(bounds=True) if arm.masks]
    assert found == ["segment-masks-grm-0"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": ("none", "none")}, "heads names one twice"),
        ({"seeds": (1, 1)}, "seeds names one twice"),
        ({"seeds": ()}, "needs a number of seeds"),
        ({"seeds": 0}, "greater than 0"),
        ({"heads": ("none",), "bound_heads": ("grm",)}, "bound-heads grm is none of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(given)


@pytest.mark.parametrize(
    ("value", "said"),
    [(999, "999"), (391_000, "391 k"), (2.02e6, "2.02 M"), (2.05e10, "20.5 G"), (5e12, "5000 G")],
)
def test_counts_have_three_digits(value: float, said: str) -> None:
    assert count(value) == said
    assert count(None) == "\N{EN DASH}"


def test_no_difference_has_no_sign() -> None:
    assert with_spread({"mean": -1e-5, "spread": None}, signed=True) == "+0.0"


def test_the_templates_are_part_of_the_key() -> None:
    folder = Path(report.__file__).parent / "reports"
    named = compare.sources(Config()) | report.sources(report.Config())
    assert set(named.values()) == {*folder.glob("*.html"), *folder.glob("*.css")}
