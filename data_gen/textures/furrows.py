"""How many furrows a fold has, where they run and how deep they are on one person, at full depth."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Furrow:
    """A valley along t = `place` + `lean` s + `bow` s^2 (mm or degrees), from s = `start` to `end` (mm).

    `depth` and `width` (where it is half as deep) in mm; `bulges` are the heights of what rises below and above it in
    t, as shares of the depth; `wander` is how far it strays from its course.
    """

    place: float
    start: float
    end: float
    depth: float
    width: float
    lean: float = 0.0
    bow: float = 0.0
    bulges: tuple[float, float] = (0.5, 0.5)
    wander: float = 0.6


def _glabella(rng, old: float) -> list[Furrow]:
    """Commonly an '11', sometimes a third line or a single one in the middle; the brows' heads bulge beside them."""
    apart, low, high = rng.uniform(5.0, 8.0), rng.uniform(-12, -8), rng.uniform(9, 15)
    single = rng.random() < 0.2
    out = []
    for side in (-1, 1):
        lean = side * rng.uniform(0.02, 0.16)
        depth = rng.uniform(1.8, 2.5) * (0.45 if single else 1.0)
        place = side * apart * rng.uniform(0.85, 1.15)
        out.append(Furrow(place, low, high * rng.uniform(0.8, 1.1), depth, 1.7, lean, bulges=(0.65, 0.65)))
        if rng.random() < 0.6 + 0.3 * old:
            beside = side * (apart + rng.uniform(4.0, 5.5))
            out.append(Furrow(beside, -4, rng.uniform(7, 12), rng.uniform(0.4, 0.8), 1.2, 1.5 * lean))
    if single or rng.random() < 0.25:
        out.append(Furrow(rng.uniform(-1.5, 1.5), low, high, 2.2 if single else 0.7, 1.6))
    return out


def _nasal_root(rng, old: float) -> list[Furrow]:
    """Two or three lines across, arched over the bridge."""
    first, step = rng.uniform(-5, -3), rng.uniform(4.0, 5.2)
    return [
        Furrow(
            place=first + k * step,
            start=-rng.uniform(9, 14),
            end=rng.uniform(9, 14),
            depth=rng.uniform(0.7, 1.15),
            width=1.2,
            bow=-rng.uniform(0.01, 0.03),
            wander=0.4,
        )
        for k in range(int(rng.integers(2, 4)))
    ]


def _nose_side(rng, old: float) -> list[Furrow]:
    """'Bunny lines'."""
    first, step = rng.uniform(-6.5, -5), rng.uniform(3.6, 4.6)
    return [
        Furrow(first + k * step, -rng.uniform(7, 11), rng.uniform(6, 10), rng.uniform(0.55, 0.95), 1.0, bow=0.02)
        for k in range(int(rng.integers(3, 5)))
    ]


def _crows_feet(rng, old: float) -> list[Furrow]:
    """Rays from the outer corner; t is in degrees."""
    count = int(rng.integers(3, 5)) + round(1.5 * old)
    angles = np.linspace(-44, 22, count) + rng.uniform(-6, 6, count)
    out = []
    for angle in angles:
        start, depth = rng.uniform(6, 11), rng.uniform(0.55, 0.95)
        out.append(Furrow(angle, start, start + rng.uniform(15, 27), depth, 3.4, rng.uniform(-0.4, 0.4), wander=1.6))
        if rng.random() < 0.35:  # forks
            fork = Furrow(angle + 8, start + 8, start + 24, 0.5 * depth, 2.6, 0.2, wander=1.5)
            out.append(fork)
    return out


