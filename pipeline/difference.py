"""What differs between a wanted recipe and an earlier one, in words: the answer of `why`."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.key import Parts, flattened
from pipeline.store import Artifact

SHOWN = 3
"""Differences that one line names; more are counted."""

Explain = Callable[[str, str], str | None]
"""(input, its old key) -> why it has another key now, or None where nobody knows."""


def differences(wanted: Parts, earlier: Parts, explain: Explain | None = None) -> list[str]:
    """Every difference as a phrase with both values, the likeliest cause first.

    Settings, version, external files, source files, then inputs. Where nothing but inputs differs,
    one of them carries its own reason, from `explain`: the one nearest to the cause.
    """
    found = list(_settings(wanted["config"], earlier["config"]))
    if wanted["version"] != earlier["version"]:
        found.append(f"version {earlier['version']} -> {wanted['version']}")
    found += _contents("file", wanted["files"], earlier["files"])
    found += _contents("source", wanted["source"], earlier["source"])
    found += _inputs(wanted["inputs"], earlier["inputs"], None if found else explain)
    if wanted["trusted"] != earlier["trusted"]:
        old, new = (", ".join(p["trusted"]) or "none" for p in (earlier, wanted))
        found.append(f"trusted stages {old} -> {new}")
    return found


def nearest(wanted: Parts, candidates: list[Artifact]) -> Artifact | None:
    """The earlier artifact with the fewest differences; of equals, the first.

    Artifacts whose recipe was deleted or broken are passed over.
    """
    told = [artifact for artifact in candidates if artifact.readable]
    return min(told, key=lambda a: _distance(wanted, a.recipe), default=None)


def only_source_differs(wanted: Parts, earlier: Parts) -> bool:
    """True where the recipes agree in everything but the source digests."""
    return {**wanted, "source": {}} == {**earlier, "source": {}}


def sentence(found: list[str]) -> str:
    """Differences as one line."""
    rest = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _distance(wanted: Parts, earlier: Parts) -> int:
    """Number of differing settings, files and inputs, without building any phrase.

    Sources do not count: all that was made before an edit lacks it alike.
    """
    pairs = [(flattened(wanted["config"]), flattened(earlier["config"]))]
    pairs += [(wanted[part], earlier[part]) for part in ("files", "inputs")]
    apart = sum(_apart(new, old) for new, old in pairs)
    return apart + (wanted["version"] != earlier["version"])


def _apart(new: Mapping[str, object], old: Mapping[str, object]) -> int:
    return sum(new.get(name, ...) != old.get(name, ...) for name in {*new, *old})


def _settings(wanted: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[str]:
    new, old = flattened(wanted), flattened(earlier)
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            yield f"config {name} added = {json.dumps(new[name])}"
        elif name not in new:
            yield f"config {name} removed, was {json.dumps(old[name])}"
        elif new[name] != old[name]:
            yield f"config {name} {json.dumps(old[name])} -> {json.dumps(new[name])}"


def _contents(kind: str, wanted: Mapping[str, str], earlier: Mapping[str, str]) -> list[str]:
    """Phrases about files by digest: the first by name, the others counted when they are many."""
    found = []
    for name in sorted({*wanted, *earlier}):
        new, old = wanted.get(name), earlier.get(name)
        if old is None:
            found.append(f"{kind} {name} added")
        elif new is None:
            found.append(f"{kind} {name} removed")
        elif new != old:
            found.append(f"{kind} {name} changed ({old[:8]} -> {new[:8]})")
    if len(found) > SHOWN:
        return [found[0], f"{len(found) - 1} more {kind} files differ"]
    return found


def _inputs(
    wanted: Mapping[str, str], earlier: Mapping[str, str], explain: Explain | None
) -> list[str]:
    names = sorted({*wanted, *earlier})
    found = [f"input {name} added" for name in names if name not in earlier]
    found += [f"input {name} removed" for name in names if name not in wanted]
    changed = [n for n in names if n in earlier and wanted.get(n, earlier[n]) != earlier[n]]
    reasons = {name: explain(name, earlier[name]) for name in changed} if explain else {}
    known = {name: reason for name, reason in reasons.items() if reason}
    # A reason that goes through fewer inputs is nearer to the cause, and shorter.
    nearest = min(known, key=lambda name: (known[name].count("input "), name), default=None)
    for name in sorted(changed, key=lambda name: name != nearest):
        why = f" (because {known[name]})" if name == nearest else ""
        keys = "" if known else f" ({earlier[name][:8]} -> {wanted[name][:8]})"
        found.append(f"input {name} changed{why}{keys}")
    return found
