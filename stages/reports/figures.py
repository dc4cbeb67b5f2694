"""The numbers at the head of the page, and what its charts and matrices show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from knowledge.graph import ClassGraph
from stages.reports.artifacts import Run
from stages.reports.charts import Chart, Mark, Series, line_chart
from stages.reports.paint import Picture, matrix_picture

LABELS, NETWORK, TAGS = "Labels, made from tags", "Network, on photos without tags", "Tags"
MOST_NAMED = 26
"""Classes up to which a matrix carries their names."""
FEWEST, FEWEST_A_CLASS = 30, 3
"""Photos, and photos a class, below which a score is chance and the page says so."""


@dataclass(frozen=True)
class Matrix:
    """A drawn matrix: rows and columns in the order of `names`."""

    title: str
    note: str
    names: tuple[str, ...]
    """Empty where there are too many to write beside the rows."""
    picture: Picture


def headline(run: Run) -> dict[str, dict[str, Any]]:
    """name -> {"label", "value" (0..1 or None), "note", "kind", "group"} in the order of the page.

    Every score of a labelling with ignored pixels comes with its coverage, and every network with
    what calling everything background would have scored.
    """
    found: dict[str, dict[str, Any]] = {}
    quality = run.json("inspect", "quality.json")
    if quality:
        found |= _of_labels(quality, walked=_walked(run))
    found |= _of_networks(run)
    tags = run.json("classify", "scores.json")
    if tags:
        note = f"mean AP over classes on {tags.get('split', 'val')}"
        note += f", {tags['photos']} photos" if "photos" in tags else ""
        note += caution(tags.get("photos"), len(tags.get("ap", ())))
        found["map"] = _figure("Classifier", tags.get("map"), note, "minor", TAGS)
    return found


def caution(photos: int | None, classes: int) -> str:
    """What a note adds where a score over `photos` photos of `classes` classes means nothing."""
    if photos is None or photos >= max(FEWEST, FEWEST_A_CLASS * classes):
        return ""
    return f" (too few for {classes} classes: this figure means nothing)"


def _of_networks(run: Run) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    supervised = run.config("segment").get("labels") == "masks"
    for stage, name, bound in (
        ("evaluate", "network", supervised),
        ("evaluate-masks", "upper_bound", True),
    ):
        scores = run.json(stage, "scores.json")
        if not scores:
            continue
        label = "Upper bound: fully supervised" if bound else "Network"
        note = scores.get("reason") or f"mIoU on val, {scores.get('images', 'all')} photos"
        if scores.get("miou") is not None:
            note += caution(scores.get("images"), len(scores.get("classes", ())))
        note += "; trained on masks, not a result of learning from tags" if bound else ""
        kind = "bound" if bound else "main"
        found[name] = _figure(label, scores.get("miou"), note, kind, NETWORK)
        if name == "network":
            said = f"all background, mIoU on val, {scores.get('images', 'all')} photos"
            value = scores.get("miou_all_background")
            trivial = _figure("Trivial labelling", value, said, "floor", NETWORK)
    return {**found, "trivial": trivial} if "network" in found else found


def _walked(run: Run) -> bool:
    """Whether no label was cut from raw maps: all were made of what a walk left of them."""
    return "walk" in run or ("spread" in run and "labels-first" not in run)


def _of_labels(quality: Mapping[str, Any], *, walked: bool) -> dict[str, dict[str, Any]]:
    place = "before the walk" if walked else "as the labels"
    scored = quality["photos_with_mask"]
    where = f"mIoU on train, {scored} photos with a mask"
    where += caution(scored, len((quality.get("scores") or {}).get("classes", ())))
    if not scored:
        where = "no train photo has a mask: not scored"
    covered, filled = quality["miou_covered"], quality["miou_ignored_as_background"]
    note = f"{where}; complete labelling, before the ignore band"
    if covered is not None:
        note += (
            f". Of the labels with ignored pixels: coverage {100 * quality['coverage']:.1f} %, "
            f"{100 * covered:.1f} over covered pixels, {100 * filled:.1f} with ignored pixels as "
            "background"
        )
    found = {
        "labels": _figure("Pseudo-labels", quality["miou"], note, "main", LABELS),
        "cam": _figure(
            "Raw CAM",
            quality["miou_cam"],
            f"mIoU on train, {scored} photos, at background score {quality['threshold']:.3f}, "
            f"{place}: {quality['threshold_chosen']}",
            "minor",
            LABELS,
        ),
    }
    if scored:
        note = f"all background, mIoU on train, {scored} photos; filled with the first tag: "
        note += f"{100 * quality['miou_first_tag']:.1f}"
        value = quality["miou_all_background"]
        found["trivial_labels"] = _figure("Trivial labelling", value, note, "floor", LABELS)
    return found


def _figure(label: str, value: float | None, note: str, kind: str, group: str) -> dict[str, Any]:
    return {"label": label, "value": value, "note": note, "kind": kind, "group": group}


def charts(run: Run) -> list[Chart]:
    """Training curves and, where there are masks, what thresholds and coverage would have meant."""
    found = [_sweep(run), _coverage(run)]
    for stage, name in (
        ("classify", "classifier"),
        ("segment", "network"),
        ("segment-masks", "upper bound"),
    ):
        series = _losses(run.lines(stage, "metrics.jsonl"))
        title = f"Training of the {name}"
        found.append(line_chart(series, title=title, across="epoch", up="loss"))
    return [chart for chart in found if chart is not None]


def _losses(lines: Sequence[Mapping[str, Any]]) -> list[Series]:
    """One line a phase of the training, epochs counted on from phase to phase."""
    phases: dict[int, list[tuple[float, float]]] = {}
    for epoch, line in enumerate(lines, start=1):
        phases.setdefault(int(line["phase"]), []).append((float(epoch), float(line["loss"])))
    name = "loss" if len(phases) == 1 else "loss, phase {}"
    return [
        Series(name.format(phase), [x for x, _ in points], [y for _, y in points])
        for phase, points in phases.items()
    ]


def _sweep(run: Run) -> Chart | None:
    quality = run.json("inspect", "quality.json")
    if "curves" not in quality:
        return None
    curves = quality["curves"]
    marks = [Mark("best, chosen with masks", quality["threshold_best"], quality["miou_cam_best"])]
    if quality["miou_cam"] is not None:
        used = "chosen without masks" if _walked(run) else "used for the labels"
        marks.insert(0, Mark(used, quality["threshold"], quality["miou_cam"]))
    return line_chart(
        [Series("raw CAM", curves["threshold"], curves["miou_cam"])],
        title="Raw CAM by background score (diagnostic, looks at masks)",
        across="background score",
        up="mIoU, train",
        marks=marks,
    )


def _coverage(run: Run) -> Chart | None:
    quality = run.json("inspect", "quality.json")
    if "curves" not in quality:
        return None
    curves = quality["curves"]
    used = (quality["coverage_scored"], quality["miou_covered"])
    return line_chart(
        [Series("by confidence", curves["coverage"], curves["miou_at_coverage"])],
        title="Pseudo-labels by coverage (diagnostic, looks at masks)",
        across="coverage: share of pixels kept, most confident first",
        up="mIoU over them, train",
        marks=[Mark("the ignore band in use", *used)] if used[1] is not None else [],
    )


def matrices(run: Run) -> list[Matrix]:
    """The class graph, and which class the labelling takes for which where there are masks."""
    found = []
    if "graph" in run:
        graph = ClassGraph.load(run.artifacts["graph"].path)
        relation = graph.card.get("relation", "not recorded")
        off = graph.adjacency * (1 - np.eye(len(graph.names), dtype=np.float32))
        note = f"relation: {relation}; row: the class that receives; the diagonal is left out"
        found.append(_matrix("Class graph", note, graph.names, off.astype(np.float32)))
    quality = run.json("inspect", "quality.json")
    if "confusion" in quality:
        counts = np.array(quality["confusion"], np.float64)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        names = tuple(quality["scores"]["classes"])
        note = "row: what the mask says; column: what the pseudo-label says; share of the row"
        found.append(_matrix("Confusion", note, names, shares.astype(np.float32)))
    return found


def _matrix(
    title: str, note: str, names: tuple[str, ...], values: Float32[np.ndarray, "r c"]
) -> Matrix:
    alt = f"{title}: {len(names)} by {len(names)} matrix, strongest cells in the table beside it"
    kept = names if len(names) <= MOST_NAMED else ()
    return Matrix(title, note, kept, matrix_picture(values, alt))


def confusions(run: Run, most: int = 12) -> list[dict[str, Any]]:
    """The largest wrong cells of the confusion: true class, painted class, share of the true."""
    quality = run.json("inspect", "quality.json")
    if "confusion" not in quality:
        return []
    counts = np.array(quality["confusion"], np.int64)
    names = list(quality["scores"]["classes"])
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(place), len(counts)) for place in order]
    return [
        {
            "true": names[true],
            "painted": names[painted],
            "pixels": int(counts[true, painted]),
            "share": float(counts[true, painted] / counts[true].sum()),
        }
        for true, painted in cells
        if counts[true, painted]
    ]
