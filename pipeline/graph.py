"""Stages and their order: which stage reads which, and what a run selects of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: a module with `run`, its settings and the stages it reads."""

    name: str
    """Name in the store, in `runs/<run>/` and on the command line; may contain "-"."""
    module: str
    """Dotted name of the module that holds `VERSION`, `run` and, optionally, `sources`."""
    section: str
    """Section of the recipe that holds the settings, i.e. the prefix of their flags."""
    config: BaseModel
    inputs: tuple[str, ...] = ()


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
            for name in stage.inputs:
                if name not in self.stages:
                    raise ValueError(f"input of {stage.name}: {unknown('stage', name, self.names)}")
        self.order = self._ordered()

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
        found: set[str] = set()
        waiting = list(self.stage(name).inputs)
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self.stages[current].inputs)
        return frozenset(found)

    def below(self, name: str) -> frozenset[str]:
        """Every stage that depends on `name`, directly or not."""
        self.stage(name)
        return frozenset(other for other in self.stages if name in self.above(other))

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
        sorter = TopologicalSorter({s.name: s.inputs for s in self.stages.values()})
        try:
            sorter.prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise ValueError(f"stages form a circle: {circle}") from None
        done: list[str] = []
        left = list(self.stages)
        while left:
            ready = next(n for n in left if set(self.stages[n].inputs) <= set(done))
            done.append(ready)
            left.remove(ready)
        return tuple(done)


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The message for a misspelt name: the nearest right one, or all of them."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return f"there is no {kind} {name!r}: {hint}"