def _under_eye(rng, old: float) -> list[Furrow]:
    """The lid's own crease, the fold between lid and cheek, and finer lines between them; t is negative downwards."""
    near, far = rng.uniform(-6.0, -4.6), rng.uniform(-13.5, -11.0)
    out = [
        Furrow(near, -17, 18, rng.uniform(0.6, 0.9), 1.2, 0.03, 0.004, (0.3, 0.9), 0.4),
        Furrow(far, -19, rng.uniform(8, 17), rng.uniform(0.8, 1.2), 1.9, -0.10, 0.006, (0.7, 0.5), 0.5),
    ]
    for place in np.linspace(near, far, 4)[1:-1] + rng.uniform(-0.8, 0.8, 2):
        out.append(Furrow(place, rng.uniform(-12, -4), rng.uniform(8, 18), rng.uniform(0.25, 0.5), 0.9, -0.08, 0.004))
    return out


def _nasolabial(rng, old: float) -> list[Furrow]:
    """One deep groove under the mound of the cheek; t grows towards the cheek."""
    place, end = rng.uniform(-1.2, 1.2), rng.uniform(31, 40)
    out = [
        Furrow(place, -5, end, rng.uniform(1.4, 1.9), 1.9, wander=0.2, bulges=(0.2, 0.75)),
        Furrow(place + 0.6, -6, end + 3, 0.9, 3.6, wander=0.2, bulges=(0.0, 0.8)),  # the mound, broad
    ]
    if rng.random() < 0.3 + 0.4 * old:
        out.append(Furrow(place + rng.uniform(5, 7), 2, end, rng.uniform(0.25, 0.45), 1.7, bulges=(0.3, 0.3)))
    return out


def _marionette(rng, old: float) -> list[Furrow]:
    place, end = rng.uniform(-1, 1.5), rng.uniform(22, 32)
    return [
        Furrow(place, -8, end, rng.uniform(0.5, 0.8), 1.5, bulges=(0.2, 0.5), wander=0.4),
        Furrow(place + 0.5, -8, end + 3, rng.uniform(0.5, 0.9), 3.2, bulges=(0.0, 0.7), wander=0.3),  # the jowl
    ]


def _upper_lip(rng, old: float) -> list[Furrow]:
    """Lines that radiate from the lip's border."""
    places = np.linspace(-17, 17, int(rng.integers(7, 11))) + rng.uniform(-1.2, 1.2)
    return [
        Furrow(x, -1.5, rng.uniform(5, 11), rng.uniform(0.3, 0.7), 0.8, lean=0.02 * x, wander=0.2)
        for x in places + rng.normal(0, 0.7, len(places))
    ]


def _forehead(rng, old: float) -> list[Furrow]:
    """Lines across, each broken somewhere, dipping or not towards the middle."""
    first, step, bow = rng.uniform(13, 17), rng.uniform(6.5, 9.0), rng.uniform(-0.0035, 0.0015)
    out = []
    for k in range(int(rng.integers(3, 5))):
        place, depth = first + k * step + rng.normal(0, 0.7), rng.uniform(0.8, 1.2) * (1 - 0.12 * k)
        cut, gap = rng.uniform(-14, 14), rng.uniform(-9, 7)
        half = rng.uniform(34, 52) - 3 * k
        for start, end in ((-half, cut - gap / 2), (cut + gap / 2, half * rng.uniform(0.8, 1.1))):
            out.append(
                Furrow(place + rng.normal(0, 0.5), start, end, depth, 1.15, bow=bow, bulges=(0.4, 0.4), wander=0.35)
            )
    return out


def _chin(rng, old: float) -> list[Furrow]:
    """The crease under the lip, and dimples as of orange peel."""
    out = [Furrow(8.5, -16, 16, 1.0, 1.8, bow=-0.02)]
    for _ in range(16):
        middle = rng.uniform(-12, 12)
        out.append(Furrow(rng.uniform(-11, 6), middle - 3.5, middle + 3.5, rng.uniform(0.2, 0.45), 1.5, wander=0.3))
    return out


DRAWN = {
    "glabella": _glabella,
    "nasal root": _nasal_root,
    "nose side": _nose_side,
    "crow's feet": _crows_feet,
    "under the eye": _under_eye,
    "nasolabial": _nasolabial,
    "marionette": _marionette,
    "upper lip": _upper_lip,
    "forehead": _forehead,
    "chin": _chin,
}
