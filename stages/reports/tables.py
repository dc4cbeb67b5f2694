"""Rows of the page's tables."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from data.manifest import Manifest
from stages.reports.artifacts import Run

EXAMPLES = 4


def stage_rows(run: Run, trusted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Seconds, bytes, peak memory and key of each stage; `trusted` ones carry a notice."""
    return [
        {
            "stage": name,
            "seconds": artifact.manifest.get("seconds"),
            "bytes": artifact.manifest.get("bytes"),
            "peak_memory_bytes": artifact.manifest.get("peak_memory_bytes"),
            "files": len(artifact.manifest.get("files", ())) or None,
            "key": artifact.manifest.get("key"),
            "trusted": name in trusted or name in artifact.recipe.get("trusted", ()),
            "config": artifact.config,
        }
        for name, artifact in run.artifacts.items()
    ]


def step_rows(run: Run) -> list[dict[str, Any]]:
    """mIoU on train of what the labels were on their way; none where labels are all."""
    quality = run.json("inspect", "quality.json")
    steps = quality.get("steps", [])
    raw = [{"shown": "raw activation maps", "miou": quality["miou_cam"]}] if steps else []
    rows = [*raw, *steps]
    before = [None, *(row["miou"] for row in rows)]
    return [
        {
            "step": row["shown"],
            "miou": row["miou"],
            "gain": None if None in (row["miou"], last) else row["miou"] - last,
        }
        for row, last in zip(rows, before, strict=False)
    ]


def problem_rows(run: Run) -> list[dict[str, Any]]:
    """Bad input by kind, most frequent first: how many files, what became of them, examples."""
    kinds: dict[tuple[str, str, bool], list[dict[str, Any]]] = defaultdict(list)
    for stage in ("index", "masks"):
        for line in run.lines(stage, "problems.jsonl"):
            kinds[stage, str(line.get("problem")), bool(line.get("used"))].append(line)
    rows = [
        {
            "stage": stage,
            "problem": problem,
            "used": used,
            "count": len(lines),
            "examples": [
                {"path": str(line.get("path")), "reason": str(line.get("reason"))}
                for line in lines[:EXAMPLES]
            ],
        }
        for (stage, problem, used), lines in kinds.items()
    ]
    return sorted(rows, key=lambda row: (-row["count"], row["stage"], row["problem"]))


def class_rows(run: Run, manifest: Manifest) -> list[dict[str, Any]]:
    """One row a class, background first: tags, AP, areas, and IoU of labels and networks."""
    quality = run.json("inspect", "quality.json")
    precision = run.json("classify", "scores.json").get("ap", {})
    areas = quality.get("areas", {})
    labels = quality.get("scores", {}).get("classes", {})
    edges = quality.get("boundary_iou", {})
    network = run.json("evaluate", "scores.json").get("classes", {})
    bound = run.json("evaluate-masks", "scores.json").get("classes", {})
    tagged = dict.fromkeys(manifest.classes.names, 0)
    for photo in manifest.split("train"):
        for name in photo.tags:
            tagged[name] += 1
    return [
        {
            "class": name,
            "tagged": tagged.get(name),
            "never_painted": areas.get(name, {}).get("never_painted"),
            "area_median": (areas.get(name, {}).get("area_quantiles") or [None] * 5)[2],
            "ap": precision.get(name),
            "labels_iou": labels.get(name, {}).get("iou"),
            "labels_precision": labels.get(name, {}).get("precision"),
            "labels_recall": labels.get(name, {}).get("recall"),
            "labels_false_positives": labels.get(name, {}).get("false_positives"),
            "labels_false_negatives": labels.get(name, {}).get("false_negatives"),
            "labels_boundary_iou": edges.get(name),
            "network_iou": network.get(name, {}).get("iou"),
            "bound_iou": bound.get(name, {}).get("iou"),
        }
        for name in ("background", *manifest.classes.names)
    ]
