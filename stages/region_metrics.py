"""How semantic regions are: entropies of classes and instances within and across tokens.

The names S_C, S_I, D_C and D_I are those of arXiv 2212.03338, whose public text gives no formula;
those here are decisions of this project, so no value may be held against that paper's. With h_k the
distribution of the classes under token k and H the entropy in nats,

    S_C = mean_k H(h_k)     lower: each token holds one class
    D_C = H(mean_k h_k)     higher: the tokens spread over the classes

and S_I, D_I likewise over instances, on cells of countable classes alone. Instances are connected
components of the masks. Tokens with a mass under one cell are skipped. With equal token masses
D - S is the mutual information between token and label.
"""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Shaped

from data.labels import ignore_in, ignored
from stages.components import connected

DEFINITION = (
    "entropies in nats of classes (C) and of connected components of countable classes (I) under "
    "each token: S mean within tokens, D of the tokens' mean; normalised 1 - S / log n and "
    "D / log n for n present; per photo, then the mean over photos where defined; overlap: mean "
    "cosine between regions"
)

LEAST_MASS = 1.0
"""Cells that a token must hold to count."""


def entropy(shares: Float[np.ndarray, "k c"]) -> Float64[np.ndarray, " k"]:
    """-sum p log p of each row, in nats; 0 log 0 = 0."""
    p = shares.astype(np.float64)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.maximum(-(p * logs).sum(axis=1), 0.0)


def hardened(regions: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
    """One-hot regions: each cell goes to its strongest token, the first on ties."""
    best = regions.argmax(axis=0)
    return (np.arange(len(regions))[:, None, None] == best).astype(regions.dtype)


def semantics(
    regions: Float[np.ndarray, "k h w"], groups: Int[np.ndarray, "h w"]
) -> dict[str, float]:
    """S, D, S_normalised, D_normalised and the share of tokens skipped, over `groups` of cells.

    `groups`: 0 and up, -1 for cells that do not count. NaN where undefined: all tokens skipped or,
    for the normalised forms, fewer than two groups present.
    """
    counted = groups >= 0
    present, place = np.unique(groups[counted], return_inverse=True)
    member = place.reshape(-1)[:, None] == np.arange(len(present))  # n c
    held = regions[:, counted].astype(np.float64) @ member  # k c: mass of each group
    mass = held.sum(axis=1)
    kept = mass >= LEAST_MASS
    found = dict.fromkeys(("S", "D", "S_normalised", "D_normalised"), float("nan"))
    found["skipped"] = float(1 - kept.mean()) if counted.any() else float("nan")
    if not kept.any():
        return found
    shares = held[kept] / mass[kept, None]
    found["S"] = float(entropy(shares).mean())
    found["D"] = float(entropy(shares.mean(axis=0, keepdims=True))[0])
    if len(present) > 1:
        most = float(np.log(len(present)))
        found["S_normalised"], found["D_normalised"] = 1 - found["S"] / most, found["D"] / most
    return found


def overlap(regions: Float[np.ndarray, "k h w"], counted: Shaped[np.ndarray, "h w"]) -> float:
    """Mean cosine over pairs of different regions on the `counted` cells: 0 where disjoint."""
    p = regions[:, counted.astype(bool)].astype(np.float64)
    norms = np.linalg.norm(p, axis=1, keepdims=True)
    unit = np.divide(p, norms, out=np.zeros_like(p), where=norms > 0)
    cosines = unit @ unit.T
    pairs = len(p) * (len(p) - 1)
    return float((cosines.sum() - np.trace(cosines)) / pairs) if pairs else 0.0


def class_groups(label: Shaped[np.ndarray, "h w"]) -> Int64[np.ndarray, "h w"]:
    """The class of each cell, -1 where it is ignored."""
    return np.where(ignored(label), -1, label.astype(np.int64))


def instance_groups(
    label: Shaped[np.ndarray, "h w"], countable: Collection[int]
) -> Int64[np.ndarray, "h w"]:
    """The connected component (8 neighbours) of each cell of a `countable` class, else -1."""
    kept = label.copy()
    kept[~np.isin(label, list(countable))] = ignore_in(label)
    return connected(kept).ids.astype(np.int64) - 1


class RegionMetrics:
    """The metrics of photos one by one, and their mean over the photos where each is defined.

    A mean over photos, not one count over the split: instances belong to a photo, and a token means
    what it means within one.
    """

    def __init__(self, countable: Collection[int]) -> None:
        """`countable`: the classes whose components are instances; not the background, say."""
        self.countable = frozenset(countable)
        self.photos: list[dict[str, float]] = []

    def add(
        self, regions: Float[np.ndarray, "k h w"], label: Shaped[np.ndarray, "h w"]
    ) -> dict[str, float]:
        """Measure one photo: `regions` in [0, 1] and the integer `label` of cells.

        Returns its metrics, named as in `figures` with a slash; NaN where undefined.
        """
        classes, instances = class_groups(label), instance_groups(label, self.countable)
        found = {"overlap": overlap(regions, classes >= 0)}
        for kind, given in (("soft", regions), ("hard", hardened(regions))):
            for letter, groups in (("C", classes), ("I", instances)):
                for name, value in semantics(given, groups).items():
                    first, _, rest = name.partition("_")
                    parts = [first, letter, *([rest] if rest else [])]
                    found[f"{kind}/{'_'.join(parts)}"] = value
        self.photos.append(found)
        return found

    def figures(self) -> dict[str, object]:
        """Means as plain JSON: "photos", "overlap", and under "soft" and "hard" S_C, S_I, D_C, ...

        "soft" takes the regions as they are, "hard" gives each cell to its strongest token. None
        where no photo defines a figure.
        """
        means: dict[str, float | None] = {}
        for name in self.photos[0] if self.photos else ():
            values = np.array([photo[name] for photo in self.photos])
            values = values[~np.isnan(values)]
            means[name] = float(values.mean()) if values.size else None
        return {"photos": len(self.photos), "definition": DEFINITION, **_nested(means)}


def _nested(means: Mapping[str, float | None]) -> dict[str, object]:
    found: dict[str, object] = {"overlap": means.get("overlap")}
    for kind in ("soft", "hard"):
        start = f"{kind}/"
        found[kind] = {
            name.removeprefix(start): value
            for name, value in means.items()
            if name.startswith(start)
        }
    return found
