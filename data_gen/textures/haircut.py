"""Haircuts: how hair grows, falls and is worn, and who wears what."""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity


@dataclasses.dataclass(frozen=True)
class Haircut:
    """A way to wear hair. Lengths in mm.

    Attributes:
      top, sides: length of the hair on top and beside the ears.
      lift: how far the body of hair stands off the scalp on top; flare: the same beside the head.
      forward, back, lateral, down, away, tie: how strongly hair is drawn away from the whorl at the crown, to the back,
        away from the parting, down, straight off the scalp, to the knot at the back.
      part: how far left of the middle the parting lies; None: no parting.
      rise: how steeply hair leaves the scalp, 0 lies flat, 1 stands up.
      wave: amplitude; pitch: length of one wave.
      nodes: of one wisp; wisps: how many; width: of one.
      pattern: of the strands, 'straight', 'wavy' or 'coily'.
      level: height above the eyes at which the scissors cut hanging hair.
    """

    top: float
    sides: float
    lift: float
    flare: float
    forward: float = 0.0
    back: float = 0.0
    lateral: float = 0.0
    down: float = 0.4
    away: float = 0.0
    tie: float = 0.0
    part: float | None = None
    rise: float = 0.0
    wave: float = 0.0
    pitch: float = 60.0
    nodes: int = 6
    wisps: int = 1500
    width: float = 5.0
    pattern: str = "straight"
    level: float = -165.0


CUTS = {
    "buzz": Haircut(5, 4, 1.5, 1.0, forward=1.0, rise=0.35, nodes=3, wisps=4800, width=1.3),
    "crop": Haircut(34, 13, 7, 3, forward=1.0, down=0.3, rise=0.30, nodes=5, wisps=2100, width=3.6),
    "fringe": Haircut(66, 40, 9, 6, forward=1.0, down=0.5, lateral=0.35, part=24.0, rise=0.1, nodes=7, wisps=1500),
    "side part": Haircut(70, 16, 13, 3, lateral=1.0, back=0.45, part=30.0, rise=0.14, nodes=6, wisps=1700),
    "swept back": Haircut(75, 20, 14, 3, back=1.0, down=0.3, rise=0.16, nodes=6, wisps=1700),
    "quiff": Haircut(50, 11, 15, 2, back=0.8, down=0.3, rise=0.42, nodes=6, wisps=1900, width=4.5),
    "pixie": Haircut(78, 46, 12, 7, lateral=0.9, back=0.1, forward=0.3, part=26.0, rise=0.1, nodes=7, wisps=1500),
    "bob": Haircut(
        215, 165, 12, 9, lateral=1.0, back=0.25, down=0.7, part=8.0, nodes=11, wisps=380, width=7.0, level=-92
    ),
    "long middle": Haircut(330, 270, 9, 6, lateral=1.0, back=0.5, down=0.7, part=0.0, nodes=12, wisps=310, width=7.5),
    "long side": Haircut(330, 270, 12, 8, lateral=1.0, back=0.45, down=0.7, part=24.0, nodes=12, wisps=310, width=7.5),
    "long back": Haircut(330, 260, 13, 7, back=1.0, down=0.5, rise=0.05, nodes=12, wisps=310, width=7.5),
    "tied": Haircut(260, 200, 5, 3, tie=1.0, down=0.0, nodes=9, wisps=1500, width=4.2),
    "curly short": Haircut(48, 28, 16, 10, forward=0.6, down=0.4, rise=0.35, wave=4.0, pitch=30, nodes=9, wisps=1300),
    "curly long": Haircut(
        260, 220, 15, 17, lateral=1.0, back=0.4, down=0.7, part=12.0, wave=7.0, pitch=42, nodes=18, wisps=300, width=8.0
    ),
    "coily short": Haircut(16, 9, 9, 5, away=1.0, down=0.0, rise=1.0, nodes=4, wisps=2000, width=7.0, pattern="coily"),
    "afro": Haircut(58, 50, 50, 40, away=1.0, down=0.0, rise=1.0, wave=2.5, pitch=22, nodes=7, wisps=1500, width=12.0),
}
SHORT = {"crop": 4, "side part": 4, "swept back": 2, "quiff": 3, "buzz": 2.5, "fringe": 1.5, "curly short": 1}
LONG = {
    "long middle": 3, "long side": 3, "long back": 2, "bob": 3, "tied": 3.5, "curly long": 1.5, "pixie": 2,
    "fringe": 0.5,
}  # fmt: skip
COILY_MEN = {"coily short": 5, "buzz": 4, "afro": 1.2, "curly short": 0.8, "tied": 0.3}
COILY_WOMEN = {"afro": 3.5, "coily short": 2.5, "tied": 3, "curly long": 2.5, "long middle": 1.2, "bob": 1, "buzz": 0.5}


def choose(rng: np.random.Generator, identity: Identity) -> tuple[str, Haircut]:
    """Name and measures of a haircut, by gender, group and age; every cut is open to more than one group."""
    male, group, age = GENDERS[identity.gender] == "male", ETHNICITIES[identity.ethnicity], identity.age
    coily = group == "african" or (group == "latin_american" and rng.random() < 0.15)
    weights = dict((COILY_MEN if male else COILY_WOMEN) if coily else (SHORT if male else LONG))
    if male and not coily and age < 60:
        weights |= {"long back": 0.35, "bob": 0.25, "tied": 0.25}
    if not male and age > 55:  # shorter with age
        weights = {name: w * (0.35 if CUTS[name].top > 250 else 1) for name, w in weights.items()}
        weights["pixie"] = weights.get("pixie", 1.0) * 2.5
        if not coily:
            weights |= {"curly short": 2.0, "side part": 0.8}
    names = list(weights)
    share = np.array([weights[name] for name in names], float)
    name = names[rng.choice(len(names), p=share / share.sum())]
    cut = CUTS[name]
    grown = float(rng.uniform(0.8, 1.2))
    wavy = {"east_asian": 0.15, "african": 0.6}.get(group, 0.4)
    wave, pitch, pattern = cut.wave, cut.pitch, cut.pattern
    if not wave and cut.top > 30 and cut.pattern == "straight" and rng.random() < wavy:
        wave, pitch = float(rng.uniform(0.5, 3.5)) * min(cut.top / 150, 1), float(rng.uniform(45, 90))
    if wave > 2 and pattern == "straight":
        pattern = "wavy"
    if name == "afro" or (coily and name in ("tied", "buzz")):
        pattern = "coily"
    return name, dataclasses.replace(
        cut,
        top=cut.top * grown,
        sides=cut.sides * grown * float(rng.uniform(0.85, 1.15)),
        lift=cut.lift * float(rng.uniform(0.8, 1.2)) * (0.8 if age > 65 else 1),
        flare=cut.flare * float(rng.uniform(0.8, 1.25)),
        part=None if cut.part is None else float(cut.part * rng.uniform(0.6, 1.25) * rng.choice([-1.0, 1.0])),
        wave=wave,
        pitch=pitch,
        pattern=pattern,
    )
