"""What parted lips show of the procedural head: teeth one by one, gums, tongue and the dark bag behind them.

Sizes of the crowns are averages of Wheeler, "Dental Anatomy" (1974, from memory), rounded; so is the arch.
"""

import numpy as np
from scipy.interpolate import CubicSpline

from data_gen.face_models.procedural_parts import Part, disc, grid

ARCH_FRONT = 89.6  # z of the upper incisors' labial face, mm
_ARCH = np.array(
    [(0, 0), (4.5, -0.2), (8.9, -1.2), (13.8, -3.4), (18.8, -7.2), (23.2, -13), (26.6, -20.5), (28.8, -30.5)]
)  # x outwards, z from the front
# From the midline outwards, mm: width and height of each crown, y of its edge, how pointed the edge is.
UPPER = ((8.5, 10.2, -72.4, 0.0), (6.5, 8.8, -71.7, 0.0), (7.4, 9.6, -72.1, 1.5), (7.0, 8.2, -71.1, 1.0),
         (6.8, 7.8, -70.4, 0.7), (9.5, 7.0, -69.6, 0.5))  # fmt: skip
LOWER = ((5.2, 8.6, -68.9, 0.0), (5.7, 8.8, -68.9, 0.0), (6.8, 9.8, -68.5, 1.4), (7.0, 8.4, -69.0, 1.0),
         (7.0, 8.0, -69.4, 0.6), (10.0, 7.2, -69.8, 0.5))  # fmt: skip
OVERJET = 2.6  # mm by which the lower arch stands behind the upper one
_COLUMNS = np.array([-1.0, -0.82, -0.45, 0.0, 0.45, 0.82, 1.0])  # across a crown
_ROWS = np.array([0.0, 0.25, 0.6, 0.9, 1.0])  # from its neck to its edge; one more row turns back inside


def _arch(upper: bool) -> tuple[CubicSpline, float]:
    """Place on the labial face of an arch by mm from the midline: (x, z), and the length of one side."""
    points = _ARCH + [0, ARCH_FRONT]
    if not upper:
        points = (_ARCH * [1 - OVERJET / _ARCH[-1, 0], 1]) + [0, ARCH_FRONT - OVERJET]
    both = np.concatenate([points[:0:-1] * [-1, 1], points])
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(both, axis=0), axis=1))])
    return CubicSpline(s - s[-1] / 2, both), s[-1] / 2


