"""Living things of the demo: bird, sheep, tree, person. Every function draws one with its pen."""

from functools import partial

import numpy as np

from data.scenes.canvas import Colour, Pen, Point, box, oval, puff
from data.scenes.texture import CLOTH, LEAVES, WOOL, mottled, striped

FEATHERS: tuple[Colour, ...] = ((238, 238, 236), (92, 84, 80), (150, 108, 74), (70, 96, 140))
WOOLS: tuple[Colour, ...] = ((236, 230, 214), (226, 218, 200), (206, 196, 178), (112, 92, 78))
GREENS: tuple[Colour, ...] = ((62, 112, 48), (84, 132, 52), (44, 92, 56), (124, 140, 50))
AUTUMN: tuple[Colour, ...] = ((190, 110, 40), (200, 150, 50), (160, 70, 44))
NEEDLES: tuple[Colour, ...] = ((34, 76, 54), (48, 88, 58), (30, 66, 62))
BARK: tuple[Colour, ...] = ((98, 72, 50), (80, 62, 50), (122, 98, 74))
SKIN: tuple[Colour, ...] = ((238, 204, 176), (216, 170, 132), (168, 118, 82), (104, 70, 50))
HAIR: tuple[Colour, ...] = ((40, 30, 26), (104, 66, 36), (206, 168, 96), (150, 146, 142))
SHIRTS: tuple[Colour, ...] = (
    (204, 54, 50),
    (52, 98, 170),
    (232, 190, 60),
    (70, 140, 90),
    (236, 236, 232),
    (142, 80, 150),
    (232, 130, 60),
)
TROUSERS: tuple[Colour, ...] = ((48, 60, 94), (60, 56, 54), (136, 112, 84), (90, 96, 104))


def bird(pen: Pen) -> None:
    """Flying, wings up or down, or standing on its legs."""
    feathers = pen.pick(FEATHERS)
    dark = _scaled(feathers, 0.62)
    beak: Colour = (236, 160, 40)
    if not pen.aloft:
        for u in (-0.06, 0.06):
            pen.stroke([(u, 0.0), (u, 0.3)], colour=beak, width=0.05)
    body_v = 0.5 if pen.aloft else 0.46
    pen.fill([(-0.62, body_v + 0.02), (-0.3, body_v + 0.12), (-0.3, body_v - 0.08)], colour=dark)
    pen.fill(oval(0.0, body_v, 0.38, 0.2, 0.18), colour=feathers, shade=0.3, texture=CLOTH)
    pen.fill(oval(0.36, body_v + 0.17, 0.15, 0.14), colour=feathers)
    pen.fill(
        [(0.48, body_v + 0.22), (0.7, body_v + 0.13), (0.47, body_v + 0.1)], colour=beak, shade=0.1
    )
    pen.fill(oval(0.4, body_v + 0.2, 0.035, 0.035), colour=(15, 15, 18), shade=0.0)
    if not pen.aloft:
        pen.fill(oval(-0.08, body_v + 0.02, 0.28, 0.12, 0.2), colour=dark, texture=CLOTH)
        return
    lift = float(pen.rng.uniform(-0.35, 0.6))
    wing: list[Point] = [(0.14, body_v + 0.08), (-0.2, body_v + 0.08), (-0.42, body_v + lift)]
    tip: list[Point] = [(-0.3, body_v + lift * 1.35), (-0.02, body_v + lift * 0.75)]
    far = [(u + 0.26, v + 0.03) for u, v in wing + tip]
    pen.fill(far, colour=_scaled(feathers, 0.5), texture=CLOTH)
    pen.fill(wing + tip, colour=dark, shade=0.3, texture=partial(striped, pitch=3.0, strength=0.1))


def sheep(pen: Pen) -> None:
    """Woolly body, dark head and legs; grazing or looking up."""
    wool = pen.pick(WOOLS)
    face: Colour = pen.pick(((52, 44, 42), (70, 56, 48), (210, 196, 176)))
    pen.shadow(0.72)
    for u in (-0.38, -0.22, 0.2, 0.36):
        pen.fill(box(u - 0.05, 0.0, u + 0.05, 0.42), colour=_scaled(face, 0.85))
    body = puff(0.0, 0.62, 0.64, 0.38, rng=pen.rng, bumps=13, depth=0.1)
    pen.fill(body, colour=wool, shade=0.3, texture=WOOL)
    head_v = 0.78 if pen.rng.random() < 0.6 else 0.36
    pen.fill(oval(0.5, head_v + 0.12, 0.12, 0.05, -0.5), colour=_scaled(face, 0.8))
    pen.fill(oval(0.68, head_v, 0.19, 0.13, -0.7), colour=face, shade=0.25)
    pen.fill(oval(0.84, head_v + 0.1, 0.1, 0.04, -0.3), colour=_scaled(face, 0.8))
    pen.fill(oval(0.7, head_v + 0.04, 0.025, 0.025), colour=(240, 236, 224), shade=0.0)
    pen.fill(
        puff(0.55, head_v + 0.12, 0.14, 0.1, rng=pen.rng, bumps=6, depth=0.2),
        colour=wool,
        texture=WOOL,
    )


