"""Eyeballs: sclera with veins, iris with fibres and limbal ring, pupil, caruncle and the wet edge of the lid.

The eyeball's surface is the cornea: what lies behind it, the iris, is painted on it. Radii are adult averages (visible
iris 11.7 mm across: Rufer et al., "White-to-white corneal diameter", Cornea 24, 2005).
"""

import numpy as np

from data_gen.scene import ETHNICITIES, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

IRIS_MM = 5.85  # radius
PUPIL_MM = (1.5, 2.3)  # radius in a lit room; the old end of the range belongs to the young
IRIS_COLORS = {  # linear RGB of the outer iris, and of the ring about the pupil
    "dark brown": ((0.026, 0.012, 0.007), (0.034, 0.015, 0.008)),
    "brown": ((0.050, 0.023, 0.011), (0.062, 0.028, 0.012)),
    "hazel": ((0.080, 0.066, 0.028), (0.110, 0.055, 0.018)),
    "green": ((0.070, 0.078, 0.045), (0.095, 0.076, 0.034)),
    "grey": ((0.105, 0.125, 0.138), (0.130, 0.130, 0.115)),
    "blue": ((0.074, 0.092, 0.112), (0.105, 0.108, 0.100)),
}
IRIS_CHANCES = {  # in the order above; set by eye after published regional frequencies
    "african": (0.8, 0.2, 0, 0, 0, 0),
    "east_asian": (0.75, 0.25, 0, 0, 0, 0),
    "european": (0.08, 0.27, 0.15, 0.12, 0.1, 0.28),
    "latin_american": (0.4, 0.4, 0.14, 0.04, 0, 0.02),
    "middle_eastern": (0.35, 0.4, 0.15, 0.07, 0, 0.03),
    "south_asian": (0.6, 0.35, 0.05, 0, 0, 0),
}
SCLERA = (0.47, 0.415, 0.385)
BLOOD = (0.35, 1.0, 0.9)  # how strongly blood takes each colour away
CARUNCLE = (0.40, 0.135, 0.105)
DRY, WET = 0.22, 0.10  # roughness of the ball, and of cornea and tear line
_LIDS = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))  # upper, lower; right, left eye


