"""Eyeballs, teeth and the inside of the mouth."""

import numpy as np

from data_gen.scene import ETHNICITIES, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

IRIS_MM, PUPIL_MM = 5.9, 2.1  # radii
IRIS_COLORS = {  # linear RGB
    "dark brown": (0.030, 0.014, 0.008),
    "brown": (0.075, 0.034, 0.015),
    "hazel": (0.095, 0.058, 0.022),
    "green": (0.090, 0.095, 0.050),
    "grey": (0.150, 0.180, 0.200),
    "blue": (0.085, 0.120, 0.155),
}
IRIS_CHANCES = {  # in the order above
    "african": (0.8, 0.2, 0, 0, 0, 0),
    "east_asian": (0.75, 0.25, 0, 0, 0, 0),
    "european": (0.08, 0.27, 0.15, 0.12, 0.1, 0.28),
    "latin_american": (0.4, 0.4, 0.14, 0.04, 0, 0.02),
    "middle_eastern": (0.35, 0.4, 0.15, 0.07, 0, 0.03),
    "south_asian": (0.6, 0.35, 0.05, 0, 0, 0),
}


def eyes(identity: Identity, points: np.ndarray, opening: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sclera, veins, iris with fibres, limbal ring and pupil, looking along +z.

    Args:
      points: (N, 3) of eyeball texels in the anatomy's frame (adult mm).
      opening: (4,) y of the upper lid's middle on each side (right, left), then of the lower lid's.

    Returns:
      (N, 3) linear RGB and (N,) roughness.
    """
    rng = stream(identity.seed, "eyes")
    group = ETHNICITIES[identity.ethnicity]
    iris_rgb = np.array(list(IRIS_COLORS.values()))[rng.choice(len(IRIS_COLORS), p=IRIS_CHANCES[group])]
    iris_rgb = iris_rgb * np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3))
    yellow = (
        0.05 + 0.10 * smoothstep(40.0, 85.0, np.float64(identity.age)) + 0.10 * (group in ("african", "south_asian"))
    )
    color = np.zeros((len(points), 3), np.float32)
    for side, mine in enumerate((points[:, 0] < 0, points[:, 0] >= 0)):
        p = points[mine]
        if not len(p):
            continue
        center = (p.max(0) + p.min(0)) / 2
        x, y, z = (p - center).T
        radius = np.hypot(x, y)
        angle = np.arctan2(y, x)
        ring = np.stack([np.cos(angle), np.sin(angle)], -1)
        corner = smoothstep(6.0, 12.0, radius)
        white = np.array([0.47, 0.425, 0.40]) * (1 - yellow * np.array([0.1, 0.4, 1.5]))
        veins = np.maximum(noise(rng, p, 2.2), 0) * np.maximum(1 - 3 * np.abs(noise(rng, p, 1.6)), 0)
        sclera = white * np.exp(-(0.25 * corner + 0.5 * veins * corner)[:, None] * np.array([0.25, 0.9, 0.8]))
        fibre = noise(rng, ring * 6.0, 0.35) * 0.22 + noise(rng, ring * 6.0, 0.9) * 0.13
        inner = smoothstep(0.75 * IRIS_MM, 0.35 * IRIS_MM, radius)
        iris = iris_rgb * np.exp(fibre[:, None] + 0.45 * inner[:, None]) * (1 + 0.3 * inner[:, None] * [1, 0.6, 0.1])
        iris = iris * (1 - 0.7 * smoothstep(0.80 * IRIS_MM, IRIS_MM, radius))[:, None]
        iris = iris * smoothstep(PUPIL_MM - 0.35, PUPIL_MM + 0.25, radius)[:, None] + 0.004
        edge = smoothstep(IRIS_MM - 0.35, IRIS_MM + 0.45, radius)[:, None]
        front = np.where(z > 0, edge[:, 0], 1.0)[:, None]
        painted = iris * (1 - front) + sclera * front
        up = p[:, 1] - opening[side]
        shade = 1 - 0.6 * smoothstep(-5.0, 0.0, up)  # the upper lid and its lashes shade the ball
        shade *= 1 - 0.3 * smoothstep(2.0, -0.5, p[:, 1] - opening[2 + side])
        color[mine] = painted * shade[:, None]
    return color, np.full(len(points), 0.20, np.float32)


def teeth(identity: Identity, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness of teeth: ivory, yellower with age, darker towards the back."""
    rng = stream(identity.seed, "teeth")
    age = smoothstep(25.0, 85.0, np.float64(identity.age))
    ivory = np.array([0.72, 0.66, 0.54]) * np.exp(-age * np.array([0.15, 0.25, 0.5])) * np.exp(rng.normal(0, 0.04))
    depth = smoothstep(points[:, 2].max() - 32, points[:, 2].max(), points[:, 2])
    return (ivory * (0.3 + 0.7 * depth)[:, None]).astype(np.float32), np.full(len(points), 0.25, np.float32)


def mouth(points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness of gums, tongue and cheeks' lining: dark red, black towards the throat."""
    front = face.landmarks[48:60, 2].max()
    depth = smoothstep(front - 45, front - 5, points[:, 2])
    return (np.array([0.30, 0.085, 0.075]) * (0.06 + 0.94 * depth)[:, None]).astype(np.float32), np.full(
        len(points), 0.35, np.float32
    )
