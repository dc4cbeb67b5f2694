"""What a run would do: the key of every stage, and whether it is a hit, resumes or runs."""

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.difference import Explain, differences, nearest, only_source_differs, sentence
from pipeline.digests import DigestCache, files_below
from pipeline.graph import Pipeline, Selection, Stage
from pipeline.key import Parts, canonical, key_of
from pipeline.source import Sources
from pipeline.store import BEGUN, RECIPE, Artifact, Store

State = Literal["hit", "resume", "run"]
COMPARED = 10
"""Earlier artifacts, newest first, among which `why` looks for the nearest."""


@dataclass(frozen=True)
class Keyed:
    """A stage with all that its key depends on, before anybody looks for its artifact."""

    stage: Stage
    parts: Parts
    key: str
    trusted: bool

    @property
    def place(self) -> tuple[str, str]:
        """Kind and key: what variants that share an artifact have in common."""
        return self.stage.kind, self.key


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
    """The likest artifact of its kind: what its seconds and bytes are likely to be."""
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
        self.again: frozenset[tuple[str, str]] = frozenset()
        """Kind and key of what is made again though cached, whichever variant was named."""

    def plan(self) -> list[Step]:
        """The steps of the selected stages and of all that they depend on, in order.

        Raises ValueError where a trusted artifact differs in more than its source.
        """
        needed = set(self.selection.names)
        for name in self.selection.names:
            needed |= self.pipeline.above(name)
        keyed: dict[str, Keyed] = {}
        for name in self.pipeline.order:
            if name in needed:
                keyed[name] = self._keyed(self.pipeline.stages[name], keyed)
        again = self.selection.again & keyed.keys()
        self.again = frozenset(keyed[name].place for name in again)
        steps: dict[str, Step] = {}
        for name, one in keyed.items():
            steps[name] = self._step(one, steps)
        return list(steps.values())

    def current_parts(
        self, stage: Stage, inputs: Mapping[str, str], trusted: Collection[str] = ()
    ) -> Parts:
        """All that the key of `stage` depends on, given the keys of its `inputs` by its own names.

        Stages that were trusted enter only where nobody reads further, i.e. in what a person reads:
        the bytes between follow from the key of the trusted artifact, which they carry anyway.
        """
        module = importlib.import_module(stage.module)
        external = getattr(module, "sources", None)
        files = external(stage.config) if external else {}
        noted = sorted(trusted) if not self.pipeline.below(stage.name) else []
        return Parts(
            stage=stage.kind,
            version=module.VERSION,
            config=canonical(stage.config),
            inputs=dict(sorted(inputs.items())),
            source=self.sources.digests(stage.module),
            files=self.cache.contents(files, self._progress_of(stage.name)),
            trusted=noted,
        )

    def judge(
        self, stage: Stage, parts: Parts, key: str, digests: Mapping[str, str | None]
    ) -> tuple[State, str, Artifact | None]:
        """State, reason and artifact of one stage, given the digests of its inputs (None: open)."""
        artifact = self.store.find(stage.kind, key)
        if artifact is None:
            return *self._absent(stage, parts, key, digests), None
        damage = self.store.damage(artifact)
        changed = sorted(n for n, d in digests.items() if d and artifact.inputs.get(n) != d)
        unsure = sorted(n for n, d in digests.items() if d is None)
        if (stage.kind, key) in self.again:
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

    def _keyed(self, stage: Stage, above: Mapping[str, Keyed]) -> Keyed:
        trusted = [n for n in self.pipeline.order if n in above and above[n].trusted]
        relevant = [n for n in trusted if n in self.pipeline.above(stage.name)]
        keys = {name: above[other].key for name, other in stage.reads.items()}
        parts = self.current_parts(stage, keys, relevant)
        self.parts[stage.name] = parts
        key = key_of(parts)
        kept = self._trusted(stage, parts, key)
        if kept is not None:
            return Keyed(stage, kept.recipe, kept.key, trusted=True)
        return Keyed(stage, parts, key, trusted=False)

    def _step(self, one: Keyed, steps: Mapping[str, Step]) -> Step:
        stage = one.stage
        digests = {name: _settled_digest(steps[other]) for name, other in stage.reads.items()}
        state, reason, artifact = self.judge(stage, one.parts, one.key, digests)
        twin = next((s for s in steps.values() if (s.stage.kind, s.key) == one.place), None)
        if twin is not None and state != "hit":
            reason = f"together with {twin.stage.name}, of the same settings and inputs"
        return Step(
            stage=stage,
            parts=one.parts,
            key=one.key,
            state=state,
            reason=reason,
            artifact=artifact,
            last=artifact or self._earlier(stage, one.parts),
            trusted=one.trusted,
        )

    def _trusted(self, stage: Stage, parts: Parts, key: str) -> Artifact | None:
        """The newest artifact that only its source keeps from being the wanted one, not there."""
        if stage.name not in self.trust or self.store.find(stage.kind, key) is not None:
            return None
        made = [artifact for artifact in self.store.all(stage.kind) if artifact.readable]
        if not made:
            return None
        for artifact in made:
            if only_source_differs(parts, artifact.recipe):
                return artifact
        found = sentence([d for d in differences(parts, made[0].recipe) if d[:7] != "source "])
        raise ValueError(
            f"--trust {stage.name}: its newest artifact differs in more than its source: {found}"
        )

    def _absent(
        self, stage: Stage, parts: Parts, key: str, digests: Mapping[str, str | None]
    ) -> tuple[State, str]:
        begun = self.store.begun(stage.kind, key)
        if begun is not None and all(
            d in (None, begun["inputs"].get(n)) for n, d in digests.items()
        ):
            names = files_below(self.store.partial(stage.kind, key))
            count = len([name for name in names if name not in (BEGUN, RECIPE)])
            return "resume", f"an earlier run left {count} files"
        earlier = self._earlier(stage, parts)
        if earlier is None:
            return "run", "it was never made"
        found = differences(parts, earlier.recipe, self._explainer(stage))
        return "run", sentence(found) or "its artifact is gone"

    def _earlier(self, stage: Stage, parts: Parts) -> Artifact | None:
        """The artifact that differs least; of equals this run's own, then the newest."""
        own = self.made.get(stage.name)
        newest = sorted(self.store.all(stage.kind), key=lambda one: one.key != own)
        return nearest(parts, newest[:COMPARED])

    def _explainer(self, stage: Stage) -> Explain:
        """Says why an input of `stage` has another key, as far back as artifacts are kept."""

        def explain(name: str, old: str) -> str | None:
            read = self.pipeline.stages[stage.reads[name]]
            earlier = self.store.find(read.kind, old)
            if earlier is None or read.name not in self.parts or not earlier.readable:
                return None
            found = differences(self.parts[read.name], earlier.recipe, self._explainer(read))
            return sentence(found) or None

        return explain

    def _progress_of(self, stage: str) -> Callable[[int, int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(stage, done, total)


def _settled_digest(step: Step) -> str | None:
    """The digest that a stage will read from `step`, or None while it is still to be made."""
    return step.artifact.digest if step.state == "hit" and step.artifact is not None else None
