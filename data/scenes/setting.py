"""Settings: which things meet where. What never shares a setting never shares a photo."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from data.scenes import backdrop, clutter, creatures, things
from data.scenes.backdrop import Zones
from data.scenes.canvas import Canvas, Draw

Place = Literal["sky", "water", "ground", "road"]


class Kind(NamedTuple):
    """How a class or a piece of clutter is drawn."""

    draw: Draw
    tall: float
    """Height close to the viewer, in shorter sides of the photo."""
    wide: float
    """Width in heights."""


class Guest(NamedTuple):
    """How often a kind comes to a setting."""

    chance: float
    place: Place
    most: int = 1
    """Largest number of them."""


@dataclass(frozen=True)
class Setting:
    """A backdrop and who comes to it."""

    backdrop: Callable[[Canvas], Zones]
    guests: Mapping[str, Guest]
    """By class name, in table order."""
    clutter: Mapping[str, Guest]


KINDS: dict[str, Kind] = {
    "boat":   Kind(things.boat,      0.72, 1.2),
    "bird":   Kind(creatures.bird,   0.34, 1.2),
    "sheep":  Kind(creatures.sheep,  0.46, 1.6),
    "tree":   Kind(creatures.tree,   1.05, 0.7),
    "car":    Kind(things.car,       0.40, 2.3),
    "house":  Kind(things.house,     0.90, 1.2),
    "kite":   Kind(things.kite,      0.42, 0.9),
    "person": Kind(creatures.person, 0.74, 0.4),
}  # fmt: skip

CLUTTER: dict[str, Kind] = {
    "bush":    Kind(clutter.bush,    0.22, 1.8),
    "rock":    Kind(clutter.rock,    0.20, 1.7),
    "fence":   Kind(clutter.fence,   0.17, 3.8),
    "lamp":    Kind(clutter.lamp,    0.70, 0.4),
    "bale":    Kind(clutter.bale,    0.24, 1.1),
    "parasol": Kind(clutter.parasol, 0.42, 1.3),
    "balloon": Kind(clutter.balloon, 0.34, 0.8),
    "buoy":    Kind(clutter.buoy,    0.18, 0.6),
    "crate":   Kind(clutter.crate,   0.18, 1.1),
}  # fmt: skip

SETTINGS: dict[str, Setting] = {
    "sea": Setting(
        backdrop.open_sea,
        {"boat": Guest(0.9, "water", 3), "bird": Guest(0.65, "sky", 3)},
        {"buoy": Guest(0.4, "water", 2), "rock": Guest(0.3, "water", 2)},
    ),
    "beach": Setting(
        backdrop.beach,
        {
            "boat": Guest(0.5, "water", 2),
            "bird": Guest(0.35, "ground", 2),
            "kite": Guest(0.5, "sky", 2),
            "person": Guest(0.7, "ground", 3),
        },
        {"parasol": Guest(0.5, "ground", 2), "rock": Guest(0.3, "ground", 2),
         "crate": Guest(0.2, "ground")},
    ),
    "meadow": Setting(
        backdrop.meadow,
        {
            "bird": Guest(0.2, "sky", 2),
            "sheep": Guest(0.75, "ground", 4),
            "tree": Guest(0.55, "ground", 2),
            "house": Guest(0.2, "ground"),
            "person": Guest(0.15, "ground"),
        },
        {"bush": Guest(0.4, "ground", 2), "rock": Guest(0.45, "ground", 2),
         "fence": Guest(0.4, "ground"), "bale": Guest(0.3, "ground", 2)},
    ),
    "street": Setting(
        backdrop.street,
        {
            "tree": Guest(0.4, "ground", 2),
            "car": Guest(0.8, "road", 2),
            "house": Guest(0.75, "ground", 2),
            "person": Guest(0.4, "road", 2),
        },
        {"lamp": Guest(0.5, "ground", 2), "bush": Guest(0.5, "ground", 2),
         "fence": Guest(0.35, "ground"), "crate": Guest(0.2, "road")},
    ),
    "hilltop": Setting(
        backdrop.hilltop,
        {
            "bird": Guest(0.4, "sky", 3),
            "tree": Guest(0.25, "ground"),
            "kite": Guest(0.7, "sky", 3),
            "person": Guest(0.45, "ground", 2),
        },
        {"balloon": Guest(0.5, "sky", 2), "bush": Guest(0.3, "ground"),
         "rock": Guest(0.3, "ground")},
    ),
}  # fmt: skip
