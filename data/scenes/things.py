"""Made things of the demo: boat, car, house, kite. Every function draws one with its pen."""

from functools import partial

import numpy as np

from data.scenes.canvas import Colour, Pen, Point, box, oval
from data.scenes.texture import CLOTH, PLASTER, bricked, planked, striped

HULLS: tuple[Colour, ...] = (
    (168, 44, 40),
    (236, 234, 228),
    (36, 70, 120),
    (52, 104, 88),
    (122, 78, 46),
)
SAILS: tuple[Colour, ...] = ((244, 240, 228), (246, 244, 240), (206, 96, 62), (222, 190, 120))
PAINTS: tuple[Colour, ...] = (
    (190, 40, 40),
    (44, 84, 158),
    (228, 190, 58),
    (216, 218, 220),
    (60, 66, 72),
    (66, 130, 96),
    (226, 122, 50),
)
WALLS: tuple[Colour, ...] = ((226, 212, 184), (238, 236, 230), (196, 168, 128), (172, 98, 74))
ROOFS: tuple[Colour, ...] = ((156, 68, 48), (112, 58, 48), (84, 86, 96), (122, 104, 84))
DOORS: tuple[Colour, ...] = ((98, 62, 38), (54, 84, 66), (126, 40, 38), (50, 60, 92))
FABRICS: tuple[Colour, ...] = (
    (222, 50, 54),
    (250, 202, 50),
    (40, 120, 200),
    (90, 180, 84),
    (160, 70, 170),
    (244, 130, 44),
)
GLASS: Colour = (136, 172, 196)


def boat(pen: Pen) -> None:
    """A sailing boat, or a motor boat with a cabin, and its broken reflection."""
    hull = pen.pick(HULLS)
    _reflection(pen, hull)
    sailing = pen.rng.random() < 0.75
    if sailing:
        _rig(pen)
    else:
        pen.fill(box(-0.3, 0.3, 0.16, 0.56), colour=(236, 234, 230), shade=0.2)
        pen.fill(box(-0.25, 0.4, -0.08, 0.5), box(-0.03, 0.4, 0.12, 0.5), colour=GLASS)
        pen.stroke([(-0.1, 0.56), (-0.1, 0.9)], colour=(90, 84, 80), width=0.025)
        pen.fill(box(-0.36, 0.55, 0.2, 0.6), colour=hull)
    bow: list[Point] = [(-0.56, 0.3), (0.66, 0.34), (0.5, 0.12), (0.4, -0.02), (-0.42, -0.02)]
    grain = partial(planked, pitch=max(2.5, pen.height * 0.07))
    pen.fill(bow, colour=hull, shade=0.3, texture=grain)
    trim = [(-0.56, 0.3), (0.66, 0.34), (0.63, 0.28), (-0.545, 0.245)]
    pen.fill(trim, colour=pen.pick(((240, 236, 226), (60, 50, 46))))
    foam = [(-0.5, -0.02), (0.5, -0.02), (0.42, -0.05), (-0.44, -0.05)]
    pen.fill(foam, colour=(236, 242, 244), opacity=0.6, mark=False)


def _rig(pen: Pen) -> None:
    sail = pen.pick(SAILS)
    seams = partial(striped, pitch=max(4.0, pen.height * 0.12), strength=0.04, upright=False)
    bulge = float(pen.rng.uniform(0.04, 0.12))
    pen.stroke([(0.0, 0.28), (0.0, 1.0)], colour=(96, 76, 58), width=0.03)
    main: list[Point] = [(-0.03, 0.98), (-0.25 - bulge, 0.6), (-0.5, 0.4), (-0.03, 0.38)]
    pen.fill(main, colour=sail, shade=0.25, texture=seams)
    if pen.rng.random() < 0.7:
        jib: list[Point] = [(0.03, 0.9), (0.22 + bulge, 0.6), (0.52, 0.38), (0.05, 0.42)]
        tinted = pen.pick(SAILS)
        pen.fill(jib, colour=tinted, shade=0.25, texture=seams)
    pen.fill([(0.0, 1.0), (0.14, 0.97), (0.0, 0.93)], colour=pen.pick(FABRICS), shade=0.0)


def _reflection(pen: Pen, hull: Colour) -> None:
    for row in range(5):
        v = -0.05 - 0.07 * row
        sway = float(pen.rng.uniform(-0.06, 0.06))
        reach = 0.46 - 0.05 * row
        strip = [(sway - reach, v), (sway + reach, v), (sway + reach, v - 0.04), (sway - reach, v)]
        pen.fill(strip, colour=hull, opacity=0.4, shade=0.0, mark=False)


