"""Texture coordinates for a surface that has none: a chart of the whole skin in which no two triangles overlap.

A mesh with the topology of a disc, its border on a convex curve and each inner vertex at a weighted mean of its
neighbours unfolds without a fold, whatever the positive weights (Tutte 1963, Floater 1997). The weights are then
changed until the texels are spread as wanted (Yoshizawa, Belyaev and Seidel, "A Fast and Simple Stretch-Minimizing
Mesh Parameterization", SMI 2004).
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from data_gen.face_models.face_features import boundary_loops

ROUNDS = 12
BORDER_POWER = 3.0  # of the superellipse that the border becomes: strictly convex, and fuller than a circle


def unfold(vertices: np.ndarray, faces: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """(V, 2) places in [0, 1], upright as seen from the front.

    Args:
      vertices: (V, 3).
      faces: (F, 3) one piece; its longest border becomes the chart's, shorter ones stay holes.
      importance: (V,) how many texels per length a place should have, against others.

    Raises:
      RuntimeError: if the surface does not unfold; it is then not in one piece.
    """
    loops = sorted(boundary_loops(faces), key=lambda loop: -_length(vertices[loop]))
    points, closed, weight = _filled(vertices.astype(np.float64), faces, loops[1:], importance)
    border = loops[0]
    n = len(points)
    ends, pull = _mean_values(points, closed)
    fixed = np.zeros(n, bool)
    fixed[border] = True
    goal = np.zeros((n, 2))
    goal[border] = _border_places(vertices[border])
    best, least = None, np.inf
    for _ in range(ROUNDS):
        chart = _solve(ends, pull, fixed, goal)
        if (_areas(chart, closed) <= 0).any():
            break
        stretch, total = _stretch(points, closed, chart, weight)
        if total < least:
            best, least = chart, total
        pull = pull / stretch[ends[:, 1]]
        pull /= np.bincount(ends[:, 0], pull, n)[ends[:, 0]]
    if best is None:
        raise RuntimeError("The skin of the head does not unfold into one chart; expected one connected surface.")
    return 0.5 + 0.5 * best[: len(vertices)]


def _mean_values(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) directed edges and (E,) positive weights, true to angles (Floater, "Mean value coordinates", 2003)."""
    ends, pulls = [], []
    for k in range(3):
        here, one, other = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = points[one] - points[here], points[other] - points[here]
        long_a, long_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = np.clip((a * b).sum(1) / np.maximum(long_a * long_b, 1e-12), -0.9999, 0.9999)
        half = np.sqrt((1 - cosine) / (1 + cosine))  # tangent of half the angle
        ends += [np.column_stack([here, one]), np.column_stack([here, other])]
        pulls += [half / np.maximum(long_a, 1e-9), half / np.maximum(long_b, 1e-9)]
    edges, place = np.unique(np.concatenate(ends), axis=0, return_inverse=True)
    return edges, np.bincount(place.ravel(), np.concatenate(pulls))


def _filled(
    points: np.ndarray, faces: np.ndarray, holes: list[np.ndarray], importance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh with a vertex in the middle of each hole, and importance for them."""
    for hole in holes:
        middle = len(points)
        points = np.vstack([points, points[hole].mean(0)])
        importance = np.append(importance, importance[hole].mean())
        faces = np.vstack([faces, np.column_stack([np.roll(hole, -1), hole, np.full(len(hole), middle)])])
    return points, faces, importance


def _border_places(border: np.ndarray) -> np.ndarray:
    """(n, 2) on the superellipse of radius 1, as far apart as the border's vertices, its top at the top."""
    steps = np.linalg.norm(np.roll(border, -1, 0) - border, axis=1)
    place = np.cumsum(steps) - steps
    angle = 2 * np.pi * place / steps.sum()  # counter-clockwise: the surface lies to the left of its border
    seen = np.unwrap(np.arctan2(border[:, 1] - border[:, 1].mean(), border[:, 0] - border[:, 0].mean()))
    angle += (seen - angle).mean()
    radius = (np.abs(np.cos(angle)) ** BORDER_POWER + np.abs(np.sin(angle)) ** BORDER_POWER) ** (-1 / BORDER_POWER)
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def _solve(ends: np.ndarray, pull: np.ndarray, fixed: np.ndarray, goal: np.ndarray) -> np.ndarray:
    n = len(fixed)
    free = ~fixed[ends[:, 0]]
    rows = np.concatenate([ends[free, 0], np.arange(n)])
    columns = np.concatenate([ends[free, 1], np.arange(n)])
    diagonal = np.where(fixed, 1.0, np.bincount(ends[:, 0], pull, n))
    system = scipy.sparse.coo_array((np.concatenate([-pull[free], diagonal]), (rows, columns)), (n, n))
    return scipy.sparse.linalg.splu(system.tocsc()).solve(goal)


def _stretch(
    points: np.ndarray, faces: np.ndarray, chart: np.ndarray, importance: np.ndarray
) -> tuple[np.ndarray, float]:
    """(V,) root mean square length on the surface, times importance, of a unit of the chart (Sander et al. 2001)."""
    p, q = points[faces], chart[faces]
    edges, sides = (
        np.stack([p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]], 1),
        np.stack([q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]], 1),
    )
    jacobian = np.linalg.solve(sides, edges)  # [F, 2, 3]
    squared = (jacobian**2).sum((1, 2)) / 2 * importance[faces].mean(1) ** 2
    surface = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    summed, weight = np.zeros(len(points)), np.zeros(len(points))
    for k in range(3):
        np.add.at(summed, faces[:, k], surface * squared)
        np.add.at(weight, faces[:, k], surface)
    return np.sqrt(summed / weight), float((surface * squared).sum())


def _areas(chart: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b = chart[faces[:, 1]] - chart[faces[:, 0]], chart[faces[:, 2]] - chart[faces[:, 0]]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


def _length(loop: np.ndarray) -> float:
    return float(np.linalg.norm(np.roll(loop, -1, 0) - loop, axis=1).sum())
