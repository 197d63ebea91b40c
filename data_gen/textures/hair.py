"""Hair of the head and the brows: where it grows, its colour, its strands, and how far it stands off the skin."""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

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
      volume: mm; length: mm below the hairline at the nape, 0 for short hair; curl: 0..1.
      parting: tilt of its front and its back end from upright (degrees, forward), and how far it lies to the left.
    """

    color: np.ndarray
    grey: float
    bald: float
    recession: float
    hairline: float
    volume: float
    length: float
    curl: float
    parting: tuple[float, float, float]


def style(identity: Identity) -> Hair:
    """Hair of an identity by group, gender and age."""
    rng = stream(identity.seed, "hair")
    group, male, age = ETHNICITIES[identity.ethnicity], GENDERS[identity.gender] == "male", identity.age
    color = np.array(list(COLORS.values()))[rng.choice(len(COLORS), p=CHANCES[group])] * np.exp(rng.normal(0, 0.12))
    onset = {"african": 44, "east_asian": 45, "south_asian": 43}.get(group, 38)
    grey = float(np.clip((age - onset + 6 * np.clip(rng.normal(), -1.5, 1.5)) / 30, 0, 1)) ** 0.8
    if not male and rng.random() < 0.55:
        grey *= 0.25  # coloured
    balding = male and rng.random() < np.clip((age - 22) / 80, 0, 0.6)
    bald = float(rng.uniform(0.4, 1.0)) if balding and age > 30 else 0.0
    african = group == "african"
    long = 0.0 if male or rng.random() < (0.4 if african else 0.15) else float(rng.uniform(20, 110))
    side = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.05, 0.35))
    return Hair(
        color=color,
        grey=grey,
        bald=bald,
        recession=float(rng.uniform(2, 8) + (rng.uniform(0, 9) * np.clip((age - 20) / 40, 0, 1) if male else 0))
        + 12 * bald,
        hairline=float(rng.normal(70 if male else 67, 2.5) + 22 * bald),
        volume=_volume(rng, male, african) * (1 - 0.25 * float(smoothstep(40.0, 80.0, np.float64(age)))),
        length=long,
        curl=float(rng.uniform(0.85, 1.0) if african else rng.uniform(0, 0.55) ** 1.5),
        parting=(50.0, -30.0, side) if long else (-8.0, -24.0, 0.3 * side),
    )


def _volume(rng: np.random.Generator, male: bool, curly: bool) -> float:
    return float(rng.uniform(5, 16) if male else rng.uniform(11, 26) if curly else rng.uniform(11, 18))


def inside_hairline(hair: Hair, landmarks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) mm above the border of the hair at (P, 3) points of the head's surface, negative outside."""
    x, y, z = points.T
    ear_y = landmarks[[0, 16], 1].mean()
    # the hairline seen from the side: nape, behind the ear, over it, sideburn, temple, forehead
    knots = np.array(
        [
            (-200, ear_y - 58), (-48, ear_y - 55), (-40, ear_y - 42), (-34, ear_y + 6),
            (-10, ear_y + 12), (-2, ear_y + 4), (0, ear_y - 20), (9, ear_y - 16), (17, ear_y + 14), (26, ear_y + 40),
            (34, hair.hairline - 10), (48, hair.hairline), (90, hair.hairline + 1),
        ]
    )  # fmt: skip
    border = np.interp(z, knots[:, 0], knots[:, 1])
    front = smoothstep(10, 30, z)
    border += front * 3.0 * np.sin(x / 9.0 + 40 * hair.volume) * np.sin(x / 23.0 + 70 * hair.hairline)  # no ruler
    border += front * hair.recession * np.exp(-(((np.abs(x) - 42) / 15) ** 2))
    return y - border


def coverage(hair: Hair, face: Anatomy) -> np.ndarray:
    """(P,) mm inside the hair's border on the scalp, negative outside it, on the ears and where the crown is bald."""
    x, y, z = face.points.T
    inside = np.where(is_ear(face), -20.0, inside_hairline(hair, face.landmarks, face.points))
    if hair.bald:
        crown = np.hypot(x / 1.1, (z + 25) / 1.5)
        top = smoothstep(35, 62, y) * smoothstep(75, 40, np.hypot(x, np.minimum(z + 25, 0) * 0.8))
        inside -= hair.bald * 60 * top * (1 if hair.bald > 0.6 else smoothstep(55, 30, crown))
    return inside.astype(np.float32)


def is_ear(face: Anatomy) -> np.ndarray:
    """(P,) bool: what sticks out beside the head at the height of the ears."""
    x, y, z = face.points.T
    ear_y = face.landmarks[[0, 16], 1].mean()
    above = (z > -45) & (z < 5) & (y > ear_y + 25) & (y < ear_y + 45)
    side = np.abs(x[above]).max(initial=0.0)
    helix = (z > -62) & (z < 4) & (np.abs(x) > side - 5) & (y < ear_y + 9)
    concha = (z > -32) & (z < 4) & (np.abs(x) > side - 14) & (y < ear_y - 10)
    return (helix | concha) & (y > ear_y - 80)


