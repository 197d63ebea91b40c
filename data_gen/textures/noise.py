"""Value noise in space: the same wherever the UV map cuts the surface, so that no seam shows."""

import numpy as np


def noise(rng: np.random.Generator, points: np.ndarray, wavelength: float) -> np.ndarray:
    """(N,) float32, smooth random values of about unit variance that change over `wavelength` mm.

    Args:
      points: (N, D) mm, D = 1, 2 or 3.
    """
    scaled = points / np.float32(wavelength)
    low = np.floor(scaled.min(0)).astype(np.int64)
    cell = np.floor(scaled).astype(np.int64)
    part = (scaled - cell).astype(np.float32)
    part = part * part * (3 - 2 * part)
    cell -= low
    shape = cell.max(0) + 2
    strides = np.cumprod(np.concatenate([[1], shape[:-1]]))
    lattice = rng.standard_normal(int(np.prod(shape)), dtype=np.float32)
    base = cell @ strides
    total = np.zeros(len(points), np.float32)
    for corner in np.ndindex(*(2,) * points.shape[1]):
        weight = np.ones(len(points), np.float32)
        for axis, high in enumerate(corner):
            weight *= part[:, axis] if high else 1 - part[:, axis]
        total += weight * lattice[base + int(np.dot(corner, strides))]
    return total * np.float32(1.46 ** points.shape[1])  # interpolation averages: give the variance back


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the reverse where low > high), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
