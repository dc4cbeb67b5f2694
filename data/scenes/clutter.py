"""Things that are no class: they hide classes, resemble them and stand where classes do not."""

from functools import partial
from itertools import pairwise

import numpy as np

from data.scenes.canvas import Colour, Pen, Point, box, oval, puff
from data.scenes.creatures import GREENS, SHIRTS
from data.scenes.texture import LEAVES, mottled, planked, striped

WOOD: tuple[Colour, ...] = ((140, 108, 76), (176, 158, 132), (112, 92, 74))
ROCK: tuple[Colour, ...] = ((128, 124, 120), (152, 146, 136), (206, 202, 194))


def bush(pen: Pen) -> None:
    """Leaves without a trunk."""
    pen.shadow(0.8, depth=0.1)
    leaves = pen.pick(GREENS)
    for u in (-0.4, 0.4, 0.0):
        shape = puff(u, 0.42, 0.55, 0.46, rng=pen.rng, bumps=9, depth=0.14)
        pen.fill(shape, colour=leaves, shade=0.3, texture=LEAVES)


def rock(pen: Pen) -> None:
    """A boulder: as pale and round as a sheep, but smooth."""
    pen.shadow(0.8, depth=0.12)
    angle = np.linspace(0, np.pi, 9)
    radius = pen.rng.uniform(0.8, 1.05, 9)
    u, v = 0.85 * radius * np.cos(angle), 0.9 * radius * np.sin(angle)
    shape: list[Point] = list(zip(u.tolist(), v.tolist(), strict=True))
    cracks = partial(mottled, cell=6, strength=0.1)
    pen.fill(shape, colour=pen.pick(ROCK), shade=0.45, texture=cracks)


def fence(pen: Pen) -> None:
    """A piece of fence in front of whatever stands behind it."""
    wood = pen.pick(WOOD)
    posts = [box(u - 0.07, 0.0, u + 0.07, 1.0) for u in np.linspace(-1.6, 1.6, 5).tolist()]
    rails = [box(-1.9, v, 1.9, v + 0.13) for v in (0.3, 0.68)]
    pen.fill(*posts, *rails, colour=wood, shade=0.15)


def lamp(pen: Pen) -> None:
    """A street lamp."""
    pen.stroke([(0, 0), (0, 0.9), (0.08, 0.97), (0.2, 0.97)], colour=(64, 68, 74), width=0.03)
    pen.fill(oval(0.22, 0.95, 0.07, 0.035), colour=(250, 238, 190), shade=0.0)


def bale(pen: Pen) -> None:
    """A round bale of hay."""
    pen.shadow(0.65, depth=0.1)
    straw = pen.pick(((206, 176, 96), (190, 160, 92)))
    pen.fill(
        oval(0.0, 0.48, 0.55, 0.5), colour=straw, texture=partial(striped, pitch=3.0, strength=0.1)
    )
    for radius in (0.36, 0.2):
        ring = [(float(u), float(v)) for u, v in oval(0.0, 0.48, radius, radius * 0.9)]
        pen.stroke([*ring, ring[0]], colour=(160, 130, 70), width=0.04, opacity=0.7)


def parasol(pen: Pen) -> None:
    """As bright as a kite, but on a stick in the sand."""
    one, two = pen.pick(SHIRTS), (240, 238, 230)
    pen.shadow(0.5, depth=0.06)
    pen.stroke([(0, 0), (0.04, 0.8)], colour=(150, 130, 110), width=0.04)
    edge = np.linspace(-0.62, 0.7, 7).tolist()
    for place, (left, right) in enumerate(pairwise(edge)):
        wedge: list[Point] = [(left, 0.66), (right, 0.66), (0.04, 1.0)]
        pen.fill(wedge, colour=one if place % 2 else two, shade=0.1)


def balloon(pen: Pen) -> None:
    """A hot-air balloon: coloured cloth in the sky, but round and with a basket."""
    one, two = pen.pick(SHIRTS), pen.pick(SHIRTS)
    pen.stroke([(-0.1, 0.14), (-0.24, 0.4)], colour=(80, 70, 60), width=0.015)
    pen.stroke([(0.1, 0.14), (0.24, 0.4)], colour=(80, 70, 60), width=0.015)
    pen.fill(box(-0.1, 0.0, 0.1, 0.15), colour=(120, 84, 50))
    pen.fill(
        oval(0.0, 0.66, 0.36, 0.35), [(-0.3, 0.5), (0.3, 0.5), (0, 0.2)], colour=one, shade=0.3
    )
    pen.fill(
        oval(0.0, 0.66, 0.13, 0.35), [(-0.11, 0.5), (0.11, 0.5), (0, 0.2)], colour=two, shade=0.3
    )


def buoy(pen: Pen) -> None:
    """A red and white mark in the water."""
    pen.fill([(-0.3, 0), (0.3, 0), (0.14, 0.8), (-0.14, 0.8)], colour=(206, 60, 46), shade=0.3)
    pen.fill([(-0.24, 0.26), (0.24, 0.26), (0.19, 0.52), (-0.19, 0.52)], colour=(240, 236, 228))
    pen.fill(oval(0.0, 0.88, 0.1, 0.12), colour=(250, 230, 150), shade=0.0)


def crate(pen: Pen) -> None:
    """A box of planks."""
    pen.shadow(0.7, depth=0.1)
    boards = partial(planked, pitch=max(2.5, pen.height * 0.25))
    pen.fill(box(-0.55, 0.0, 0.55, 0.9), colour=pen.pick(WOOD), shade=0.25, texture=boards)
