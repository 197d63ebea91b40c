"""Eyelids of the ICT model that close on every identity and never let the eyeball through.

Identity modes and expression shapes are linear and do not know of each other, so on a sampled identity a full blink
leaves a slit or crosses the lids, two squints together shut a narrow eye, and a bulging eye pierces its lids. Two
corrections follow the blend: the lids' edges are carried to where the weights say they should be, and lid skin inside
the eyeball is lifted out of it. Both are smooth fields over the skin, and between them the edges, whose triangles are a
tenth of a millimetre fine and fold in the source's own blink, are set up again as they are at rest, turned.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from data_gen.face_models.lid_edges import LidEdges, Lifting, nearest_on, smoothstep

# Share of the opening at rest by which each shape at full weight narrows the eye.
NARROWING = {"eyeSquint": 0.5, "cheekSquint": 0.3, "eyeWide": -0.24}
LOWER_LID = (
    0.6  # of what is left to correct, the lower lid's part: squinting raises it; the upper one blinks and stares
)
# mm that the closed upper edge sinks into the lower, in the middle and in the corners: between their vertices the edges
# are not one line, least of all where they turn sharply.
OVERLAP = (0.2, 0.45)
AROUND = 50.0  # mm around the eye within which its rings lie
CORNEA = 10.0  # mm around the foremost point of the eyeball
CLEARANCE = 0.3  # mm between eyeball and lid skin
RIGID, REACH = 1.0, 11.0  # mm from a lid's edge up to which skin goes all its way, and from which it stays
ORBIT = 24.0  # mm around the eyeball's axis within which skin is kept out of the eyeball
CORNER = (
    -0.8,
    0.6,
)  # mm from the corners within which lids never meet, and from which they do: there lies the caruncle
EDGE = (0.5, 2.2)  # mm from the line on which the lids meet within which an edge keeps its form, and from which not
MARGIN = 2  # the ring on which the two lids meet: the landmarks of the eyes lie on it
FRONT = 3  # the ring that is the lid's front edge, where lashes grow


class Lids:
    """The lids of one eye.

    Args:
      template: (V, 3) the neutral head, mm.
      faces: (F, 3) its triangles; those with all vertices below `skin` are the skin around the eyes.
      rim: vertices where the skin goes over into the eye socket, the innermost ring.
      ball: (n,) vertices of the eyeball.
      skin: number of skin vertices.
    """

    def __init__(self, template: np.ndarray, faces: np.ndarray, rim: np.ndarray, ball: np.ndarray, skin: int):
        self._ball = ball
        self._local, self._axis = _ball_frame(template[ball])
        self._angles, self._radii = _profile(self._local, self._axis)
        near = np.linalg.norm(template - template[rim].mean(0), axis=1) < AROUND
        near[skin:] = False
        rings = _rings(faces[near[faces].all(1)], rim, FRONT + 1)
        self.upper, self.lower = _split(template, rings[MARGIN])
        self.front = _split(template, rings[FRONT])[0]
        across = template[self.lower[-1]] - template[self.lower[0]]
        self._across = across / np.linalg.norm(across)
        away = template - sphere_centre(template[ball])
        forward = away @ self._axis
        beside = np.linalg.norm(away - forward[:, None] * self._axis, axis=1)
        self._skin = np.flatnonzero(near & (beside < ORBIT) & (forward > 0))
        self._spread, self._with_upper, self._with_lower = self._carries(template, np.isin(self._skin, rim))
        self._touches = np.isin(self._skin, rim)  # inside the lid, on the eyeball
        self._lifting = Lifting(template[self._skin])

    def _carries(self, template: np.ndarray, rim: np.ndarray) -> tuple[scipy.sparse.csr_array, np.ndarray, np.ndarray]:
        """(n, upper) which edge vertices each skin vertex stands under or above; (n,) shares of either edge's way."""
        p, corners = template[self._skin], self.lower[[0, -1]]
        along, (first, last) = p @ self._across, template[corners] @ self._across
        knots = np.concatenate([[first], template[self.upper] @ self._across, [last]])  # at rest in the corners
        off_middle = np.abs(2 * (knots[1:-1] - first) / (last - first) - 1)
        self._overlap = OVERLAP[0] + (OVERLAP[1] - OVERLAP[0]) * off_middle**6
        spread = np.stack([np.interp(along, knots, unit) for unit in np.eye(len(knots))[1:-1]], axis=1)
        lines = [np.concatenate([corners[:1], edge, corners[1:]]) for edge in (self.upper, self.lower[1:-1])]
        middle = np.mean([np.interp(along, template[line] @ self._across, template[line, 1]) for line in lines], axis=0)
        shares, skin = [], []
        for line, mine in zip(lines, (p[:, 1] > middle, p[:, 1] <= middle), strict=True):
            far, _ = nearest_on(template, line, p)
            shares.append(np.where(mine, np.where(rim, 1.0, smoothstep(far, REACH, RIGID)), 0.0))
            skin.append(self._skin[mine & ~rim])
        self._edges = LidEdges(template, lines, skin, EDGE)
        return scipy.sparse.csr_array(spread), *shares

    def opening(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) mm: from the lower lid's edge to each vertex of the upper one."""
        along = points @ self._across
        lower = self.lower[np.argsort(along[self.lower])]
        meet = np.stack([np.interp(along[self.upper], along[lower], points[lower, axis]) for axis in range(3)], -1)
        return points[self.upper] - meet

    def correct(self, points: np.ndarray, weights: Mapping[str, float], rest: np.ndarray) -> None:
        """Moves the lid vertices in place.

        Args:
          points: (V, 3) mm, the blended head.
          weights: 0..1 by shape, without its side; `eyeBlink` and those of `NARROWING` matter.
          rest: (V, 3) mm, the same identity at rest.
        """
        centre, scale = self._fit_ball(points[self._ball])
        self._lift(points, centre, scale)  # before and after: lids that are lifted alike stay together
        blink = weights.get("eyeBlink", 0.0)
        share = 1 - sum(narrowing * weights.get(shape, 0.0) for shape, narrowing in NARROWING.items())
        surplus = self.opening(points) - (1 - blink) * share * self.opening(rest)
        surplus[:, 1] += blink * self._overlap
        lower = LOWER_LID * (1 - blink)
        way = lower * self._with_lower - (1 - lower) * self._with_upper
        points[self._skin] += way[:, None] * (self._spread @ surplus)
        self._edges.set_up(points, rest, centre)
        self._lift(points, centre, scale)

    def _lift(self, points: np.ndarray, centre: np.ndarray, scale: float) -> None:
        """Skin inside the eyeball goes out along its radius, and what lies beside it with it."""
        away = points[self._skin] - centre
        distance = np.linalg.norm(away, axis=1)
        angle = np.arccos(np.clip(away @ self._axis / distance, -1, 1))
        lack = scale * np.interp(angle, self._angles, self._radii) + CLEARANCE - distance
        lack = np.where(self._touches, 0.0, np.clip(lack, 0, None))
        if lack.any():
            points[self._skin] += (self._lifting.over(lack) / distance)[:, None] * away

    def _fit_ball(self, ball: np.ndarray) -> tuple[np.ndarray, float]:
        scale = float(np.sqrt(ball.var(0).sum() / self._local.var(0).sum()))
        return ball.mean(0) - scale * self._local.mean(0), scale


