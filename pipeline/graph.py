"""Stages and their order: which stage reads which, and what a run selects of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: a module with `run`, its settings and the stages it reads.

    A pipeline may hold several variants of one kind of stage, each under a name of its own. What a
    stage makes depends on its kind, settings and inputs alone: variants and runs that agree in
    these share one artifact.
    """

    name: str
    """Name in `runs/<run>/` and on the command line; may contain "-"."""
    module: str
    """Dotted name of the module that holds `VERSION`, `run` and, optionally, `sources`."""
    section: str
    """Section of the recipe that holds the settings, i.e. the prefix of their flags."""
    config: BaseModel
    inputs: Sequence[str] | Mapping[str, str] = ()
    """Stages that it reads; a mapping where it knows one by another name: {its name: stage}."""

    @property
    def kind(self) -> str:
        """What the stage is, under whatever name it runs: the last part of its module."""
        return self.module.rpartition(".")[2]

    @property
    def reads(self) -> dict[str, str]:
        """Name by which the stage knows an input -> stage that makes it."""
        given = self.inputs
        return dict(given) if isinstance(given, Mapping) else {name: name for name in given}


@dataclass(frozen=True)
class Selection:
    """What a run looks at (`names`, in order) and what of it is made again though cached."""

    names: tuple[str, ...]
    again: frozenset[str] = field(default_factory=frozenset)
    alone: bool = False
    """True with --only: inputs outside `names` must exist already."""


class Pipeline:
    """A graph of stages without a cycle, in an order in which every stage follows its inputs.

    Raises ValueError where two stages share a name, an input is unknown, or stages form a circle.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = {stage.name: stage for stage in stages}
        if len(self.stages) != len(stages):
            twice = sorted({s.name for s in stages if [t.name for t in stages].count(s.name) > 1})
            raise ValueError(f"two stages are called {', '.join(twice)}: give each its own name")
        for stage in stages:
            for name in stage.reads.values():
                if name not in self.stages:
                    raise ValueError(f"input of {stage.name}: {unknown('stage', name, self.names)}")
        self.order = self._ordered()
        self._above: dict[str, frozenset[str]] = {}
        for name in self.order:
            read = frozenset(self.stages[name].reads.values())
            self._above[name] = read.union(*(self._above[other] for other in read))

    @property
    def names(self) -> tuple[str, ...]:
        """Names as they were listed, which is the order of the flow for a reader."""
        return tuple(self.stages)

    def stage(self, name: str) -> Stage:
        """The stage called `name`; ValueError with the nearest right name otherwise."""
        if name not in self.stages:
            raise ValueError(unknown("stage", name, self.names))
        return self.stages[name]

    def above(self, name: str) -> frozenset[str]:
        """Every stage that `name` depends on, directly or not."""
        return self._above[self.stage(name).name]

    def below(self, name: str) -> frozenset[str]:
        """Every stage that depends on `name`, directly or not."""
        self.stage(name)
        return frozenset(other for other, above in self._above.items() if name in above)

    def select(
        self,
        *,
        start: str | None = None,
        until: str | None = None,
        only: str | None = None,
        force: Collection[str] = (),
    ) -> Selection:
        """The part of the pipeline that the flags --from, --until, --only and --force mean.

        `start`: it and all below it are made again. `until`: it and what it needs, nothing else.
        `only`: that one stage; its inputs must be there. `force`: made again though cached.
        """
        if only is not None and (start is not None or until is not None):
            raise ValueError("--only goes with neither --from nor --until: it names all that runs")
        wanted = set(self.stages)
        if only is not None:
            wanted = {self.stage(only).name}
        elif until is not None:
            wanted = {until, *self.above(until)}
        again = {self.stage(name).name for name in force}
        if start is not None:
            again |= {start, *self.below(start)} & wanted
            if start not in wanted:
                raise ValueError(f"--from {start} --until {until}: {until} does not need {start}")
        if again - wanted:
            raise ValueError(f"--force {min(again - wanted)}: this run leaves that stage out")
        names = tuple(name for name in self.order if name in wanted)
        return Selection(names=names, again=frozenset(again), alone=only is not None)

    def _ordered(self) -> tuple[str, ...]:
        """Topological order that keeps the listed order where the edges leave a choice."""
        reads = {stage.name: set(stage.reads.values()) for stage in self.stages.values()}
        sorter = TopologicalSorter(reads)
        try:
            sorter.prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise ValueError(f"stages form a circle: {circle}") from None
        done: list[str] = []
        left = list(self.stages)
        while left:
            ready = next(n for n in left if reads[n] <= set(done))
            done.append(ready)
            left.remove(ready)
        return tuple(done)


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The message for a misspelt name: the nearest right one, or all of them."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return f"there is no {kind} {name!r}: {hint}"