def _on_arch(upper: bool, s: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Points at `s` mm along an arch, height `y`, `out` mm before its labial face; arrays broadcast."""
    curve, _ = _arch(upper)
    s, y, out = np.broadcast_arrays(s, y, out)
    place, along = curve(s), curve(s, 1)
    normal = np.stack([-along[..., 1], along[..., 0]], -1) / np.linalg.norm(along, axis=-1, keepdims=True)
    x, z = np.moveaxis(place + out[..., None] * normal, -1, 0)
    return np.stack([x, y, z], -1)


def teeth(upper: bool) -> Part:
    """One arch of separate crowns, each a sheet that is round across, rounded at the edge and narrower at the neck."""
    crowns = UPPER if upper else LOWER
    _, length = _arch(upper)
    down = -1.0 if upper else 1.0  # from neck to edge
    vertices, islands, faces, start, first = [], [], [], 0.0, 0
    for width, height, edge, point in crowns:
        for side in (1, -1):
            u, v = np.meshgrid(_COLUMNS, _ROWS)
            narrow = 0.80 + 0.20 * np.sin(np.pi / 2 * np.clip(1.6 * v, 0, 1))
            s = side * (start + width / 2) + u * 0.488 * width * narrow
            corner = (0.7 * np.abs(u) ** 6 + 0.7 * point * np.abs(u)) * v**3
            y = edge - down * (height * (1 - v) + corner)
            out = 0.45 * np.sin(np.pi * v) - 1.5 * np.abs(u) ** 4 - 0.5 * u**2 - 0.4 * (1 - v)
            back = out[-1:] - 2.0
            rows = [_on_arch(upper, s, y, out), _on_arch(upper, s[-1:], y[-1:] - 0.3 * down, back)]
            points = np.concatenate(rows)
            vertices.append(points.reshape(-1, 3))
            place = np.broadcast_to(0.5 + 0.5 * s / length, u.shape)
            along = np.concatenate([place, place[-1:]])
            up = np.concatenate([0.92 * v, np.ones_like(v[-1:])])
            islands.append(np.stack([along, 1 - up if upper else up], -1).reshape(-1, 2))
            mesh = grid(len(_ROWS) + 1, len(_COLUMNS), False)
            faces.append((mesh if upper else mesh[:, ::-1]) + first)
            first += len(vertices[-1])
        start += width
    return Part(np.concatenate(vertices), np.concatenate(islands), np.concatenate(faces))


def gums(upper: bool, per_crown: int = 6) -> Part:
    """The gum of one arch: scalloped about each crown's neck, with papillae between the crowns."""
    crowns = UPPER if upper else LOWER
    _, length = _arch(upper)
    down = -1.0 if upper else 1.0
    starts = np.cumsum([0, *(width for width, *_ in crowns)])
    s, low = [], []
    for (width, height, edge, _), first in zip(crowns, starts[:-1], strict=True):
        u = np.linspace(-1, 1, per_crown, endpoint=False)
        s.append(first + (u + 1) * width / 2)
        low.append(edge - down * (height - 0.6 - 2.4 * np.abs(u) ** 3))
    s, low = np.concatenate(s), np.concatenate(low)
    s, low = np.concatenate([-s[:0:-1], s]), np.concatenate([low[:0:-1], low])
    v = np.array([0.0, 0.06, 0.3, 0.65, 1.0])[:, None]
    y = low - down * 9.0 * v
    out = np.array([-0.9, 0.25, 0.5, 0.1, -2.0])[:, None] + 0 * y
    points = _on_arch(upper, s[None], y, out)
    island = np.stack(np.broadcast_arrays(0.5 + 0.5 * s[None] / length, v if upper else 1 - v), -1)
    mesh = grid(len(v), len(s), False)
    return Part(points.reshape(-1, 3), island.reshape(-1, 2), mesh[:, ::-1] if upper else mesh)


def tongue(rings: int = 8, spokes: int = 20) -> Part:
    """The front of a tongue behind the lower teeth, with its middle groove; its back rises above their edges, so that
    one sees it in an open mouth."""
    theta = np.radians(112.0) * np.linspace(0, 1, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    axis, up = np.array([0.0, 0.80, 0.60]), np.array([0.0, 0.60, -0.80])
    direction = (
        np.cos(theta)[..., None] * axis
        + (np.sin(theta) * np.cos(phi))[..., None] * np.array([1.0, 0, 0])
        + (np.sin(theta) * np.sin(phi))[..., None] * up
    )
    points = np.array([0.0, -72.5, ARCH_FRONT - 26.0]) + direction * [18.0, 9.0, 19.0]
    points[..., 1] -= 1.4 * np.exp(-((points[..., 0] / 2.5) ** 2)) * (direction[..., 1] > 0)
    reach = 0.5 * theta / theta[-1]
    return disc(points, 0.5 + np.stack([reach * np.cos(phi), reach * np.sin(phi)], -1))


def mouth_bag(rings: int = 6, spokes: int = 20) -> Part:
    """The dark lining of the mouth, seen from the front."""
    r = np.linspace(0, 1, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    x = 29.5 * np.sin(r * np.pi / 2) * np.cos(phi)
    y = -70.0 + 16.5 * np.sin(r * np.pi / 2) * np.sin(phi)
    z = ARCH_FRONT - 48 + 44 * (1 - np.cos(r * np.pi / 2)) - 12.0 * (x / 29.5) ** 2
    island = 0.5 + 0.5 * np.stack(np.broadcast_arrays(r * np.cos(phi), r * np.sin(phi)), -1)
    return disc(np.stack([x, y, z], -1), island)
