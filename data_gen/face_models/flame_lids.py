"""Eyelids of a FLAME head: closed where they should be, and never inside the eyeball.

A blink that was transferred from another head nearly closes the lids of the template; on another identity it leaves a
slit or goes too far, as sums of linear modes do. The upper margin is carried to where it should be above the lower
one, the skin around follows as a stretched membrane (harmonic weights, Joshi et al. 2007), and skin that has come
into the eyeball is lifted out of it.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg
import scipy.spatial

from data_gen.face_models.correspondence import normals
from data_gen.face_models.face_features import LID_PLACES, LID_POINTS
from data_gen.face_models.lid_edges import LidEdges, Lifting

AWAY = 0.5  # mm^2 added to the squared distance from the opening's outline, so that its margin takes no detours
AROUND = 19.0  # mm from the middle of the eye's opening to where the skin no longer follows
LEAST_OPENING = 0.35  # of the opening at rest, whatever narrows the eye but the blink: AU43 = 0 means open
FOLLOWED = np.array([0.0, 1.0, 0.6])  # of the way to the other margin; margins are not equally thick nor equally deep
CORNER = 3.0  # mm of opening at rest below which a place belongs to a corner
POINTED = 0.9  # mm of opening at rest below which it is the corner itself
OVERLAP = 0.6  # mm that the closed upper margin sinks below the lower
INSIDE = 4.0  # mm from the eyeball within which skin that faces it is the inside of a lid, and not the brow
CONTACT = 0.1  # mm that the inside of the lids keeps from the eyeball
DEEP = 1.0  # mm inside the eyeball: what lies deeper at rest belongs to a pocket behind the lids
EDGE = (0.5, 2.2)  # mm from the margins within which a lid keeps its form at rest, and from which on not
CLEARANCE = 0.35  # mm between eyeball and lid, so that neither pierces the other between vertices


class Lids:
    """The lids of one eye.

    Args:
      template: (V, 3) mm.
      skin: (F, 3) triangles of the skin.
      margin: (16, 3) mm, the eye's opening as `face_features.features` gives it: upper margin with both corners,
        then lower.
      ball: vertices of the eyeball.
    """

    def __init__(self, template: np.ndarray, skin: np.ndarray, margin: np.ndarray, ball: np.ndarray):
        self._template, self._ball = template, ball
        used = np.unique(skin)
        middle = margin.mean(0)
        near = used[np.linalg.norm(template[used] - middle, axis=1) < AROUND]
        last = len(LID_PLACES) - 1
        edges = _edges(template, skin[np.isin(skin, near).all(1)])
        ends = [near[np.linalg.norm(template[near] - margin[k], axis=1).argmin()] for k in (0, last)]
        self._across = margin[last] - margin[0]
        self._across /= np.linalg.norm(self._across)
        self.upper_edge, self.lower = _from_corner_to_corner(
            _path(template, edges, ends, margin[: last + 1]),
            _path(template, edges, ends, margin[[0, *range(last + 1, LID_POINTS), last]]),
            template @ self._across,
        )
        self.upper = self.upper_edge[1:-1]
        self.moved, self._carry = _harmonic(skin, near, self.upper, self.lower)
        centre = _centre(template[ball])
        away, distance, radius = _from_ball(template[near] - centre, _profile(template[ball]))
        outside = (away * normals(template, skin)[near]).sum(1) > 0
        above = outside & (distance > radius - DEEP)
        self._lifted, self._clearance = near[above], np.clip((distance - radius)[above], CONTACT, CLEARANCE)
        self._lifting = Lifting(template[self._lifted])
        self._pressed = near[~outside & (distance < radius + INSIDE)]
        self._edges = self._firm(template, near)

    def _firm(self, template: np.ndarray, near: np.ndarray) -> LidEdges:
        """Each lid's skin goes with its own margin: above or below the middle between the two."""
        lines = self.upper_edge, self.lower
        at = template[near] @ self._across
        middle = np.mean([np.interp(at, template[line] @ self._across, template[line, 1]) for line in lines], axis=0)
        above = template[near, 1] > middle
        return LidEdges(template, lines, (near[above], near[~above]), EDGE)

    def nearest(self, places: np.ndarray) -> np.ndarray:
        """(6,) vertices of the margins next to the six points of an eye in the 68-point markup, which go around it
        from the corner on the subject's right."""
        kinds = (self.lower[:1], self.upper, self.upper, self.lower[-1:], self.lower[1:-1], self.lower[1:-1])
        return np.array(
            [
                kind[np.linalg.norm(self._template[kind] - place, axis=1).argmin()]
                for kind, place in zip(kinds, places, strict=True)
            ]
        )

    def opening(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) mm: from the lower margin to each vertex of the upper one."""
        along = points @ self._across
        lower = self.lower[np.argsort(along[self.lower])]
        meet = np.stack([np.interp(along[self.upper], along[lower], points[lower, axis]) for axis in range(3)], -1)
        return points[self.upper] - meet

    def correct(self, points: np.ndarray, closing: float, neutral: np.ndarray) -> None:
        """Moves the skin around the eye, in place.

        Args:
          points: (V, 3) mm, the blended head.
          closing: 0..1, the weight of the blink.
          neutral: (V, 3) mm, the same identity at rest.
        """
        rest = self.opening(neutral)
        opening = self.opening(points)
        lack = np.clip(LEAST_OPENING * rest[:, 1] - opening[:, 1], 0, None)
        wanted = (1 - closing) * (opening + (lack / np.maximum(rest[:, 1], 1.0))[:, None] * rest)
        wanted[:, 1] -= closing * OVERLAP
        share = np.clip(rest[:, 1:2] / CORNER, 0, 1)  # in the corners, where lids always meet, nothing is to be done
        way = share * FOLLOWED * (opening - wanted)
        way[:, 1] += closing * np.clip(rest[:, 1] / POINTED, 0, 1) * self._seen_open(points, opening, way)
        points[self.moved] -= np.einsum("mu,ud->md", self._carry, way)
        self._edges.set_up(points, neutral, _centre(points[self._ball]))
        self._lift(points)

    def _seen_open(self, points: np.ndarray, opening: np.ndarray, way: np.ndarray) -> np.ndarray:
        """(n,) mm that the upper margin, once it has gone its `way` (n, 3), is still to sink, for it stands further in
        front than the lower one: level with it from ahead, it leaves a gap for who looks from the eyeball's centre."""
        lower = points[self.upper] - opening - _centre(points[self._ball])
        return np.clip(-lower[:, 1] * (opening - way)[:, 2] / lower[:, 2], 0, None)

    def _lift(self, points: np.ndarray) -> None:
        """Skin inside the eyeball goes out along its radius and takes along what lies beside it; the inside of the lids
        lies on the ball: no gap at the corners."""
        centre, profile = _centre(points[self._ball]), _profile(points[self._ball])  # identities bend the ball a little
        away, distance, ball = _from_ball(points[self._lifted] - centre, profile)
        lack = np.clip(ball + self._clearance - distance, 0, None)
        if lack.any():
            points[self._lifted] += (self._lifting.over(lack) / distance)[:, None] * away
        away, distance, ball = _from_ball(points[self._pressed] - centre, profile)
        points[self._pressed] = centre + away * np.minimum(1.0, (ball + CONTACT) / distance)[:, None]


