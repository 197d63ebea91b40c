"""Value noise in space: the same wherever the UV map cuts the surface, so that no seam shows."""

import math

import numpy as np

from data_gen.scene import stream

DEVIATION = 2.0  # standard deviation of the values
FIELDS = 3  # of one wavelength, from which `Fields` mixes any number
AXIS_GAIN = (35 / 26) ** 0.5  # per axis: smooth interpolation averages; this gives the variance back


def noise(rng: np.random.Generator, points: np.ndarray, wavelength: float) -> np.ndarray:
    """(N,) float32, smooth random values of mean 0 and deviation `DEVIATION` that change over `wavelength` mm.

    Args:
      points: (N, D) mm, D = 1, 2 or 3.
    """
    if not len(points):
        return np.zeros(0, np.float32)
    axes = []
    for axis in range(points.shape[1]):  # axis by axis: long contiguous arrays are several times faster
        scaled = np.ascontiguousarray(points[:, axis], np.float32) / np.float32(wavelength)
        floor = np.floor(scaled)
        part = scaled - floor
        part *= part * (3 - 2 * part)
        axes.append(((floor - floor.min()).astype(np.int32), part))
    shape = [int(cell.max()) + 2 for cell, _ in axes]
    lattice = rng.standard_normal(math.prod(shape), dtype=np.float32)
    return _blend(lattice, np.zeros(len(points), np.int32), shape, axes) * np.float32(
        DEVIATION * AXIS_GAIN ** len(axes)
    )


def _blend(lattice: np.ndarray, base: np.ndarray, shape: list[int], axes: list) -> np.ndarray:
    """Multilinear interpolation, one axis after another."""
    if not axes:
        return lattice[base]
    (cell, part), rest = axes[0], shape[1:]
    base = base + cell * np.int32(math.prod(rest))
    low = _blend(lattice, base, rest, axes[1:])
    high = _blend(lattice, base + np.int32(math.prod(rest)), rest, axes[1:])
    return low + part * (high - low)


class Fields:
    """Noise over fixed points, many times over: mixtures of a few fields that are made once.

    Each mixture has the statistics of `noise` and level sets of its own, for a tenth of the time.
    """

    def __init__(self, points: np.ndarray):
        """`points`: (N, 3) mm."""
        self._points = points
        self._fields: dict[float, list[np.ndarray]] = {}

    def mixed(self, rng: np.random.Generator, wavelength: float) -> np.ndarray:
        """(N,) float32 as `noise`; `rng` decides the mixture, a wavelength always mixes the same fields."""
        if wavelength not in self._fields:
            streams = (stream(number, f"noise of {wavelength} mm") for number in range(FIELDS))
            self._fields[wavelength] = [noise(s, self._points, wavelength) for s in streams]
        shares = rng.standard_normal(FIELDS)
        shares = (shares / np.linalg.norm(shares)).astype(np.float32)
        out = shares[0] * self._fields[wavelength][0]
        for share, field in zip(shares[1:], self._fields[wavelength][1:], strict=True):
            out += share * field
        return out


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the reverse where low > high), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
