"""The class graph of a run as a page on a terminal, as plain text, or as JSON.

    python run_pipeline.py graph --show --name demo
    python run_pipeline.py graph --show --graph.relation text --json

Strongest edges, how much a class hears from others and from how many of them in effect, classes
without neighbours, and how far the graph, the other relations and the controls agree.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge.graph import ClassGraph, Edge
from knowledge.relations import effective_neighbours, off_diagonal_share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN = 15
"""Edges in the table of the strongest."""
NAMED = 4
"""Neighbours of each class that are named."""
PLAIN_WIDTH = 120
"""Columns where the output is no terminal."""


def show(folder: Path, as_json: bool) -> None:
    """Print the graph in `folder` to standard output. Raises ValueError as `ClassGraph.load`."""
    graph = ClassGraph.load(folder)
    found = document(graph)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    if Console().is_terminal:
        _print(Console(), found)
        return
    plain = Console(width=PLAIN_WIDTH, color_system=None, record=True, file=io.StringIO())
    _print(plain, found)
    # Cells are filled up to the width of their column: nobody who pipes wants the blanks.
    print("\n".join(line.rstrip() for line in plain.export_text().splitlines()))


def document(graph: ClassGraph) -> dict[str, Any]:
    """What is shown, as plain JSON values; shares 0..1, correlations -1..1 or None."""
    card = graph.card
    shares = off_diagonal_share(graph.adjacency)
    effective = effective_neighbours(graph.adjacency.astype("float64"))
    edges = graph.strongest(len(graph.names) ** 2)
    heard: dict[str, list[dict[str, Any]]] = {name: [] for name in graph.names}
    for edge in edges:
        heard[edge.receiver].append(_as_row(edge))
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "off_diagonal_share": round(float(share), 6),
            "effective_neighbours": round(float(count), 3),
            "neighbours": heard[name],
        }
        for name, share, count in zip(graph.names, shares, effective, strict=True)
    ]
    connected = [row for row in rows if row["effective_neighbours"]]
    settings = card.get("settings", {})
    return {
        "relation": card.get("relation"),
        "settings": settings,
        "text": card.get("text", {}),
        "tags": card.get("tags", {}),
        "edges": [_as_row(edge) for edge in edges],
        "classes": rows,
        "without_neighbours": [row["name"] for row in rows if not row["effective_neighbours"]],
        "off_diagonal_share": _mean([row["off_diagonal_share"] for row in connected]),
        "effective_neighbours": _mean([row["effective_neighbours"] for row in connected]),
        "agreement": card.get("figures", {}).get("agreement", {}),
    }


def _as_row(edge: Edge) -> dict[str, Any]:
    return {"receiver": edge.receiver, "sender": edge.sender, "weight": round(edge.weight, 6)}


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6) if values else 0.0


def _print(console: "Console", found: Mapping[str, Any]) -> None:
    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for line in _heading(found):
        say(line)
    if found["edges"]:
        say(f"\nstrongest edges, {min(SHOWN, len(found['edges']))} of {len(found['edges'])}")
        console.print(_edges(found["edges"][:SHOWN]))
    say("\nclasses")
    console.print(_classes(found["classes"]))
    alone = found["without_neighbours"]
    say(f"\nwithout neighbours: {', '.join(alone) if alone else 'none'}")
    if found["agreement"]:
        say("\nrank correlation over the pairs of classes (random, permuted: what chance gives)")
        console.print(_agreement(found["agreement"]))


def _heading(found: Mapping[str, Any]) -> list[str]:
    settings, text = found["settings"], found["text"]
    relation = found["relation"] or "not recorded"
    detail = {
        "mix": " of " + " and ".join(settings.get("mixed", ("text", "cooccurrence"))),
        "random": f" of {settings.get('base', '')}",
        "permuted": f" of {settings.get('base', '')}",
    }.get(relation, "")
    form = settings.get("form", "ours")
    connected = len(found["classes"]) - len(found["without_neighbours"])
    lines = [
        f"class graph: {relation}{detail}, form {form}, {len(found['classes'])} classes",
        f"{100 * found['off_diagonal_share']:.1f} % of what a class hears comes from others, from "
        f"{found['effective_neighbours']:.1f} classes in effect (mean of {connected} connected)",
    ]
    if text:
        lines.append(f"texts: {text['template']}, read by {text['model']} ({text['source']})")
    if found["tags"]:
        lines.append(f"tags: {found['tags']['photos']} photos of {found['tags']['split']}")
    return lines


def _edges(edges: Sequence[Mapping[str, Any]]) -> "Table":
    table = _table("receives", "from", "share, %")
    for edge in edges:
        table.add_row(_plain(edge["receiver"]), _plain(edge["sender"]), _percent(edge["weight"]))
    return table


def _classes(rows: Sequence[Mapping[str, Any]]) -> "Table":
    table = _table("class", "from others, %", "neighbours in effect", "strongest first")
    table.columns[-1].justify = "left"
    for row in rows:
        names = [edge["sender"] for edge in row["neighbours"]]
        more = ", ..." if len(names) > NAMED else ""
        table.add_row(
            _plain(row["name"]),
            _percent(row["off_diagonal_share"]),
            f"{row['effective_neighbours']:.1f}",
            _plain(", ".join(names[:NAMED]) + more),
        )
    return table


def _agreement(found: Mapping[str, Mapping[str, float | None]]) -> "Table":
    columns = list(dict.fromkeys(other for row in found.values() for other in row))
    table = _table("", *columns)
    for name, row in found.items():
        cells = ["" if other not in row else _correlation(row[other]) for other in columns]
        table.add_row(name, *cells)
    return table


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        named = place == 0 or name == "from"
        table.add_column(name, justify="left" if named else "right", overflow="fold")
    return table


def _plain(name: str) -> Any:
    """A class name as it is: brackets in it are no markup."""
    from rich.text import Text

    return Text(name)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