def _centre(ball: np.ndarray) -> np.ndarray:
    return (ball.max(0) + ball.min(0)) / 2 * [1, 1, 0] + [0, 0, ball[:, 2].max() - np.ptp(ball[:, 0]) / 2]


def _profile(ball: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest radius of an eyeball in bins of the angle from its axis."""
    _, radius, angle = _polar(ball - _centre(ball))
    edges = np.radians(np.arange(0, 100, 8))
    bins = [(a, b, (angle >= a) & (angle < b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    angles, radii = np.array([((a + b) / 2, radius[inside].max()) for a, b, inside in bins if inside.any()]).T
    return angles, radii


def _from_ball(away: np.ndarray, profile: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 3) from the eyeball's centre -> the same, their lengths, and the ball's radius that way."""
    away, distance, angle = _polar(away)
    return away, distance, np.interp(angle, *profile)


def _polar(away: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 3) -> the same, lengths, and angles from the axis +z."""
    distance = np.linalg.norm(away, axis=1)
    return away, distance, np.arccos(np.clip(away[:, 2] / distance, -1, 1))


def _edges(template: np.ndarray, faces: np.ndarray) -> scipy.sparse.csr_array:
    """(V, V) length of each edge, mm."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    length = np.linalg.norm(template[ends[:, 0]] - template[ends[:, 1]], axis=1)
    return scipy.sparse.coo_array((length, ends.T), (len(template),) * 2).tocsr()


def _path(template: np.ndarray, edges: scipy.sparse.csr_array, ends: Sequence[int], line: np.ndarray) -> np.ndarray:
    """(n,) vertices of the path along edges between two vertices that keeps closest to a polyline (m, 3) mm."""
    dense = np.concatenate([np.linspace(a, b, 12) for a, b in zip(line[:-1], line[1:], strict=True)])
    away = scipy.spatial.cKDTree(dense).query(template)[0]
    step = edges.tocoo()
    cost = step.data * (AWAY + (away[step.row] + away[step.col]) ** 2)
    cost = scipy.sparse.coo_array((cost, (step.row, step.col)), edges.shape).tocsr()
    before = scipy.sparse.csgraph.dijkstra(cost, indices=ends[0], return_predecessors=True)[1]
    path = [ends[1]]
    while path[-1] != ends[0]:
        if before[path[-1]] < 0:
            raise ValueError("The skin around an eye is not in one piece; expected lids that meet at both corners.")
        path.append(before[path[-1]])
    return np.array(path[::-1])


def _from_corner_to_corner(upper: np.ndarray, lower: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two paths (n,), (m,) around an opening, parted anew at the first and the last of their vertices in (V,) `along`:
    the vertex nearest to a corner may lie beside it."""
    loop = np.concatenate([upper, lower[-2:0:-1]])
    loop = np.roll(loop, -along[loop].argmin())
    last = along[loop].argmax()
    return loop[: last + 1], np.append(loop[last:], loop[0])[::-1]


def _harmonic(
    skin: np.ndarray, near: np.ndarray, upper: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) vertices that follow the upper margin, and (n, upper) how much of each margin vertex's way they go."""
    faces = skin[np.isin(skin, near).any(1)]
    patch, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3)
    ends = np.concatenate([local[:, [0, 1]], local[:, [1, 2]], local[:, [2, 0]]])
    graph = scipy.sparse.coo_array((np.ones(len(ends)), ends.T), (len(patch),) * 2).tocsr()
    graph = ((graph + graph.T) > 0).astype(float)
    laplacian = (scipy.sparse.diags_array(graph.sum(1)) - graph).tocsr()
    fixed = ~np.isin(patch, near) | np.isin(patch, upper) | np.isin(patch, lower)
    known = (patch[:, None] == upper[None]).astype(float)  # [patch, upper]
    free = np.flatnonzero(~fixed)
    solver = scipy.sparse.linalg.splu(laplacian[free][:, free].tocsc())
    weights = known.copy()
    weights[free] = solver.solve(-(laplacian[free] @ known))
    moved = np.abs(weights).sum(1) > 1e-3
    return patch[moved], weights[moved]
