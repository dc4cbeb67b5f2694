"""report: one self-contained page from whatever the run has, and every number of it as JSON."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stages import report

ALLOWED = {"data:", "#"}


class Page(HTMLParser):
    """Collects tags, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def reported(run, out: Path, inputs=None, **settings) -> tuple[str, Page, dict]:
    report.run(report.Config(**settings), inputs or run.inputs, out, run.context)
    text = (out / "report.html").read_text(encoding="utf-8")
    return text, Page(text), json.loads((out / "report.json").read_text())


def test_nothing_on_the_page_leaves_it(tiny_run, tmp_path: Path) -> None:
    text, page, _ = reported(tiny_run, tmp_path / "out")
    links = [
        str(attributes[name])
        for _, attributes in page.tags
        for name in ("src", "href", "action", "srcset", "data", "poster")
        if name in attributes
    ]
    assert len(links) > 20
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {
        name for name, _ in page.tags
    }
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert not [1 for _, attributes in page.tags if "style" in attributes]
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_the_one_style_and_pictures_only(tiny_run, tmp_path: Path) -> None:
    text, page, _ = reported(tiny_run, tmp_path / "out")
    policy = next(
        a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    wanted = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-" + wanted)


def test_names_are_escaped(tiny_run, tmp_path: Path) -> None:
    text, page, _ = reported(tiny_run, tmp_path / "out", title="<script>alert(1)</script>")
    assert not page.named("script")
    assert not page.named("b")
    assert not page.named("bad")
    assert "<b>odd" not in text
    assert "<b>odd & end</b>" in page.text
    assert "disc-<i>&\"'" in page.text
    assert not page.named("i")


def test_every_picture_says_what_it_shows(tiny_run, tmp_path: Path) -> None:
    _, page, _ = reported(tiny_run, tmp_path / "out")
    pictures = page.named("img")
    assert len(pictures) >= 3 * 4 * 3
    assert all(picture["alt"] for picture in pictures)
    assert all(a.get("aria-hidden") or a.get("aria-label") for a in page.named("svg"))
    assert all("scope" in cell for cell in page.named("th"))


def test_headline_card_and_ledger(tiny_run, tmp_path: Path) -> None:
    _, page, numbers = reported(tiny_run, tmp_path / "out")
    quality = json.loads((tiny_run.inputs["inspect"] / "quality.json").read_text())
    assert numbers["headline"]["labels"]["value"] == quality["miou"]
    assert "coverage" in numbers["headline"]["labels"]["note"]
    network, bound = (numbers["headline"][name]["value"] for name in ("network", "upper_bound"))
    assert numbers["headline"]["trivial"]["value"] < network < bound
    assert "fully supervised" in numbers["headline"]["upper_bound"]["label"]
    assert numbers["ledger"]["training"] == numbers["ledger"]["choosing"] == 0
    assert numbers["ledger"]["scoring"] == 9
    assert numbers["card"]["masks, train"]["value"] == f"6, sha256 {quality['masks_sha256']}"
    assert "Upper bound: fully supervised" in page.text


def test_a_network_trained_on_masks_is_called_the_upper_bound(tiny_run, tmp_path: Path) -> None:
    path = tiny_run.inputs["segment"]
    tiny_run.add(
        "segment",
        ("index", "graph", "classify", "masks"),
        lambda out: (out / "metrics.jsonl").write_bytes((path / "metrics.jsonl").read_bytes()),
        labels="masks",
    )
    inputs = tiny_run.without("segment-masks", "evaluate-masks")
    _, _, numbers = reported(tiny_run, tmp_path / "out", inputs)
    assert numbers["headline"]["network"]["label"] == "Upper bound: fully supervised"
    assert numbers["headline"]["network"]["kind"] == "bound"
    assert numbers["ledger"]["training"] == 6
    assert numbers["card"]["labels of the network"] == {"value": "masks", "matters": True}


LATER = ("evaluate", "segment-masks", "evaluate-masks", "segment", "inspect", "labels", "cams")


@pytest.mark.parametrize("left", range(len(LATER) + 1))
def test_a_run_that_stopped_early_gets_a_page(tiny_run, tmp_path: Path, left: int) -> None:
    inputs = tiny_run.without(*LATER[:left])
    _, _, numbers = reported(tiny_run, tmp_path / "out", inputs)
    assert ("network" in numbers["headline"]) == (left < 1)
    assert ("labels" in numbers["headline"]) == (left < 5)
    bare = {"index": tiny_run.inputs["index"]}
    text, _, _ = reported(tiny_run, tmp_path / "bare", bare)
    assert "Nothing is scored yet" in text


def test_without_an_index_it_says_so(tiny_run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="at least the index"):
        reported(tiny_run, tmp_path / "out", tiny_run.without("index"))


def test_the_page_stays_within_its_bound(tiny_run, tmp_path: Path) -> None:
    large, _, _ = reported(tiny_run, tmp_path / "large", thumbnail=320, quality=95)
    small, page, _ = reported(tiny_run, tmp_path / "small", megabytes=0.41)
    assert len(small) < 410_000
    assert len(small) < len(large)
    assert not page.named("img")


def test_a_trusted_stage_is_noted(tiny_run, tmp_path: Path) -> None:
    from dataclasses import replace

    context = replace(tiny_run.context, trusted=("segment",))
    report.run(report.Config(), tiny_run.inputs, tmp_path, context)
    rows = json.loads((tmp_path / "report.json").read_text())["stages"]
    assert [row["stage"] for row in rows if row["trusted"]] == ["segment"]
    assert "kept with --trust" in (tmp_path / "report.html").read_text()


def test_the_templates_are_part_of_the_key() -> None:
    named = report.sources(report.Config())
    folder = Path(report.__file__).parent / "reports"
    assert set(named.values()) == {
        folder / "report.html",
        folder / "macros.html",
        *folder.glob("*.css"),
    }


def test_twice_the_same_bytes(tiny_run, tmp_path: Path) -> None:
    first, _, _ = reported(tiny_run, tmp_path / "one")
    second, _, _ = reported(tiny_run, tmp_path / "two")
    assert first == second


def test_labels_on_their_way_have_a_table_beside_their_score(tiny_run, tmp_path: Path) -> None:
    text, _, numbers = reported(tiny_run, tmp_path / "plain")
    assert numbers["steps"] == []
    assert "Labels on their way" not in text
    path = tiny_run.inputs["inspect"] / "quality.json"
    quality = json.loads(path.read_text())
    steps = [
        {"step": name, "shown": f"<{name}>", "miou": miou}
        for name, miou in (("walk", 0.5), ("first", 0.75), ("labels", None))
    ]
    path.write_text(json.dumps(quality | {"steps": steps, "miou_cam": 0.25}))
    for name in ("walk", "labels-first", "rescore"):
        tiny_run.add(name, ("index",), lambda out: (out / "thresholds.json").write_text("{}"))
    text, page, numbers = reported(tiny_run, tmp_path / "out")
    assert [row["gain"] for row in numbers["steps"]] == [None, 0.25, 0.25, None]
    assert [row["step"] for row in numbers["steps"]] == [
        "raw activation maps",
        "<walk>",
        "<first>",
        "<labels>",
    ]
    assert text.count("Labels on their way</th>") == 1
    assert text.index("Pseudo-labels</span>") < text.index("Labels on their way")
    assert text.index("Labels on their way") < text.index("Network, on photos without tags")
    assert "&lt;first&gt;</th><td>75.0</td><td>+25.0</td>" in text
    assert "Settings of labels-first" not in text  # it has none here
    assert "labels-first" in page.text
    assert "before the walk" in numbers["headline"]["cam"]["note"]
