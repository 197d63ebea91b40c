"""The parts beside the skin: eyeballs, lashes, ears; each a grid with its own texture island."""

import dataclasses

import numpy as np
from scipy.interpolate import CubicSpline

from data_gen.face_models import procedural_surface as surface

IRIS_ISLAND_RADIUS = 0.5  # of the island's side, at EYE_CAP radians from the optical axis
EYE_CAP = np.radians(115.0)


@dataclasses.dataclass(frozen=True)
class Part:
    """Vertices (n, 3) mm, island coordinates (n, 2) in [0, 1], faces (m, 3) counter-clockwise seen from outside."""

    vertices: np.ndarray
    island: np.ndarray
    faces: np.ndarray


def grid(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a (rows, columns) grid of vertices; `closed` joins the last column to the first."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    if not closed:
        a, b, c, d = (e[:, :-1] for e in (a, b, c, d))
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def eyeball(rings: int = 9, spokes: int = 24) -> Part:
    """Left eyeball, open at the back. Island: polar map about the optical axis, which lies at (0.5, 0.5)."""
    theta = EYE_CAP * np.linspace(0, 1, rings)[:, None] ** 0.9
    phi = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    ball = np.stack(np.broadcast_arrays(np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), -1)
    radius = IRIS_ISLAND_RADIUS * theta / EYE_CAP
    island = 0.5 + np.stack([radius * np.cos(phi), radius * np.sin(phi)], -1)
    return disc(surface.EYE + surface.EYE_RADIUS * ball, island)


def disc(points: np.ndarray, island: np.ndarray) -> Part:
    """Part from a polar grid (rings, spokes, ...) whose first ring is a single point."""
    rings, spokes = points.shape[:2]
    faces = np.maximum(grid(rings, spokes, True) - (spokes - 1), 0)
    faces = faces[(faces == 0).sum(1) < 2]
    return Part(points.reshape(-1, 3)[spokes - 1 :], island.reshape(-1, 2)[spokes - 1 :], faces)


EAR_ANCHOR = np.array([68.4, -29.0, -4.0])  # tragus
EAR_AXES = np.stack([  # rows: backwards along the auricle, up, outwards
    np.array([0.47, -0.17, -0.866]), np.array([0.13, 0.977, -0.17]), np.array([0.88, 0.02, 0.475]),
])  # fmt: skip
_EAR_OUTLINE = np.array([
    (3, 6), (2.5, 15), (5, 25), (12, 32.5), (21, 33), (29, 27), (33, 17), (33, 5), (30, -6),
    (25.5, -15), (21, -23), (15, -28.5),
    (8, -29.5), (2.5, -24.5), (0.5, -13), (-0.5, -4),
])  # fmt: skip
_EAR_CENTRE = np.array([12.0, -1.0])
_EAR_SCALE = np.array([0.0, 0.28, 0.46, 0.58, 0.70, 0.80, 0.90, 0.985, 1.04, 1.03, 0.93, 0.72, 0.50])
_EAR_RELIEF = np.array([-10.0, -8.5, -5.0, 1.4, 3.2, 1.0, -1.0, 3.0, 2.4, -0.5, -3.5, -8.0, -15.0])
_LOBE_RELIEF = np.array([-9.0, -7.0, -3.0, 0.2, 1.0, 1.3, 1.4, 1.2, 0.3, -2.0, -4.0, -8.0, -15.0])


def ear(spokes: int = 32) -> Part:
    """Left ear: helix, scapha, antihelix, concha, tragus and lobe as one sheet that folds back into the head."""
    t = np.linspace(0, 1, len(_EAR_OUTLINE) + 1)
    outline = CubicSpline(t, np.concatenate([_EAR_OUTLINE, _EAR_OUTLINE[:1]]), bc_type="periodic")
    edge = 0.95 * outline(np.linspace(0, 1, spokes, endpoint=False))  # [spokes, 2]
    ab = _EAR_CENTRE + _EAR_SCALE[:, None, None] * (edge - _EAR_CENTRE)  # [rings, spokes, 2]
    lobe = np.clip((-edge[:, 1] - 10) / 10, 0, 1)
    relief = _EAR_RELIEF[:, None] * (1 - lobe) + _LOBE_RELIEF[:, None] * lobe
    front = (
        np.clip((9 - edge[:, 0]) / 8, 0, 1)
        * np.clip((edge[:, 1] + 24) / 8, 0, 1)
        * np.clip((10 - edge[:, 1]) / 6, 0, 1)
    )
    outer = _EAR_SCALE[:, None] > 0.75
    relief = np.where(outer, relief * (1 - front) + front * (np.minimum(relief, -1.0)), relief)
    tragus = (
        4.0 * np.exp(-(((ab[..., 0] - 2.0) / 3.2) ** 2) - ((ab[..., 1] + 1.0) / 5.5) ** 2) * (_EAR_SCALE[:, None] < 1.0)
    )
    crus = (
        2.6
        * np.exp(-(((ab[..., 0] - 7.0) / 5.0) ** 2) - ((ab[..., 1] - 7.0) / 2.4) ** 2)
        * (_EAR_SCALE[:, None] < 0.95)
    )
    height = relief + tragus + crus
    points = EAR_ANCHOR + ab @ EAR_AXES[:2] + height[..., None] * EAR_AXES[2]
    angle = np.arctan2(edge[:, 1] - _EAR_CENTRE[1], edge[:, 0] - _EAR_CENTRE[0])
    spread = np.linspace(0, 1, len(_EAR_SCALE))[:, None]
    island = 0.5 + 0.5 * spread[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)[None]
    sheet = disc(points, island)
    return dataclasses.replace(sheet, faces=sheet.faces[:, ::-1])  # the outline runs clockwise


def lash(margin: np.ndarray, per_step: int = 3) -> Part:
    """Upper lashes of the left eye: one slim triangle each, curling up and fanning out from the lid's edge.

    Args:
      margin: (k, 3) mm, the upper lid's margin from the inner to the outer corner.
      per_step: lashes between two points of the margin.
    """
    place = np.linspace(1.2, len(margin) - 1.15, per_step * (len(margin) - 2))
    width = 0.36 * (place[1] - place[0])
    f = place / (len(margin) - 1)
    length = (1.9 + 1.6 * np.sin(np.pi * f**1.3)) * np.where(np.arange(len(place)) % 2, 1.0, 0.8)
    fan = np.stack([0.9 * (f - 0.42), 0.45 + 0 * f, 0.95 + 0 * f], -1)
    fan /= np.linalg.norm(fan, axis=-1, keepdims=True)

    def at(where):
        return np.stack([np.interp(where, np.arange(len(margin)), c) for c in margin.T], -1) + [0, -0.1, 0.1]

    points = np.stack([at(place - width), at(place + width), at(place) + length[:, None] * fan], 1)  # [lashes, 3, 3]
    island = np.stack([np.stack([f, f, f], -1), np.broadcast_to([0.0, 0.0, 1.0], (len(f), 3))], -1)
    island[:, 0, 0] -= 0.4 / len(f)
    island[:, 1, 0] += 0.4 / len(f)
    return Part(points.reshape(-1, 3), np.clip(island, 0, 1).reshape(-1, 2), np.arange(3 * len(f)).reshape(-1, 3))


def mirrored(part: Part) -> Part:
    """The same part on the subject's right; its island keeps its orientation in the picture, so it is mirrored too."""
    return Part(
        part.vertices * [-1, 1, 1], np.stack([1 - part.island[:, 0], part.island[:, 1]], -1), part.faces[:, ::-1]
    )
