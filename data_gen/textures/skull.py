"""The head as hair meets it: a smooth skull to lie on, and what hanging hair must go around (ears, neck, shoulders)."""

import dataclasses

import numpy as np
import scipy.ndimage
import scipy.spatial

from data_gen.textures.anatomy import Anatomy

RINGS, SECTORS = 90, 180  # of the skull's map: elevation, azimuth
LEVELS, ANGLES = 64, 72  # of the body's map: height, azimuth
LOWEST, HIGHEST = -230.0, 60.0  # mm, of the body's map
CONTROLS = 900  # points of the scalp that carry the hair


@dataclasses.dataclass(frozen=True)
class Skull:
    """Maps of a face model's template, in adult mm (see `Anatomy`).

    Attributes:
      center: (3,) the point that the maps look from.
      radius: (RINGS, SECTORS) mm from the centre to the scalp, by elevation -90..90 degrees and azimuth.
      girth: (LEVELS, ANGLES) mm from the vertical axis to whatever sticks out farthest, ears and shoulders too.
      points: (CONTROLS, 3) places on the scalp; vertices: which model vertices they are.
      roots: (n, 3) places evenly over the scalp and the nape, in shuffled order.
    """

    center: np.ndarray
    radius: np.ndarray
    girth: np.ndarray
    points: np.ndarray
    vertices: np.ndarray
    roots: np.ndarray

    def surface(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) -> the nearest places on the scalp, seen from the centre, and the scalp's outward normals there."""
        offset = points - self.center
        away = np.linalg.norm(offset, axis=-1)
        direction = offset / np.maximum(away, 1e-6)[..., None]
        elevation = np.arcsin(np.clip(direction[..., 1], -1, 1))
        azimuth = np.arctan2(direction[..., 0], direction[..., 2])
        row = (elevation / np.pi + 0.5) * RINGS - 0.5
        column = (azimuth / (2 * np.pi) + 0.5) * SECTORS - 0.5
        radius, upward, around = _sample(self.radius, row, column, slopes=True)
        # r(elevation, azimuth): the normal leans against the slopes of the radius
        upward, around = upward * RINGS / np.pi / radius, around * SECTORS / (2 * np.pi) / radius
        up = np.stack(
            [-np.sin(elevation) * np.sin(azimuth), np.cos(elevation), -np.sin(elevation) * np.cos(azimuth)], -1
        )
        east = np.stack([np.cos(azimuth), np.zeros_like(azimuth), -np.sin(azimuth)], -1)
        around = around / np.maximum(np.cos(elevation), 0.2)
        normal = direction - upward[..., None] * up - around[..., None] * east
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        return self.center + radius[..., None] * direction, normal

    def outside_body(self, points: np.ndarray, margin: np.ndarray) -> np.ndarray:
        """(..., 3) pushed away from the vertical axis until `margin` mm outside head, neck and shoulders."""
        x, z = points[..., 0] - self.center[0], points[..., 2] - self.center[2]
        away = np.hypot(x, z)
        row = (points[..., 1] - LOWEST) / (HIGHEST - LOWEST) * LEVELS - 0.5
        column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * ANGLES - 0.5
        girth = _sample(self.girth, row, column)[0] + margin
        factor = np.where(points[..., 1] < HIGHEST, np.maximum(girth / np.maximum(away, 1.0), 1.0), 1.0)
        out = points.copy()
        out[..., 0] = self.center[0] + x * factor
        out[..., 2] = self.center[2] + z * factor
        return out


def skull(face: Anatomy, is_skin: np.ndarray, is_ear: np.ndarray) -> Skull:
    """The maps of a face model.

    Args:
      face: of the V vertices of the template.
      is_skin, is_ear: (V,) bool.
    """
    x, y, z = face.points.T
    center = np.array([0.0, 25.0, (z[is_skin & (y > 30)].max() + z[is_skin & (y > 30)].min()) / 2])
    keep = np.flatnonzero(is_skin & ~is_ear & (y > -75) & ((z < 20) | (y > 20)) & (np.abs(x) < 95))
    offset = face.points[keep] - center
    away = np.linalg.norm(offset, axis=1)
    outward = (face.normals[keep] * offset).sum(1) > 0.2 * away  # not the inside of the nose or the ear
    keep, offset, away = keep[outward], offset[outward], away[outward]
    elevation = ((np.arange(RINGS) + 0.5) / RINGS - 0.5) * np.pi
    azimuth = ((np.arange(SECTORS) + 0.5) / SECTORS - 0.5) * 2 * np.pi
    ring = np.cos(elevation)[:, None]
    sphere = np.stack(
        [ring * np.sin(azimuth), np.broadcast_to(np.sin(elevation)[:, None], (RINGS, SECTORS)), ring * np.cos(azimuth)],
        -1,
    )
    distance, near = scipy.spatial.cKDTree(offset / away[:, None]).query(sphere.reshape(-1, 3), k=10)
    weight = 1 / (distance**2 + 3e-3)
    radius = ((weight * away[near]).sum(1) / weight.sum(1)).reshape(RINGS, SECTORS)
    radius = scipy.ndimage.gaussian_filter(radius, 1.5, mode=("nearest", "wrap"))

    spread = np.unique(np.round(np.linspace(0, len(keep) - 1, CONTROLS)).astype(int))
    found = Skull(
        center, radius, _girth(face.points[is_skin], center), face.points[keep[spread]], keep[spread], np.empty(0)
    )
    index = np.arange(9000) + 0.5
    height, turn = 1 - 1.5 * index / 9000, np.pi * (1 + 5**0.5) * index  # Fibonacci lattice, from the top down
    lattice = np.stack([np.sqrt(1 - height**2) * np.sin(turn), height, np.sqrt(1 - height**2) * np.cos(turn)], -1)
    roots = found.surface(center + lattice)[0]
    shuffled = np.argsort(np.modf(index * 0.7548776662466927)[0], kind="stable")  # any part of it is even, too
    return dataclasses.replace(found, roots=roots[shuffled])


def _girth(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    x, z = points[:, 0] - center[0], points[:, 2] - center[2]
    row = ((points[:, 1] - LOWEST) / (HIGHEST - LOWEST) * LEVELS).astype(int)
    column = ((np.arctan2(x, z) / (2 * np.pi) + 0.5) * ANGLES).astype(int) % ANGLES
    girth, inside = np.zeros((LEVELS, ANGLES)), (row >= 0) & (row < LEVELS)
    np.maximum.at(girth, (row[inside], column[inside]), np.hypot(x, z)[inside])
    girth = scipy.ndimage.maximum_filter(girth, 3, mode=("nearest", "wrap"))
    return scipy.ndimage.gaussian_filter(girth, 1.0, mode=("nearest", "wrap"))


def _sample(grid: np.ndarray, row: np.ndarray, column: np.ndarray, slopes: bool = False):
    """Bilinear values of a map that wraps along its columns, and with `slopes` the differences along both axes."""
    rows, columns = grid.shape
    row = np.clip(row, 0, rows - 1.001)
    r, c = row.astype(int), np.floor(column).astype(int)
    a, b = row - r, column - c
    c0, c1 = c % columns, (c + 1) % columns
    q00, q01, q10, q11 = grid[r, c0], grid[r, c1], grid[r + 1, c0], grid[r + 1, c1]
    low, high = q00 + b * (q01 - q00), q10 + b * (q11 - q10)
    value = low + a * (high - low)
    if not slopes:
        return (value,)
    return value, high - low, (q01 - q00) * (1 - a) + (q11 - q10) * a
