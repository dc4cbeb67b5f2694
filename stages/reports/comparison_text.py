"""The table of a comparison as plain text, for a terminal."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from stages.reports.render import DASH, percent

COLUMNS = (
    *("head", "mIoU", "against none", "verdict", "trained on masks", "ratio"),
    *("params", "multiply-adds", "x none", "images/s"),
)


NOTE_WIDTH = 118


def comparison_text(numbers: Mapping[str, Any]) -> str:
    """One line a head, and below it what the figures are; mIoU and differences in percent."""
    rows = [COLUMNS, *(_row(head) for head in numbers["heads"])]
    kept = [c for c in range(len(COLUMNS)) if any(row[c] != DASH for row in rows[1:])]
    widths = {c: max(len(row[c]) for row in rows) for c in kept}
    lines = ["  ".join(_cell(row, c, widths) for c in kept).rstrip() for row in rows]
    notes = [line for note in _notes(numbers) for line in wrap(note, NOTE_WIDTH)]
    return "\n".join([*lines, "", *notes]) + "\n"


def _cell(row: Sequence[str], column: int, widths: Mapping[int, int]) -> str:
    text = row[column]
    return text.ljust(widths[column]) if column in (0, 3) else text.rjust(widths[column])


def _row(head: Mapping[str, Any]) -> tuple[str, ...]:
    difference = head["difference"]
    ratio, speed = head["multiply_adds_ratio"], head["images_per_second"]
    return (
        head["head"],
        with_spread(head["miou"]),
        with_spread(difference, signed=True),
        difference["verdict"] if difference else DASH,
        with_spread(head["upper_bound"]),
        f"{head['ratio']['mean']:.3f}" if head["ratio"] else DASH,
        count(head["params"]),
        count(head["multiply_adds"]),
        DASH if ratio is None else f"{ratio:.2f}",
        DASH if speed is None else f"{speed:.1f}",
    )


def _notes(numbers: Mapping[str, Any]) -> list[str]:
    arms = [arm for arm in numbers["arms"] if not arm["upper_bound"]]
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(arm["seed"] for arm in arms))
    notes = [
        f"mIoU on val in percent, {numbers['images']} photos, mean \N{PLUS-MINUS SIGN} standard "
        f"deviation over seeds {seeds}; all background: {percent(numbers['trivial'])}",
    ]
    if numbers["reason"]:
        notes = [f"not scored: {numbers['reason']}"]
    if numbers["labels"]["miou"] is not None:
        notes.append(
            f"all heads learn from the same pseudo-labels: {percent(numbers['labels']['miou'])}"
        )
    if any(arm["trained_on"] == "masks" for arm in arms):
        notes.append("every network here is trained on masks: nothing is learnt from tags")
    if numbers["reference"]:
        notes.append(numbers["rule"])
    size = numbers["heads"][0]["multiply_adds_size"]
    if size:
        notes.append(f"multiply-adds of the whole network for a photo of {size[0]} x {size[1]}")
    return notes


def with_spread(figure: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """ "38.6 ± 1.2" in percent; without the spread for one seed, a dash where there is nothing."""
    if figure is None:
        return DASH
    mean = format(100 * figure["mean"], "+z.1f" if signed else ".1f")
    if figure["spread"] is None:
        return mean
    return f"{mean} \N{PLUS-MINUS SIGN} {100 * figure['spread']:.1f}"


def count(value: float | int | None) -> str:
    """1234567 -> "1.23 M": three digits and a decimal unit; a dash where there is no number."""
    if value is None:
        return DASH
    for unit in ("", " k", " M"):
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g} G" if value < 999.5 else f"{value:.0f} G"
