"""Which head makes the most of the same pseudo-labels, and at what cost?

    python run_pipeline.py compare --heads none,aspp,grm --seeds 3

A pipeline of its own over the same recipe: the stages up to `labels` are shared with a plain run,
then each head is trained and evaluated with each seed on the same cached pseudo-labels, and, where
the recipe has an upper bound, on masks. Reads the artifacts of the shared stages and those of
`segment` and `evaluate` of every arm, under the names that `Arm` gives them. Writes

- compare.json: every number, with seeds, paired differences, card and ledger;
- compare.html: the same as one self-contained page, with mIoU against multiply-adds;
- compare.txt: the table for a terminal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.context import Context
from stages.nets.settings import HeadName

VERSION = 1

TEMPLATES = ("compare.html", "macros.html", "report.css")


@dataclass(frozen=True)
class Arm:
    """One network of the comparison."""

    head: str
    seed: int
    masks: bool = False
    """Trained on masks: an upper bound."""

    @property
    def segment(self) -> str:
        """Name of its training in the pipeline."""
        return f"segment-{self._name}"

    @property
    def evaluate(self) -> str:
        """Name of its evaluation in the pipeline."""
        return f"evaluate-{self._name}"

    @property
    def _name(self) -> str:
        return f"{'masks-' if self.masks else ''}{self.head}-{self.seed}"


class Config(BaseModel, frozen=True, extra="forbid"):
    """What is compared. All else is a setting of the other stages and the same for every head."""

    heads: tuple[HeadName, ...] = Field(
        ("none", "aspp", "grm", "sgr", "rsp", "ece"),
        min_length=1,
        description="heads to compare; none, where it is among them, is what the others must beat",
    )
    seeds: PositiveInt | tuple[NonNegativeInt, ...] = Field(
        3, description="how many seeds, counted on from --segment.seed; or the seeds, e.g. 0,4,7"
    )
    bound_heads: tuple[HeadName, ...] = Field(
        (), description="heads also trained on masks where there is an upper bound; none given: all"
    )
    bound_seeds: PositiveInt | None = Field(
        None, description="number of seeds that the upper bound is trained with; none: all"
    )
    shown: int = Field(4, ge=0, le=24, description="val photos in the gallery")
    thumbnail: int = Field(224, ge=64, le=320, description="longest side of a picture in pixels")
    quality: int = Field(78, ge=30, le=95, description="JPEG quality of the pictures")
    title: str = Field("", max_length=200, description="heading of the page; empty: made from it")

    @model_validator(mode="after")
    def _each_once(self) -> "Config":
        seeds = self.seeds if isinstance(self.seeds, tuple) else ()
        for name, given in (("heads", self.heads), ("seeds", seeds)):
            if len(set(given)) != len(given):
                raise ValueError(f"--compare.{name} names one twice: each is trained once")
        if isinstance(self.seeds, tuple) and not seeds:
            raise ValueError("--compare.seeds needs a number of seeds, or the seeds themselves")
        if missing := [head for head in self.bound_heads if head not in self.heads]:
            raise ValueError(f"--compare.bound-heads {missing[0]} is none of --compare.heads")
        return self

    def settled(self, first: int) -> "Config":
        """The same with its seeds spelt out, counted on from `first` where there is a number."""
        counted = self.seeds
        seeds = tuple(range(first, first + counted)) if isinstance(counted, int) else counted
        return self.model_copy(update={"seeds": seeds})

    def arms(self, *, bounds: bool) -> Iterator[Arm]:
        """The networks of settled settings, head by head; with `bounds`, upper bounds too."""
        assert isinstance(self.seeds, tuple), "the seeds are settled where the stages are wired"
        for head in self.heads:
            yield from (Arm(head, seed) for seed in self.seeds)
            if bounds and head in (self.bound_heads or self.heads):
                yield from (Arm(head, seed, masks=True) for seed in self.seeds[: self.bound_seeds])


def sources(config: Config) -> dict[str, Path]:
    """The templates: the page depends on them as it does on the code."""
    del config
    folder = Path(__file__).parent / "reports"
    return {name: folder / name for name in TEMPLATES}


def run(config: Config, inputs: Mapping[str, Path], out: Path, context: Context) -> None:
    """Write compare.json, compare.html and compare.txt below `out`.

    Raises:
        FileNotFoundError: an arm is missing, or its artifact lacks its scores.
        ValueError: two arms differ in what forbids to rank them; the message says in what.
    """
    from stages.reports.comparison_page import Look, write_comparison

    arms = [arm for arm in config.arms(bounds=True) if not arm.masks or arm.evaluate in inputs]
    look = Look(config.title, config.shown, config.thumbnail, config.quality)
    write_comparison(look, arms, inputs, out, context)
