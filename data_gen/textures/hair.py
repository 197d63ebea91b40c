"""A person's hair: its colour, how grey, where it has gone, and how it is cut."""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures.haircut import CUTS, Haircut, choose
from data_gen.textures.noise import smoothstep

COLORS = {  # linear RGB
    "black": (0.014, 0.011, 0.010),
    "dark brown": (0.036, 0.021, 0.013),
    "brown": (0.085, 0.048, 0.026),
    "light brown": (0.140, 0.090, 0.052),
    "blond": (0.230, 0.165, 0.100),
    "red": (0.200, 0.070, 0.025),
}
CHANCES = {  # in the order above
    "african": (0.9, 0.1, 0, 0, 0, 0),
    "east_asian": (0.85, 0.15, 0, 0, 0, 0),
    "european": (0.06, 0.26, 0.28, 0.2, 0.15, 0.05),
    "latin_american": (0.45, 0.38, 0.14, 0.03, 0, 0),
    "middle_eastern": (0.5, 0.38, 0.12, 0, 0, 0),
    "south_asian": (0.82, 0.18, 0, 0, 0, 0),
}
GREY = np.array([0.215, 0.209, 0.203])


@dataclasses.dataclass(frozen=True)
class Hair:
    """One person's hair.

    Attributes:
      color: (3,) linear RGB; grey: share of grey hair, 0..1.
      bald: 0..1, on the crown; recession: mm, at the temples; hairline: height above the eyes in mm.
      peak: mm by which the middle of the hairline dips; wobble: 0..1, how its line wanders; soft: mm over which
        it thins out.
      name, cut: the haircut.
    """

    color: np.ndarray
    grey: float
    bald: float
    recession: float
    hairline: float
    peak: float
    wobble: float
    soft: float
    name: str
    cut: Haircut


def style(identity: Identity) -> Hair:
    """Hair of an identity by group, gender and age."""
    rng = stream(identity.seed, "hair")
    group, male, age = ETHNICITIES[identity.ethnicity], GENDERS[identity.gender] == "male", identity.age
    color = np.array(list(COLORS.values()))[rng.choice(len(COLORS), p=CHANCES[group])] * np.exp(rng.normal(0, 0.12))
    onset = {"african": 44, "east_asian": 45, "south_asian": 43}.get(group, 39)
    grey = float(np.clip((age - onset + 7 * np.clip(rng.normal(), -1.5, 1.5)) / 34, 0, 1)) ** 1.3
    if not male and rng.random() < 0.55:
        grey *= 0.25  # coloured
    balding = male and rng.random() < np.clip((age - 22) / 80, 0, 0.6)
    bald = float(rng.uniform(0.4, 1.0)) if balding and age > 30 else 0.0
    recession = rng.uniform(2, 7) + (rng.uniform(0, 9) * np.clip((age - 20) / 40, 0, 1) if male else 0) + 12 * bald
    name, cut = choose(stream(identity.seed, "haircut"), identity)
    if bald and name != "buzz":  # what is left is worn short
        name, cut = "balding", dataclasses.replace(CUTS["crop"], top=14.0, sides=12.0, lift=3.0, flare=2.5, wisps=2200)
    return Hair(
        color=color,
        grey=grey,
        bald=bald,
        recession=float(recession),
        hairline=float(rng.normal(65 if male else 62, 2.5) + 22 * bald),
        peak=float(max(rng.normal(1.0, 2.5), 0.0)),
        wobble=float(rng.random()),
        soft=float(rng.uniform(2, 6) + 5 * bald),
        name=name,
        cut=cut,
    )


def hair_color(hair: Hair, strand: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """(P, 3) linear RGB: strands lighter and darker, `hair.grey` of them grey where `salt` (unit variance) is high."""
    grey = 0.0
    if hair.grey > 0.02:  # single white hairs, more and more of them
        threshold = 1.6 - 3.4 * hair.grey
        grey = smoothstep(threshold - 0.9, threshold + 0.9, np.clip(salt, -1.8, 1.8))[:, None]
    faded = hair.color * (1 - hair.grey) + hair.color.mean() * hair.grey  # white hair among red is not pink
    base = faded * (1 - grey) + GREY * grey
    return (base * np.exp(0.30 * np.clip(strand, -2.5, 1.5))[:, None]).astype(np.float32)
