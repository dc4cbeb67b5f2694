"""The class graph as a drawing: classes on a circle, the strongest edges as arrows between them."""

import math
from dataclasses import dataclass

from knowledge.graph import ClassGraph, Edge
from stages.reports.artifacts import Run

MOST_EDGES = 40
"""Edges drawn: more of them hide each other."""
ALL_NAMED = 100
"""Classes up to which each has its name; beyond, those that an edge touches."""
SIZE, RADIUS, GAP = 640.0, 200.0, 8.0
"""Sides of the square drawing, radius of the circle, and space between circle, edges and names."""
LARGEST, SMALLEST = 11.0, 5.0
"""Font sizes in drawing units."""
LONGEST = 18
"""Characters of a name that are drawn; the whole one is in the title of its point."""
NEAR, FAR = 0.8, 0.3
"""How straight edges are, between neighbours and across the circle; 0 leads through its middle."""


@dataclass(frozen=True)
class Node:
    """A class on the circle, in drawing units, y downwards."""

    name: str
    label: str
    """What is written: the name or its beginning; empty where there is no room."""
    x: float
    y: float
    radius: float
    """Grows with the number of drawn edges that leave it."""
    label_x: float
    label_y: float
    turn: float
    """Degrees by which the label is turned about its own place, so that it reads outwards."""
    left: bool
    """Whether it stands in the left half and its label ends at the circle."""


@dataclass(frozen=True)
class Arrow:
    """An edge: a curve from the sender and a head at the receiver."""

    title: str
    path: str
    head: str
    width: float
    opacity: float


@dataclass(frozen=True)
class GraphPicture:
    """The drawing, `size` x `size` units."""

    note: str
    size: float
    font: float
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    description: str
    """What a reader without the picture is told."""


def graph_picture(run: Run) -> GraphPicture | None:
    """The drawing of the run's class graph; None without one or without an edge."""
    artifact = run.artifacts.get("graph")
    return None if artifact is None else drawn(ClassGraph.load(artifact.path))


def drawn(graph: ClassGraph) -> GraphPicture | None:
    """The strongest edges of `graph` as a drawing; None where it has no edge."""
    edges = graph.strongest(MOST_EDGES)
    if not edges:
        return None
    places = {name: _angle(place, len(graph.names)) for place, name in enumerate(graph.names)}
    room = 0.85 * math.tau * (RADIUS + GAP) / len(graph.names)
    touched = {name for edge in edges for name in edge[:2]}
    named = set(graph.names) if len(graph.names) <= ALL_NAMED else touched
    sent = {name: sum(edge.sender == name for edge in edges) for name in graph.names}
    total = int((graph.adjacency > 0).sum() - (graph.adjacency.diagonal() > 0).sum())
    kept = f"{len(edges)} strongest of {total} edges" if total > len(edges) else f"{total} edges"
    return GraphPicture(
        note=f"{kept}; an arrow points to the class that hears, its width is the share",
        size=SIZE,
        font=round(min(LARGEST, max(SMALLEST, room)), 1),
        nodes=tuple(
            _node(name, angle, sent=sent[name], named=name in named)
            for name, angle in places.items()
        ),
        # The strongest last, on top of the others.
        arrows=tuple(_arrow(edge, places, edges[0].weight) for edge in reversed(edges)),
        description="; ".join(f"{e.receiver} hears from {e.sender}" for e in edges[:12]),
    )


def _angle(place: int, count: int) -> float:
    """Clockwise from the top, in radians."""
    return math.tau * place / count - math.pi / 2


def _at(angle: float, radius: float) -> tuple[float, float]:
    return SIZE / 2 + radius * math.cos(angle), SIZE / 2 + radius * math.sin(angle)


def _node(name: str, angle: float, *, sent: int, named: bool) -> Node:
    left = math.cos(angle) < -1e-9
    x, y = _at(angle, RADIUS)
    label_x, label_y = _at(angle, RADIUS + GAP)
    short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Node(
        name=name,
        label=short if named else "",
        x=round(x, 2),
        y=round(y, 2),
        radius=round(2.0 + math.sqrt(sent), 2),
        label_x=round(label_x, 2),
        label_y=round(label_y, 2),
        turn=round(math.degrees(angle) - (180.0 if left else 0.0), 2),
        left=left,
    )


def _arrow(edge: Edge, places: dict[str, float], strongest: float) -> Arrow:
    x0, y0 = _at(places[edge.sender], RADIUS - GAP)
    x1, y1 = _at(places[edge.receiver], RADIUS - GAP)
    middle = SIZE / 2
    straight = NEAR + (FAR - NEAR) * math.hypot(x1 - x0, y1 - y0) / (2 * RADIUS)
    bend_x = middle + straight * ((x0 + x1) / 2 - middle)
    bend_y = middle + straight * ((y0 + y1) / 2 - middle)
    share = edge.weight / strongest
    return Arrow(
        title=f"{edge.receiver} hears {100 * edge.weight:.1f} % from {edge.sender}",
        path=f"M{x0:.1f} {y0:.1f} Q{bend_x:.1f} {bend_y:.1f} {x1:.1f} {y1:.1f}",
        head=_head(x1, y1, x1 - bend_x, y1 - bend_y),
        width=round(0.6 + 1.8 * share, 2),
        opacity=round(0.3 + 0.6 * share, 2),
    )


def _head(x: float, y: float, across: float, down: float) -> str:
    """A triangle whose tip is at (x, y), pointing along (across, down)."""
    length = math.hypot(across, down) or 1.0
    dx, dy = across / length, down / length
    back_x, back_y = x - 7 * dx, y - 7 * dy
    left, right = (back_x - 3 * dy, back_y + 3 * dx), (back_x + 3 * dy, back_y - 3 * dx)
    return f"M{x:.1f} {y:.1f} L{left[0]:.1f} {left[1]:.1f} L{right[0]:.1f} {right[1]:.1f} Z"
