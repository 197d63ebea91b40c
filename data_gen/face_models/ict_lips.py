"""Lips of the ICT model that touch and do not pass through each other.

Identity modes and expression shapes add up without knowing that two lips share one place: at rest one lip may lie two
millimetres inside the other. After the blend the lips part along the line on which they meet by what they overlap, half
of it each, and the skin around gives way smoothly.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

DEPTH = 8.0  # mm behind the mouth's corners up to which lips are lips
BESIDE = 1.6  # mm in the horizontal plane between two points that lie on each other where the lips meet
STEP, WINDOW = 2.0, 4.0  # mm between the places along the mouth at which the overlap is taken, and around each
CORNER = 3.0  # mm before the corners in which the correction fades out
RIGID, REACH = 2.0, 10.0  # mm from the line up to which skin goes all the way, and from which it stays


class Lips:
    """The lips of a head.

    Args:
      template: (V, 3) the neutral head, mm, with its lips closed.
      faces: (F, 3) its triangles.
      landmarks: (68,) vertices of the 68-point markup.
      soft: number of vertices, from the first, that are skin or the mouth's lining.
    """

    def __init__(self, template: np.ndarray, faces: np.ndarray, landmarks: np.ndarray, soft: int):
        p, m = template[:soft], template[landmarks]
        corner = m[64, 0]
        upper, lower = _halves(p, faces[(faces < soft).all(1)], m, landmarks)
        self._above, self._below, x = _pairs(p, faces, upper, lower)
        self._least = np.minimum(template[self._above, 1] - template[self._below, 1], 0.0)
        knots = np.arange(-corner, corner + STEP, STEP)
        inside = [np.flatnonzero(np.abs(x - knot) < WINDOW) for knot in knots]
        fade = np.clip((corner - np.abs(knots)) / CORNER, 0, 1)
        used = np.array([len(each) > 0 for each in inside])
        self._around = np.concatenate(inside)
        self._starts = np.cumsum([0, *(len(each) for each in inside)])[:-1][used]

        line = 0.5 * (template[self._above] + template[self._below])
        far, nearest = cKDTree(line).query(p)
        t = np.clip((REACH - far) / (REACH - RIGID), 0, 1)
        side = np.where(p[:, 1] > line[nearest, 1], 0.5, -0.5)
        side[upper], side[lower] = 0.5, -0.5
        hats = np.stack([np.interp(p[:, 0], knots, unit) for unit in np.eye(len(knots)) * fade[:, None]], 1)
        field = (side * t * t * (3 - 2 * t))[:, None] * hats[:, used]
        self._moved = np.flatnonzero(field.any(1))
        self._field = scipy.sparse.csr_array(field[self._moved])

    def part(self, points: np.ndarray) -> None:
        """Moves the lips of `points` (V, 3) mm apart in place, where they overlap."""
        overlap = self._least - (points[self._above, 1] - points[self._below, 1])
        if (overlap > 0).any():
            most = np.maximum.reduceat(np.clip(overlap, 0, None)[self._around], self._starts)
            points[self._moved, 1] += self._field @ most


def _halves(p: np.ndarray, faces: np.ndarray, m: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper and of the lower lip: between the corners they are two pieces of mesh."""
    near = (np.abs(p[:, 0]) < m[64, 0] - 2) & (p[:, 2] > m[64, 2] - DEPTH)
    near &= (p[:, 1] < m[51, 1] + 4) & (p[:, 1] > m[57, 1] - 4)
    faces = faces[near[faces].all(1)]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = scipy.sparse.coo_array((np.ones(len(edges)), edges.T), (len(p), len(p)))
    label = connected_components(graph, directed=False)[1]
    return tuple(np.flatnonzero(label == label[landmarks[n]]) for n in (51, 57))


def _pairs(
    p: np.ndarray, faces: np.ndarray, upper: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of the upper lip that look down, the lower lip's that look up at them, and their x."""
    soft = faces[(faces < len(p)).all(1)]
    a, b, c = (p[soft[:, i]] for i in range(3))
    rising = np.bincount(soft.ravel(), np.repeat(np.cross(b - a, c - a)[:, 1], 3), len(p))  # of normals, by area
    upper, lower = upper[rising[upper] < 0], lower[rising[lower] > 0]
    near = cKDTree(p[upper][:, [0, 2]]).query_ball_point(p[lower][:, [0, 2]], BESIDE)
    below = np.repeat(lower, [len(each) for each in near])
    above = upper[np.concatenate([np.array(each, int) for each in near])]
    close = np.abs(p[above, 1] - p[below, 1]) < 4.0  # where the lips meet, not the vermilion's far rims
    return above[close], below[close], p[below[close], 0]
