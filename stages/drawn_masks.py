"""Masks drawn from outlines, photo by photo on all workers, into the artifact of `masks`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data.coco_masks import Outlines, Policy, draw_mask
from data.records import Photo, Problem
from knowledge.classes import ClassTable
from pipeline.context import Context
from pipeline.parallel import map_unordered

Item = tuple[Photo, Outlines]


def draw_masks(
    folder: Path, policy: Policy, classes: ClassTable, *, items: Sequence[Item], context: Context
) -> list[Problem]:
    """Draw the masks that are not yet in `folder`; returns what could not be drawn."""
    folder.mkdir(exist_ok=True)
    draw = partial(draw_mask, folder, policy, classes)
    outcomes = map_unordered(draw, items, workers=context.workers, name=_name)
    tracked = context.track(outcomes, total=len(items), unit="masks")
    return [problem for problem in tracked if problem is not None]


def _name(item: Item) -> str:
    return item[0].id
