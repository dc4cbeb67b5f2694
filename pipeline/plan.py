"""What a run would do: the key of every stage, and whether it is a hit, resumes or runs."""

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.difference import differences, nearest, only_source_differs, sentence
from pipeline.digests import DigestCache, files_below
from pipeline.graph import Pipeline, Selection, Stage
from pipeline.key import Parts, canonical, key_of
from pipeline.source import Sources
from pipeline.store import BEGUN, RECIPE, Artifact, Store

State = Literal["hit", "resume", "run"]
COMPARED = 10
"""Earlier artifacts, newest first, among which `why` looks for the nearest."""


@dataclass(frozen=True)
class Step:
    """One stage of a plan: its key, what would happen to it, and why."""

    stage: Stage
    parts: Parts
    key: str
    state: State
    reason: str
    artifact: Artifact | None
    """The artifact of this key, also where it is damaged or to be made again."""
    last: Artifact | None
    """The newest artifact of the stage: what its seconds and bytes are likely to be."""
    trusted: bool = False


class Planner:
    """Compares a pipeline with a store. One object serves one run: sources are read once."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        *,
        selection: Selection | None = None,
        trust: Collection[str] = (),
        made: Mapping[str, str] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """`made`: stage -> key of the run as it was last made, which reasons compare with."""
        self.pipeline = pipeline
        self.store = store
        self.selection = selection or pipeline.select()
        self.trust = frozenset(pipeline.stage(name).name for name in trust)
        self.cache = DigestCache(store.root / "digests.sqlite")
        self.sources = Sources(self.cache)
        self.made = made or {}
        self.progress = progress
        self.parts: dict[str, Parts] = {}

    def plan(self) -> list[Step]:
        """The steps of the selected stages and of all that they depend on, in order.

        Raises ValueError where a trusted artifact differs in more than its source.
        """
        needed = set(self.selection.names)
        for name in self.selection.names:
            needed |= self.pipeline.above(name)
        steps: dict[str, Step] = {}
        for name in self.pipeline.order:
            if name in needed:
                steps[name] = self._step(self.pipeline.stages[name], steps)
        return list(steps.values())

    def current_parts(
        self, stage: Stage, keys: Mapping[str, str], trusted: Collection[str] = ()
    ) -> Parts:
        """All that the key of `stage` depends on, given the keys of its inputs.

        Stages that were trusted enter only where nobody reads further, i.e. in what a person reads:
        the bytes between follow from the key of the trusted artifact, which they carry anyway.
        """
        module = importlib.import_module(stage.module)
        external = getattr(module, "sources", None)
        files = external(stage.config) if external else {}
        noted = sorted(trusted) if not self.pipeline.below(stage.name) else []
        return Parts(
            stage=stage.name,
            version=module.VERSION,
            config=canonical(stage.config),
            inputs={name: keys[name] for name in sorted(stage.inputs)},
            source=self.sources.digests(stage.module),
            files=self.cache.contents(files, self._progress_of(stage.name)),
            trusted=noted,
        )

    def judge(
        self, stage: Stage, parts: Parts, key: str, digests: Mapping[str, str | None]
    ) -> tuple[State, str, Artifact | None]:
        """State, reason and artifact of one stage, given the digests of its inputs (None: open)."""
        artifact = self.store.find(stage.name, key)
        if artifact is None:
            return *self._absent(stage, parts, key, digests), None
        damage = self.store.damage(artifact)
        changed = sorted(n for n, d in digests.items() if d and artifact.inputs.get(n) != d)
        unsure = sorted(n for n, d in digests.items() if d is None)
        if stage.name in self.selection.again:
            return "run", "it is asked to be made again", artifact
        if changed:
            return "run", f"input {changed[0]} was made again with other bytes", artifact
        if damage:
            name, what = next(iter(damage.items()))
            more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
            return "resume", f"file {artifact.path / name} {what}{more}", artifact
        if unsure:
            return "run", f"unless {', '.join(unsure)} comes out with the same bytes", artifact
        return "hit", "", artifact

    def _step(self, stage: Stage, steps: Mapping[str, Step]) -> Step:
        trusted = [n for n in self.pipeline.order if n in steps and steps[n].trusted]
        relevant = [n for n in trusted if n in self.pipeline.above(stage.name)]
        keys = {name: step.key for name, step in steps.items()}
        parts = self.current_parts(stage, keys, relevant)
        self.parts[stage.name] = parts
        key = key_of(parts)
        kept = self._trusted(stage, parts, key)
        if kept is not None:
            parts, key = kept.recipe, kept.key
        digests = {name: _settled_digest(steps[name]) for name in stage.inputs}
        state, reason, artifact = self.judge(stage, parts, key, digests)
        return Step(
            stage=stage,
            parts=parts,
            key=key,
            state=state,
            reason=reason,
            artifact=artifact,
            last=artifact or next(iter(self.store.all(stage.name)), None),
            trusted=kept is not None,
        )

    def _trusted(self, stage: Stage, parts: Parts, key: str) -> Artifact | None:
        """The newest artifact, where it is to stand in for a wanted one that is not there."""
        if stage.name not in self.trust or self.store.find(stage.name, key) is not None:
            return None
        newest = next((a for a in self.store.all(stage.name) if a.readable), None)
        if newest is None or only_source_differs(parts, newest.recipe):
            return newest
        found = sentence([d for d in differences(parts, newest.recipe) if d[:7] != "source "])
        raise ValueError(
            f"--trust {stage.name}: its newest artifact differs in more than its source: {found}"
        )

    def _absent(
        self, stage: Stage, parts: Parts, key: str, digests: Mapping[str, str | None]
    ) -> tuple[State, str]:
        begun = self.store.begun(stage.name, key)
        if begun is not None and all(
            d in (None, begun["inputs"].get(n)) for n, d in digests.items()
        ):
            names = files_below(self.store.partial(stage.name, key))
            count = len([name for name in names if name not in (BEGUN, RECIPE)])
            return "resume", f"an earlier run left {count} files"
        earlier = self._earlier(stage.name, parts)
        if earlier is None:
            return "run", "it was never made"
        found = differences(parts, earlier.recipe, self._explain)
        return "run", sentence(found) or "its artifact is gone"

    def _earlier(self, name: str, parts: Parts) -> Artifact | None:
        """The artifact that differs least; of equals this run's own, then the newest."""
        own = self.made.get(name)
        newest = sorted(self.store.all(name), key=lambda one: one.key != own)
        return nearest(parts, newest[:COMPARED])

    def _explain(self, name: str, old: str) -> str | None:
        """Why the input `name` has another key than it had, as far back as artifacts are kept."""
        earlier = self.store.find(name, old)
        if earlier is None or name not in self.parts or not earlier.readable:
            return None
        return sentence(differences(self.parts[name], earlier.recipe, self._explain)) or None

    def _progress_of(self, stage: str) -> Callable[[int, int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(stage, done, total)


def _settled_digest(step: Step) -> str | None:
    """The digest that a stage will read from `step`, or None while it is still to be made."""
    return step.artifact.digest if step.state == "hit" and step.artifact is not None else None