def car(pen: Pen) -> None:
    """Seen from the side: saloon, hatchback or van. Its length is 2 to 2.4 heights."""
    paint = pen.pick(PAINTS)
    pen.shadow(1.15, depth=0.09, opacity=0.5)
    roof_front, roof_back = pen.rng.uniform(0.15, 0.35), pen.rng.uniform(-0.8, -0.45)
    hood = float(pen.rng.uniform(0.5, 0.58))
    cabin = [(roof_back - 0.25, 0.55), (roof_back, 1.0), (roof_front, 1.0), (0.62, 0.55)]
    pen.fill(cabin, colour=paint, shade=0.25)
    body = [(-1.1, 0.2), (-1.12, 0.5), (-1.0, 0.6), (0.55, 0.6), (1.05, hood - 0.02), (1.12, 0.2)]
    pen.fill(body, colour=paint, shade=0.35)
    post = float((roof_back + roof_front) / 2)
    rear = [
        (roof_back - 0.14, 0.6),
        (roof_back + 0.04, 0.92),
        (post - 0.04, 0.92),
        (post - 0.04, 0.6),
    ]
    front = [(post + 0.04, 0.6), (post + 0.04, 0.92), (roof_front - 0.04, 0.92), (0.48, 0.6)]
    pen.fill(rear, front, colour=pen.pick(((70, 92, 108), (120, 150, 170))), shade=0.5)
    pen.stroke([(post, 0.58), (post, 0.26)], colour=_dark(paint), width=0.025)
    pen.fill(box(-1.14, 0.18, 1.14, 0.27), colour=(52, 54, 58))
    pen.fill(oval(1.04, 0.44, 0.07, 0.06), colour=(252, 240, 190), shade=0.0)
    pen.fill(oval(-1.06, 0.46, 0.05, 0.06), colour=(190, 30, 34), shade=0.0)
    for u in (-0.66, 0.66):
        pen.fill(oval(u, 0.2, 0.22, 0.22), colour=(28, 28, 32))
        pen.fill(oval(u, 0.2, 0.11, 0.11), colour=(166, 170, 176), shade=0.4)


def house(pen: Pen) -> None:
    """Front with a gable or a long roof, door, windows, perhaps a chimney."""
    wall, roof, door = pen.pick(WALLS), pen.pick(ROOFS), pen.pick(DOORS)
    half = float(pen.rng.uniform(0.4, 0.62))
    eaves = float(pen.rng.uniform(0.5, 0.62))
    pen.shadow(half * 1.1, depth=0.05)
    walls = (PLASTER, partial(bricked, pitch=3.0), partial(planked, pitch=4.0))
    pen.fill(
        box(-half, 0.0, half, eaves),
        colour=wall,
        shade=0.2,
        texture=walls[int(pen.rng.integers(len(walls)))],
    )
    if pen.rng.random() < 0.6:
        pen.fill(box(half * 0.45, 0.7, half * 0.68, 1.04), colour=_dark(wall))
    ridge = half * (0.05 if pen.rng.random() < 0.5 else 0.72)
    edge = half + 0.08
    slates = partial(bricked, pitch=3.0, strength=-0.2)
    top: list[Point] = [(-edge, eaves - 0.03), (-ridge, 1.0), (ridge, 1.0), (edge, eaves - 0.03)]
    pen.fill(top, colour=roof, shade=0.3, texture=slates)
    at = float(pen.rng.uniform(-0.4, 0.4)) * half
    pen.fill(box(at - 0.075, 0.0, at + 0.075, 0.3), colour=door, shade=0.15)
    lit = pen.rng.random() < 0.25
    glass: Colour = (250, 220, 130) if lit else (84, 106, 124)
    for u in np.linspace(-half * 0.68, half * 0.68, 3 if half < 0.5 else 4):
        low = 0.14 if abs(u - at) > 0.17 else 0.38
        if low + 0.2 > eaves:
            continue
        pen.fill(box(u - 0.075, low, u + 0.075, low + 0.18), colour=(244, 242, 236), shade=0.0)
        pen.fill(box(u - 0.055, low + 0.02, u + 0.055, low + 0.16), colour=glass, shade=0.3)
        pen.stroke([(u, low + 0.02), (u, low + 0.16)], colour=(244, 242, 236), width=0.015)


def kite(pen: Pen) -> None:
    """A diamond of two to four colours, tail with bows, and a line that leads down and away."""
    pen.turn = float(pen.rng.uniform(-0.7, 0.7))
    one, two = pen.pick(FABRICS), pen.pick(FABRICS)
    left, right, top, foot = (-0.34, 0.62), (0.34, 0.62), (0.0, 1.0), (0.0, 0.0)
    middle = (0.0, 0.62)
    drift = float(pen.rng.uniform(-1.6, 1.6))
    pen.stroke([middle, (drift, -4)], colour=(70, 70, 74), width=0.012, opacity=0.5, mark=False)
    for corner, colour in ((left, one), (right, two)):
        pen.fill([corner, top, middle], colour=colour, shade=0.15, texture=CLOTH)
    second = pen.rng.random() < 0.5
    for corner, colour in ((left, two if second else one), (right, one if second else two)):
        pen.fill([corner, middle, foot], colour=_dark(colour), shade=0.15, texture=CLOTH)
    wave = float(pen.rng.uniform(0.06, 0.14))
    at = np.linspace(0, 1, 9)
    tail = [(float(wave * np.sin(6 * t)), float(-0.75 * t)) for t in at]
    pen.stroke(tail, colour=one, width=0.03)
    for u, v in tail[2::3]:
        pen.fill(
            [(u - 0.09, v + 0.05), (u, v), (u - 0.09, v - 0.05)],
            [(u + 0.09, v + 0.05), (u, v), (u + 0.09, v - 0.05)],
            colour=two,
        )


def _dark(colour: Colour) -> Colour:
    return int(colour[0] * 0.78), int(colour[1] * 0.78), int(colour[2] * 0.78)