def tree(pen: Pen) -> None:
    """Leafy, green or seldom in autumn colours, or a fir; always with a visible trunk."""
    pen.shadow(0.34, depth=0.04)
    kind = pen.rng.random()
    if kind < 0.3:
        _fir(pen)
    else:
        _leafy(pen, autumn=kind > 0.85)


def _leafy(pen: Pen, *, autumn: bool) -> None:
    bark, leaves = pen.pick(BARK), pen.pick(AUTUMN if autumn else GREENS)
    fork = float(pen.rng.uniform(0.36, 0.48))
    trunk: list[Point] = [(-0.07, 0), (-0.04, fork + 0.15), (0.04, fork + 0.15), (0.07, 0)]
    grain = partial(striped, pitch=3.0, strength=0.12)
    pen.fill(trunk, colour=bark, shade=0.3, texture=grain)
    for side in (-1, 1):
        pen.stroke([(0, fork - 0.08), (side * 0.16, fork + 0.16)], colour=bark, width=0.035)
    wide = float(pen.rng.uniform(0.28, 0.38))
    for _ in range(5):
        u = float(pen.rng.uniform(-0.5, 0.5)) * wide
        v = fork + float(pen.rng.uniform(0.18, 0.42))
        crown = puff(u, v, wide * 0.75, 0.2, rng=pen.rng, bumps=11, depth=0.13)
        tone = float(pen.rng.uniform(0.82, 1.12))
        pen.fill(crown, colour=_scaled(leaves, tone), shade=0.3, texture=LEAVES)


def _fir(pen: Pen) -> None:
    bark, needles = pen.pick(BARK), pen.pick(NEEDLES)
    pen.fill(box(-0.045, 0.0, 0.045, 0.3), colour=bark, shade=0.3)
    rough = partial(mottled, cell=2, strength=0.18)
    for step in range(4):
        low, wide = 0.16 + 0.19 * step, 0.29 - 0.058 * step
        edge = np.linspace(-1, 1, 9)
        hem = low + 0.035 * (np.arange(9) % 2) + 0.02 * np.abs(edge)
        skirt = [(float(wide * u), float(v)) for u, v in zip(edge, hem, strict=True)]
        tone = 0.85 + 0.07 * step
        pen.fill([*skirt, (0, low + 0.3)], colour=_scaled(needles, tone), shade=0.3, texture=rough)


def person(pen: Pen) -> None:
    """Standing or walking, perhaps with a hat or an arm raised (`pen` mirrors)."""
    skin, hair, shirt, legs = (pen.pick(of) for of in (SKIN, HAIR, SHIRTS, TROUSERS))
    stride = float(pen.rng.uniform(0.03, 0.11))
    pen.shadow(0.2, depth=0.035)
    for side, tone in ((-1, 0.85), (1, 1.0)):
        foot = side * stride
        leg = [(side * 0.015, 0.5), (side * 0.085, 0.5), (foot + 0.035, 0.04), (foot - 0.035, 0.04)]
        pen.fill(leg, colour=_scaled(legs, tone), texture=CLOTH)
        pen.fill(oval(foot + 0.02, 0.025, 0.065, 0.028), colour=(40, 34, 32), shade=0.1)
    raised = pen.rng.random() < 0.35
    hand = (0.24, 0.86) if raised else (0.17 + stride / 2, 0.46)
    for end, tone in (((-0.16 - stride / 2, 0.46), 0.85), (hand, 1.0)):
        side = np.sign(end[0])
        elbow = (0.6 * end[0] + side * 0.08, (0.78 + end[1]) / 2)
        pen.stroke([(side * 0.1, 0.78), elbow], colour=_scaled(shirt, tone), width=0.07)
        pen.stroke([elbow, end], colour=skin, width=0.05)
    weave = partial(striped, pitch=max(3.0, pen.height * 0.08), upright=False)
    torso: list[Point] = [(-0.1, 0.46), (-0.13, 0.78), (-0.06, 0.83), (0.06, 0.83), (0.13, 0.78)]
    striped_shirt = pen.rng.random() < 0.35
    pen.fill([*torso, (0.1, 0.46)], colour=shirt, texture=weave if striped_shirt else CLOTH)
    pen.fill(box(-0.03, 0.81, 0.03, 0.87), colour=_scaled(skin, 0.85))
    pen.fill(oval(0.0, 0.925, 0.07, 0.085), colour=hair, shade=0.2)
    pen.fill(oval(0.015, 0.91, 0.058, 0.068), colour=skin, shade=0.25)
    if pen.rng.random() < 0.3:
        hat = pen.pick(SHIRTS)
        pen.fill(oval(0.0, 0.965, 0.12, 0.018), oval(0.0, 0.985, 0.065, 0.04), colour=hat)


def _scaled(colour: Colour, tone: float) -> Colour:
    red, green, blue = (min(255, int(channel * tone)) for channel in colour)
    return red, green, blue