def paint_scalp(
    identity: Identity, hair: Hair, face: Anatomy, color: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Combs hair over skin.

    Args:
      color: (P, 3) linear RGB of the skin.

    Returns:
      (P, 3) colour, (P,) opacity of the hair, (P,) height of the strands in mm.
    """
    rng = stream(identity.seed, "strands")
    inside = coverage(hair, face)
    if hair.bald == 0 and hair.volume >= 2:
        inside = inside - 4.0  # standing hair covers the border itself
    near = np.flatnonzero(inside > -12)
    points, inside = face.points[near], inside[near]
    x, y, z = points.T
    # strands run away from a parting near the crown; across them the picture changes fast, along them slowly
    around = np.arctan2(x - 8.0, z + 30.0 + 0.35 * (y - 70))
    across = np.stack([np.cos(around) * 70, np.sin(around) * 70], -1)
    along = np.linalg.norm(points - [8.0, 105.0, -30.0], axis=-1)
    comb = np.column_stack([across + 0.9 * noise(rng, points, 26.0)[:, None], along * 0.06]).astype(np.float32)
    straight = 0.55 * noise(rng, comb, 0.8) + 0.5 * noise(rng, comb, 2.0) + 0.3 * noise(rng, comb, 6.0)
    curly = 0.6 * noise(rng, points, 2.2) + 0.6 * rng.standard_normal(len(near), dtype=np.float32)
    short = max(hair.curl, 0.8 * (hair.bald > 0))  # cropped hair looks stippled, not combed
    strand = straight * (1 - short) + curly * short
    jagged = 1.7 * noise(rng, comb, 1.6) + 2.5 * noise(rng, points, 14.0) + 0.8 * rng.standard_normal(len(near))
    soft = 3.0 if hair.hairline < 80 else 7.0
    opacity = smoothstep(-1.0 - soft, soft, inside + jagged).astype(np.float32)
    opacity *= 1 - 0.45 * hair.bald * smoothstep(0.3, -0.7, strand)
    tint = hair_color(hair, strand, strand)
    out, total, height = color.copy(), np.zeros(len(color), np.float32), np.zeros(len(color), np.float32)
    out[near] = color[near] * (1 - opacity[:, None]) + tint * opacity[:, None]
    total[near], height[near] = opacity, 0.12 * opacity * strand
    return out, total, height


def hair_color(hair: Hair, strand: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """(P, 3) linear RGB: strands lighter and darker, `hair.grey` of them grey where `salt` (unit variance) is high."""
    grey = 0.0
    if hair.grey > 0.02:
        grey = np.clip(hair.grey + 1.1 * hair.grey * (1 - hair.grey) * np.clip(salt, -1, 1), 0, 1)[:, None]
    base = hair.color * (1 - grey) + GREY * grey
    return (base * np.exp(0.30 * np.clip(strand, -2.5, 1.5))[:, None]).astype(np.float32)


def paint_brows(identity: Identity, hair: Hair, face: Anatomy, color: np.ndarray) -> np.ndarray:
    """Brows of single hairs: they rise at the inner end and lie down towards the tail. (P, 3) colour over `color`."""
    rng = stream(identity.seed, "brows")
    male, age = GENDERS[identity.gender] == "male", identity.age
    half = (rng.uniform(3.6, 5.2) if male else rng.uniform(2.2, 3.6)) * (1 - 0.1 * (age > 65))
    count = int((200 if male else 165) * rng.uniform(0.8, 1.15) * (1 - 0.3 * smoothstep(55.0, 85.0, np.float64(age))))
    near = np.flatnonzero((np.abs(face.brow_across) < half + 8) & (face.front > 0.05))
    along, across = face.brow_along[near], face.brow_across[near]
    keep, shade = np.ones(len(near), np.float32), np.zeros(len(near), np.float32)
    for is_right in (True, False):
        side = face.right[near] == is_right
        part = rng.beta(1.25, 1.15, count)
        start = part * face.brow_length * 0.95
        thick = half * np.interp(part, [0, 0.2, 0.6, 1], [0.55, 1.0, 0.8, 0.2])
        offset = rng.triangular(-1, -0.1, 1, count) * thick - 0.5
        slope = np.interp(part, [0, 0.25, 0.6, 1], [58, 34, 12, -4]) + rng.normal(0, 9, count)
        slope = np.radians(slope - 14 * offset / half)
        length = rng.uniform(4.0, 8.0, count) * (1 - 0.35 * part)
        a, b = (p[side, None] - q.astype(np.float32) for p, q in ((along, start), (across, offset)))
        cos, sin, length = (q.astype(np.float32) for q in (np.cos(slope), np.sin(slope), length))
        t = np.clip(a * cos + b * sin, 0, length)
        away = np.hypot(a - t * cos, b - t * sin)
        opaque = 0.55 * smoothstep(1.9, 0.4, away / (0.42 * (1.1 - 0.6 * t / length)))  # [P, strokes]
        keep[side] = np.prod(1 - opaque, axis=1)
        shade[side] = (opaque @ rng.normal(0, 1, count)) / np.maximum(opaque.sum(1), 0.3)
    under = np.exp(-((across / half) ** 2)) * smoothstep(2, 14, along)
    under *= smoothstep(face.brow_length, 0.7 * face.brow_length, along)
    opacity = (1 - keep * (1 - 0.25 * under))[:, None]
    grey = dataclasses.replace(hair, grey=0.5 * hair.grey)
    fair = float(smoothstep(0.03, 0.12, hair.color.mean()))
    tint = (0.85 - 0.35 * fair) * hair_color(grey, 0.5 * shade, shade) + 0.004
    out = color.copy()
    out[near] = color[near] * (1 - opacity) + tint * opacity
    return out
