"""Teeth, gums, tongue and the dark inside of the mouth. Points are in the anatomy's frame (adult mm)."""

import numpy as np

from data_gen.scene import ETHNICITIES, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

GUM = (0.40, 0.145, 0.130)  # linear RGB
TONGUE = (0.36, 0.125, 0.115)
LINING = (0.22, 0.055, 0.045)
IVORY = (0.66, 0.60, 0.49)
# Share of people whose gums show melanin; Esen et al., "Gingival melanin pigmentation" reviews, from memory.
PIGMENTED_GUMS = {
    "african": 0.8, "south_asian": 0.6, "east_asian": 0.35, "middle_eastern": 0.3, "latin_american": 0.35,
    "european": 0.05,
}  # fmt: skip


def teeth(identity: Identity, points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness: ivory, yellower with age and at the neck, greyer at the edge."""
    rng = stream(identity.seed, "teeth")
    age = smoothstep(25.0, 85.0, np.float64(identity.age))
    shade = rng.normal(0, 0.10) * np.array([0.2, 0.5, 1.0])  # some people's teeth are yellower
    ivory = np.array(IVORY) * np.exp(-age * np.array([0.12, 0.22, 0.50]) - np.abs(shade)) * np.exp(rng.normal(0, 0.05))
    from_edge = np.abs(points[:, 1] - face.landmarks[[61, 62, 63, 65, 66, 67], 1].mean())
    neck, edge = smoothstep(4.5, 9.0, from_edge), smoothstep(2.6, 0.6, from_edge)
    rgb = ivory * np.exp(-neck[:, None] * [0.10, 0.22, 0.42] - edge[:, None] * [0.18, 0.13, 0.07])
    rgb = rgb * np.exp(0.025 * noise(rng, points, 4.0))[:, None]
    front = face.landmarks[[51, 57], 2].mean()
    return (rgb * _dim(points, front, 6.0, 38.0)[:, None]).astype(np.float32), np.full(len(points), 0.22, np.float32)


def gums(identity: Identity, points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness: pink and wet, in some people brown where melanin gathers."""
    rng = stream(identity.seed, "gums")
    pigmented = rng.uniform() < PIGMENTED_GUMS[ETHNICITIES[identity.ethnicity]]
    brown = pigmented * rng.uniform(0.3, 0.9) * smoothstep(-0.8, 1.8, noise(rng, points, 5.0))
    tint = np.exp(
        0.05 * noise(rng, points, 2.0)[:, None] * np.array([0.4, 1.0, 1.0]) - brown[:, None] * [0.8, 1.0, 1.0]
    )
    front = face.landmarks[[51, 57], 2].mean()
    rgb = np.array(GUM) * tint * _dim(points, front, 6.0, 34.0)[:, None]
    return rgb.astype(np.float32), np.full(len(points), 0.30, np.float32)


def tongue(identity: Identity, points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness: papillae, a pale coat along the middle, dim towards the throat."""
    rng = stream(identity.seed, "tongue")
    grain = noise(rng, points, 0.9)
    coat = rng.uniform(0.1, 0.5) * np.exp(-((points[:, 0] / 9.0) ** 2)) * smoothstep(-1.2, 1.2, noise(rng, points, 6.0))
    rgb = np.array(TONGUE) * np.exp(0.08 * grain)[:, None]
    rgb = rgb * (1 - coat[:, None]) + coat[:, None] * np.array([0.42, 0.27, 0.24])
    front = face.landmarks[[51, 57], 2].mean()
    rgb = rgb * _dim(points, front, 10.0, 45.0)[:, None]
    return rgb.astype(np.float32), (0.38 + 0.03 * grain).astype(np.float32)


def lining(points: np.ndarray, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) linear RGB and (N,) roughness of cheeks' lining and throat: dark red behind the lips, soon black."""
    front = face.landmarks[48:60, 2].max()
    depth = _dim(points, front, 2.0, 32.0) ** 1.5
    return (np.array(LINING) * depth[:, None]).astype(np.float32), np.full(len(points), 0.40, np.float32)


def _dim(points: np.ndarray, front: float, start: float, end: float) -> np.ndarray:
    """(N,) how much light reaches behind the lips: 1 down to `start` mm behind `front`, 0.03 from `end` mm."""
    return 0.03 + 0.97 * smoothstep(front - end, front - start, points[:, 2])
