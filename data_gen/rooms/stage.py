"""A stage to paint a room on: a grid of directions from the head, and where each of them meets a wall."""

import numpy as np
import scipy.ndimage

AZIMUTH, ELEVATION = 66.0, 27.0  # degrees either way from straight behind the head: as far as any camera sees
DENSITY = 3  # cells per degree; the picture has about 10 pixels to one, but is out of focus
EYE_HEIGHT = 1.2  # metres: people sit


class Stage:
    """What the painters paint.

    Attributes:
      rng: for everything drawn at random on this stage.
      color: (rows, columns, 3) float32 linear light that surfaces throw back.
      glow: (rows, columns, 3) float32 linear light of what shines itself, 1 being white.
      azimuth: (columns,) degrees, 0 straight behind the head, positive to the right of a frontal picture.
      elevation: (rows,) degrees, from top to bottom.
      directions: (rows, columns, 3) float32 unit vectors in the room's frame, which `turn` degrees rotate.
    """

    def __init__(self, rng: np.random.Generator, turn: float):
        self.rng = rng
        self.azimuth = (np.arange(2 * AZIMUTH * DENSITY, dtype=np.float32) + 0.5) / DENSITY - np.float32(AZIMUTH)
        self.elevation = np.float32(ELEVATION) - (np.arange(2 * ELEVATION * DENSITY, dtype=np.float32) + 0.5) / DENSITY
        a, e = np.radians(self.azimuth + np.float32(turn))[None, :], np.radians(self.elevation)[:, None]
        self.directions = np.stack(
            [np.sin(a) * np.cos(e), np.broadcast_to(np.sin(e), (e.size, a.size)), -np.cos(a) * np.cos(e)], -1
        )
        self.color = np.zeros(self.directions.shape, np.float32)
        self.glow = np.zeros(self.directions.shape, np.float32)

    def tint(self, low: float, high: float, strength: float) -> np.ndarray:
        """(3,) a colour of that lightness: a random hue, mostly pale."""
        hue = self.rng.uniform(1.8, 6.7)  # red to yellow, green and blue: hardly anything is painted purple
        chroma = strength * self.rng.uniform() * np.cos(hue + np.array([0.0, 2.1, 4.2]))
        return (self.rng.uniform(low, high) * np.exp(chroma)).astype(np.float32)

    def clouds(self, size: float, stretch: float = 1.0) -> np.ndarray:
        """(rows, columns) float32 smooth noise of unit variance; `size` of its lumps in degrees."""
        step = max(int(size * DENSITY / 3), 1)  # painted coarse, enlarged smoothly
        rows, columns = (n // step + 4 for n in self.color.shape[:2])
        sigma = size * DENSITY / step / 2
        coarse = scipy.ndimage.gaussian_filter(
            self.rng.standard_normal((rows, columns), np.float32), (sigma * stretch, sigma)
        )
        fine = scipy.ndimage.zoom(coarse, step, order=1) if step > 1 else coarse
        return fine[: self.color.shape[0], : self.color.shape[1]] / max(float(coarse.std()), 1e-6)

    def upright(self, azimuth: float, distance: float, width: float, bottom: float, top: float) -> tuple[slice, slice]:
        """The cells of an upright board that faces the head; metres, heights above the floor."""
        half = np.degrees(np.arctan2(width / 2, distance))
        low, high = (np.degrees(np.arctan2(height - EYE_HEIGHT, distance)) for height in (bottom, top))
        columns = np.searchsorted(self.azimuth, [azimuth - half, azimuth + half])
        rows = np.searchsorted(-self.elevation, [-high, -low])
        return slice(*rows), slice(*columns)

    def paint(self, cells: tuple[slice, slice], color: np.ndarray, folds: float = 0.0) -> None:
        """Puts something opaque before what is there; `folds`: how much its light varies across, as cloth does."""
        shape = self.color[cells].shape
        if 0 in shape:
            return
        across = np.linspace(0, 1, shape[1], dtype=np.float32)
        rounded = 1 - 0.35 * (2 * across - 1) ** 4 - folds * (0.5 + 0.5 * np.sin(40 * across + 9 * np.sin(5 * across)))
        down = np.linspace(1.08, 0.85, shape[0], dtype=np.float32)
        self.color[cells] = color * (down[:, None] * rounded)[..., None]
        self.glow[cells] = 0

    def sparks(self, count: int, above: float, below: float, strength: float, color: np.ndarray) -> None:
        """Points of light between two elevations, which the lens spreads into discs."""
        rows = np.searchsorted(-self.elevation, [-above, -below])
        if rows[1] <= rows[0]:
            return
        i, j = self.rng.integers(*rows, count), self.rng.integers(0, self.color.shape[1], count)
        power = strength * self.rng.exponential(1.0, count)[:, None]
        np.add.at(self.glow, (i, j), (power * color * self.rng.uniform(0.75, 1.25, (count, 3))).astype(np.float32))