def _ball_frame(ball: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eyeball vertices about the centre of its sphere, and the direction it looks in."""
    pole = ball[ball[:, 2].argmax()]
    centre = sphere_centre(ball)
    axis = pole - centre
    return ball - centre, axis / np.linalg.norm(axis)


def sphere_centre(ball: np.ndarray) -> np.ndarray:
    """(3,) centre of an eyeball: of the sphere through its vertices (n, 3) mm that are no cornea."""
    pole = ball[ball[:, 2].argmax()]
    sclera = ball[np.linalg.norm(ball - pole, axis=1) > CORNEA]
    return np.linalg.lstsq(np.c_[2 * sclera, np.ones(len(sclera))], (sclera**2).sum(1), rcond=None)[0][:3]


def _profile(local: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius of the eyeball by angle from its axis: the largest in each 5-degree bin."""
    radius = np.linalg.norm(local, axis=1)
    angle = np.arccos(np.clip(local @ axis / radius, -1, 1))
    edges = np.radians(np.arange(0, 95, 5))
    angles, radii = [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (angle >= low) & (angle < high)
        if inside.any():
            angles.append((low + high) / 2)
            radii.append(radius[inside].max())
    return np.array(angles), np.array(radii)


def _rings(faces: np.ndarray, rim: np.ndarray, count: int) -> list[np.ndarray]:
    """Rings of vertices at 0, 1, .. edges from the rim."""
    neighbours: dict[int, set[int]] = {}
    for a, b, c in faces.tolist():
        for x, y in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(x, set()).add(y)
            neighbours.setdefault(y, set()).add(x)
    rings, reached = [np.sort(rim)], set(rim.tolist())
    for _ in range(count - 1):
        ring = sorted({w for v in rings[-1].tolist() for w in neighbours[v]} - reached)
        reached.update(ring)
        rings.append(np.array(ring))
    return rings


def _split(template: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ring's upper vertices, and its lower ones with both corners, each from the subject's right to left."""
    ring = ring[np.argsort(template[ring, 0])]
    first, last = template[ring[0]], template[ring[-1]]
    chord = np.interp(template[ring, 0], [first[0], last[0]], [first[1], last[1]])
    above = template[ring, 1] > chord
    above[[0, -1]] = False
    return ring[above], ring[~above]