def eyes(identity: Identity, points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Both eyeballs as the open lids frame them.

    Args:
      points: (N, 3) of all eyeball texels in the anatomy's frame (adult mm); the foremost of a side is its pupil.
      face: for its landmarks.

    Returns:
      (N, 3) float32 linear RGB and (N,) float32 roughness.
    """
    color, roughness = np.zeros((len(points), 3), np.float32), np.full(len(points), DRY, np.float32)
    for side, mine in enumerate((points[:, 0] < 0, points[:, 0] >= 0)):
        if mine.any():
            # both eyes of a person draw the same iris colour; fibres and veins differ
            color[mine], roughness[mine] = _ball(identity, points[mine].astype(np.float64), side, face.landmarks)
    return color, roughness


def _ball(identity: Identity, p: np.ndarray, side: int, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = stream(identity.seed, f"eye {side}")
    pole = p[p[:, 2].argmax()]
    x, y = (p - pole)[:, :2].T
    radius = np.where(p[:, 2] > pole[2] - 8, np.hypot(x, y), 99.0)  # the back of the ball shows no iris
    upper, lower = (_edge(landmarks[list(points)], p[:, 0]) for points in _LIDS[side])
    corner = landmarks[(39, 42)[side], :2]
    iris, outside = _iris(identity, rng, x, y, radius)
    white = _sclera(identity, rng, p, radius, corner)
    rgb = iris * (1 - outside[:, None]) + white * outside[:, None]

    below, above = upper - p[:, 1], p[:, 1] - lower  # mm below the upper lid's edge, above the lower one's
    shade = 1 - 0.62 * smoothstep(4.8, -0.3, below) ** 1.4  # lid and lashes shade the ball
    shade *= 1 - 0.30 * smoothstep(1.8, -0.5, above)
    red = smoothstep(1.6, 0.0, np.minimum(below, above)) * outside  # the lids' lining shows through at their edges
    rgb = rgb * (shade[:, None] * np.exp(-0.30 * red[:, None] * BLOOD))
    tears = np.exp(-(((above - 0.25) / 0.30) ** 2))
    rgb = rgb * (1 + 0.25 * tears[:, None])
    roughness = DRY - (DRY - WET) * np.maximum(1 - outside, tears)
    return rgb, roughness


def _edge(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """y of a lid's edge at x: the cubic through its four landmarks."""
    return np.polyval(np.polyfit(points[:, 0] - points[:, 0].mean(), points[:, 1], 3), x - points[:, 0].mean())


def _iris(identity: Identity, rng, x, y, radius) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB of iris and pupil, and (N,) how far outside the iris each texel lies, 0..1."""
    person = stream(identity.seed, "iris")
    chances = IRIS_CHANCES[ETHNICITIES[identity.ethnicity]]
    outer, inner = np.array(list(IRIS_COLORS.values())[person.choice(len(IRIS_COLORS), p=chances)])
    tint = np.exp(person.normal(0, 0.18) + person.normal(0, 0.05, 3))
    age = smoothstep(20.0, 80.0, np.float64(identity.age))
    pupil = PUPIL_MM[1] + (PUPIL_MM[0] - PUPIL_MM[1]) * np.clip(0.6 * age + person.uniform(0, 0.5), 0, 1)
    collarette = pupil + person.uniform(1.0, 1.5)
    rays = np.stack([x, y], -1) / np.maximum(radius, 1e-6)[:, None]
    drawn = np.concatenate([rays * 6.0, (0.28 * radius)[:, None]], -1)  # radial streaks that change slowly outwards
    fibres = 0.5 * noise(rng, drawn, 0.32) + 0.5 * noise(rng, drawn, 0.85)  # deviation about 1.4
    wavy = collarette + 0.12 * noise(rng, rays * 6.0, 1.2)
    heart = smoothstep(0.5, -0.5, radius - wavy)
    rgb = (outer * (1 - heart[:, None]) + inner * heart[:, None]) * tint
    rgb = rgb * np.exp(np.clip(0.24 * fibres, -0.6, 0.6))[:, None]
    rgb = rgb * (1 + 0.35 * np.exp(-(((radius - wavy) / 0.35) ** 2)))[:, None]
    rgb = rgb * (1 + 0.45 * smoothstep(1.5, -4.5, y))[:, None]  # light from above gathers below, as in a lens
    rgb = rgb * (1 - 0.72 * smoothstep(0.72 * IRIS_MM, 1.0 * IRIS_MM, radius))[:, None]  # limbal ring
    rgb = rgb * smoothstep(pupil - 0.2, pupil + 0.2, radius)[:, None] + 0.003
    arcus = 0.25 * age * person.uniform(0, 1) * np.exp(-(((radius - 0.92 * IRIS_MM) / 0.4) ** 2))  # grey ring of age
    rgb = rgb * (1 - arcus[:, None]) + 0.22 * arcus[:, None]
    return rgb, smoothstep(IRIS_MM - 0.40, IRIS_MM + 0.45, radius)


def _sclera(identity: Identity, rng, p, radius, corner) -> np.ndarray:
    """(N, 3) linear RGB: off-white, yellower and redder with age, veins from the corners, the pink caruncle."""
    person = stream(identity.seed, "sclera")
    age = smoothstep(35.0, 85.0, np.float64(identity.age))
    dark_skinned = ETHNICITIES[identity.ethnicity] in ("african", "south_asian")
    yellow = 0.05 + 0.12 * age + 0.10 * dark_skinned + 0.05 * person.uniform()
    blood = 0.10 + 0.16 * age + 0.14 * person.uniform()
    away = smoothstep(IRIS_MM, 12.0, radius)
    rgb = np.array(SCLERA) * np.exp(person.normal(0, 0.05)) * (1 - yellow * np.array([0.1, 0.35, 1.2]))
    stretched = p * [0.45, 1.0, 1.0]  # veins run towards the iris
    thin = np.maximum(1 - 1.6 * np.abs(noise(rng, stretched, 1.3)), 0) * smoothstep(-0.5, 1.5, noise(rng, p, 3.0))
    redness = blood * (0.25 + 0.75 * away) + 2.2 * blood * thin * away
    rgb = rgb * np.exp(-redness[:, None] * BLOOD)
    rgb = rgb * (1 - 0.35 * away)[:, None]  # the ball turns away into the lids' shadow
    flesh = smoothstep(4.2, 1.8, np.hypot(*(p[:, :2] - corner).T))[:, None]
    return rgb * (1 - flesh) + np.array(CARUNCLE) * flesh
