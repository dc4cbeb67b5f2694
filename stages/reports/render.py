"""Fills a page's template: names escaped, one style, figures written alike on every page."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

DASH = "\N{EN DASH}"
"""Stands where there is no number."""


def render(template: str, **values: Any) -> str:
    """The page that `template` and `values` make. Its policy allows its own style and no request.

    Raises jinja2.UndefinedError where the template names a value that is not given.
    """
    environment = Environment(
        loader=PackageLoader("stages", "reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=style, style_hash=f"sha256-{fingerprint}", **values
    )


def percent(value: float | int | None, digits: int = 1) -> str:
    """0.4321 -> "43.2"; a dash where there is no number."""
    return DASH if value is None else f"{100 * value:.{digits}f}"


def seconds(value: float | int | None) -> str:
    """3.2 -> "3.2 s", 200 -> "3 min 20 s"; a dash where there is no number."""
    if value is None:
        return DASH
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def size(value: float | int | None) -> str:
    """Bytes with a decimal unit; a dash where there is no number."""
    if value is None:
        return DASH
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def plain(value: Any) -> str:
    """A value of the card as one line: "name a, seed 3"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


FILTERS = {"percent": percent, "seconds": seconds, "size": size, "plain": plain}
