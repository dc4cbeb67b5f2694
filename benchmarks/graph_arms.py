"""The arms of the stage-one comparison as plain data: what each changes in the settings of a run.

An arm is one entry of `ARMS`: its name, its changes by section, and the controls that it must beat.
Simplest arms come first: of arms that nothing tells apart the first is the one to take.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

Changes = Mapping[str, Mapping[str, Any]]
"""Section of the recipe -> setting -> value; settings of settings are nested."""


class Arm(NamedTuple):
    """One form of the classifier and of its maps, and what its claim is measured against."""

    changes: Changes
    against: tuple[str, ...] = ()
    """Controls: names of other arms."""
    control: bool = False
    """Shows what knowledge is worth, and is nothing that anybody would choose."""


def merged(*parts: Changes) -> dict[str, dict[str, Any]]:
    """All changes together; of one setting the last."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for section, settings in part.items():
            found[section] = _deep(found.get(section, {}), settings)
    return found


def changed(config: BaseModel, changes: Mapping[str, Any]) -> Any:
    """`config` with some settings changed. Raises ValueError where it refuses them."""
    return type(config).model_validate(_deep(config.model_dump(), changes))


def _deep(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(first)
    for name, value in second.items():
        old = found.get(name)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        found[name] = _deep(old, value) if both and old is not None else value
    return found


def _graph(**settings: Any) -> Changes:
    return {"graph": settings}


def _weight(value: float) -> Changes:
    return {"classify": {"graph_weight": value}}


LINEAR: Changes = {"classify": {"scored": "linear"}, "cams": {"classifier": "linear"}}
"""Tags and maps by the linear weights, whatever is trained beside them."""
BY_GRAPH: Changes = {"classify": {"scored": "graph"}, "cams": {"classifier": "graph"}}
"""Tags and maps by the weights that the graph makes (ML-GCN)."""
FUSED: Changes = {"classify": {"scored": "fused"}, "cams": {"classifier": "fused"}}
"""Both by the mean of the two."""
RECAM: Changes = {"classify": {"recam": {"epochs": 4}}, "cams": {"classifier": "recam"}}
RELEASED: Changes = {"classify": {"mode": "as_released", "graph_weight": 1e-4}}


def _nodes(graph: str) -> Changes:
    """Tags by the nodes of each photo, maps by what each place adds to a node's score."""
    nodes = {"scored": "nodes", "graph_branch": False, "nodes": {"graph": graph}}
    return {"classify": nodes, "cams": {"classifier": "readout"}}


PLAIN = ("no-graph",)
CONTROLS = ("no-graph", "identity", "random", "permuted")
NODE_CONTROLS = ("no-graph", "nodes-identity", "nodes-random", "nodes-permuted", "nodes-uniform")

ARMS: dict[str, Arm] = {
    "no-graph": Arm(merged(LINEAR, {"classify": {"graph_branch": False}})),
    "as-set": Arm({}, CONTROLS),
    "beside": Arm(LINEAR, PLAIN),
    "identity": Arm(merged(BY_GRAPH, _graph(relation="identity")), PLAIN, control=True),
    "random": Arm(merged(BY_GRAPH, _graph(relation="random")), PLAIN, control=True),
    "permuted": Arm(merged(BY_GRAPH, _graph(relation="permuted")), PLAIN, control=True),
    "cooccurrence": Arm(merged(BY_GRAPH, _graph(relation="cooccurrence")), CONTROLS),
    "text": Arm(merged(BY_GRAPH, _graph(relation="text")), CONTROLS),
    "mix": Arm(merged(BY_GRAPH, _graph(relation="mix")), CONTROLS),
    "cooccurrence-p": Arm(merged(BY_GRAPH, _graph(relation="cooccurrence", tau=None)), CONTROLS),
    "random-vectors": Arm(merged(BY_GRAPH, _graph(embeddings="random")), CONTROLS, control=True),
    "weight-1e-4": Arm(merged(BY_GRAPH, _weight(1e-4)), CONTROLS),
    "weight-1e-2": Arm(merged(BY_GRAPH, _weight(1e-2)), CONTROLS),
    "weight-1": Arm(merged(BY_GRAPH, _weight(1.0)), CONTROLS),
    "fused-identity": Arm(merged(FUSED, _graph(relation="identity")), PLAIN, control=True),
    "fused-cooccurrence": Arm(
        merged(FUSED, _graph(relation="cooccurrence")), ("no-graph", "fused-identity")
    ),
    "as-released": Arm(merged(LINEAR, RELEASED), PLAIN),
    "gmp": Arm(merged(LINEAR, {"classify": {"pooling": "gmp"}}), PLAIN),
    "recam": Arm(merged(LINEAR, RECAM), PLAIN),
    "nodes-identity": Arm(merged(_nodes("static"), _graph(relation="identity")), PLAIN, True),
    "nodes-random": Arm(merged(_nodes("static"), _graph(relation="random")), PLAIN, True),
    "nodes-permuted": Arm(merged(_nodes("static"), _graph(relation="permuted")), PLAIN, True),
    "nodes-uniform": Arm(_nodes("uniform"), PLAIN, True),
    "nodes-cooccurrence": Arm(
        merged(_nodes("static"), _graph(relation="cooccurrence")), NODE_CONTROLS
    ),
    "nodes-text": Arm(merged(_nodes("static"), _graph(relation="text")), NODE_CONTROLS),
    "nodes-dynamic": Arm(_nodes("dynamic"), NODE_CONTROLS),
    "nodes-seeded": Arm(
        merged(_nodes("seeded"), _graph(relation="text")),
        (*NODE_CONTROLS, "nodes-seeded-random", "nodes-dynamic"),
    ),
    "nodes-seeded-random": Arm(
        merged(_nodes("seeded"), _graph(relation="random", base="text")), PLAIN, True
    ),
}
"""as-set: the recipe with the flags as given. beside: the recipe's graph is trained, and neither
tags nor maps use it. The weights are those of the graph's loss; other arms have the recipe's."""
