"""The model card: what a network is, where it comes from and how good it is, in Markdown."""

import json
from collections.abc import Mapping
from typing import Any

from data.labels import label_type
from stages.reports.artifacts import Run
from stages.reports.figures import headline
from stages.reports.ledger import ledger

USE = """```python
from stages.model import Model

model = Model.load("{name}")
labels = model.predict("photo.jpg")  # {kind}, height x width: 0 background, 1..{classes} classes
```

`model.tags("photo.jpg")` gives the probability of every class, and
`python run_pipeline.py predict PHOTOS --model {name}` labels whole folders. Weights are
safetensors, all else is JSON: nothing is unpickled.
"""


def model_card(run: Run, document: Mapping[str, Any]) -> str:
    """The text of MODEL_CARD.md; `document` is what model.json holds."""
    classes = len(document["classes"]) - 1
    parts = [
        f"# {_text(document['name'])}",
        _what(run, document),
        "## Use",
        USE.format(name=document["name"], classes=classes, kind=label_type(classes)).strip(),
        *_onnx(document),
        "## Scores",
        _scores(run),
        "## Supervision",
        _supervision(run),
        "## Classes",
        ", ".join(f"{at} {_text(name)}" for at, name in enumerate(document["classes"])),
        "## Input",
        *(_table({"network": part, **said}) for part, said in document["preprocessing"].items()),
        "## Limits",
        _limits(document),
        "## Card",
        _table(document["card"]),
    ]
    return "\n\n".join(parts) + "\n"


def _what(run: Run, document: Mapping[str, Any]) -> str:
    kinds = {
        "segment": f"a segmentation network (head {run.config('segment').get('head', 'unknown')})",
        "classify": "a multi-label classifier with class activation maps",
    }
    has = " and ".join(kinds[part] for part in document["parts"])
    return f"{has[0].upper()}{has[1:]}, made with Tagmask from photos with image-level tags."


def _onnx(document: Mapping[str, Any]) -> list[str]:
    lines = []
    for said in document["onnx"].values():
        worst = said["largest_difference"]
        checked = "not compared" if worst is None else f"largest difference {worst:.1g}"
        outputs = ", ".join(f"`{name}`" for name in said["outputs"])
        lines.append(f"- `{said['file']}`: {said['input']}; gives {outputs}; {checked}")
    return ["\n".join(lines)] if lines else []


def _scores(run: Run) -> str:
    rows = [
        f"| {_text(one['label'])} | {_percent(one['value'])} | {_text(one['note'])} |"
        for one in headline(run).values()
    ]
    if not rows:
        return "None: this run was not scored."
    return "\n".join(["| of | percent | what |", "|---|---|---|", *rows])


def _supervision(run: Run) -> str:
    used = ledger(run)
    counts = {
        "masks used for training": used.training,
        "masks used for choosing settings": used.choosing,
        "masks used for scoring": used.scoring,
        "training photos, with tags": len(
            [line for line in run.lines("index", "manifest.jsonl") if line["split"] == "train"]
        ),
    }
    return "\n".join(
        f"- {name}: {'not recorded' if count is None else count}" for name, count in counts.items()
    )


def _limits(document: Mapping[str, Any]) -> str:
    side = document["longest"]
    seen = "" if side is None else f" Its training photos were about {side} pixels long:"
    return (
        f"It knows the classes above and nothing else.{seen} much larger photos are labelled "
        "better with `--longest`. Its labels were learnt from tags: borders are coarser than from "
        "drawn masks, and what always appears together may be labelled together."
    )


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {_text(name)} | {_text(_said(value))} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(value: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    line = " ".join(str(value).split())
    for sign in "\\`*_[]|#":
        line = line.replace(sign, f"\\{sign}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
