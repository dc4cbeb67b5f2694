"""The findings of a check and the forecast of a run as lines of text."""

from collections.abc import Sequence

from data.findings import Finding
from stages.forecast import Forecast

LEVELS = ("error", "warning", "note", "ok")
FEW = 6
"""Good news of one topic beyond which they are only counted."""


def page(recipe: str, findings: Sequence[Finding], cost: Forecast | None) -> str:
    """What prevents a run first, good news last, then the forecast and the verdict."""
    lines = [f"recipe {recipe}", ""]
    for level in LEVELS:
        chosen = [one for one in findings if one.level == level]
        for topic in dict.fromkeys(one.topic for one in chosen):
            told = [one.text for one in chosen if one.topic == topic]
            if level == "ok" and len(told) > FEW:
                told = [f"{len(told)} counts are those of the protocol (--json lists them)"]
            lines += [f"{level:<8} {topic:<9} {text}" for text in told]
    if cost is not None:
        lines += ["", *_forecast(cost)]
    return "\n".join([*lines, "", _verdict(findings)])


def _forecast(cost: Forecast) -> list[str]:
    rows = [f"forecast from {cost.photos} photos on this machine, report left out"]
    for one in cost.stages:
        rows.append(f"  {one.stage:<16} {duration(one.seconds):>12} {size(one.bytes):>10}")
    rows.append(f"  {'all':<16} {duration(cost.seconds):>12} {size(cost.bytes):>10}")
    rows.append(f"  memory {size(cost.memory)}")
    return [*rows, "  time may be a third off, memory and disk up to two thirds too low"]


def _verdict(findings: Sequence[Finding]) -> str:
    errors, warnings = (sum(one.level == level for one in findings) for level in LEVELS[:2])
    if errors:
        return f"{_times(errors, 'finding')} prevent{'s' if errors == 1 else ''} this run"
    return f"nothing prevents this run; {_times(warnings, 'warning')}"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds / 3600:.1f} h"


def size(count: int | float) -> str:
    """Bytes in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
