"""Eyelids of the ICT model that close on every identity and never let the eyeball through.

Identity modes and expression shapes are linear and do not know of each other, so on a sampled identity a full blink
leaves a slit or crosses the lids, two squints together shut a narrow eye, and a bulging eye pierces its lids. Two
corrections follow the blend: the upper lid's edge is carried to where it should be above the lower one, and lid skin
inside the eyeball is lifted out of it. Both vanish smoothly away from the lid's edge.
"""

import numpy as np

LEAST_OPENING = 0.2  # of the opening at rest, whatever narrows the eye but the blink: AU43 = 0 means open
OVERLAP = 0.25  # mm that the closed upper edge sinks into the lower: between their vertices the edges are not one line
AROUND = 50.0  # mm around the eye within which all rings lie
CORNEA = 10.0  # mm around the foremost point of the eyeball
CLEARANCE = 0.25  # mm between eyeball and lid skin
# How much of the edge's movement each ring of vertices around the eye takes along, from the inner rim (0) outwards.
# Rings 0..4 are the lid's edge, 4 mm of skin; by ring 11 the fold of the upper lid is reached.
FALLOFF = (1.0, 1.0, 1.0, 1.0, 1.0, 0.92, 0.78, 0.6, 0.42, 0.26, 0.13, 0.05)
MARGIN = 2  # the ring on which the two lids meet: the landmarks of the eyes lie on it
FRONT = 3  # the ring that is the lid's front edge, where lashes grow
LIFTED = slice(1, 12)  # rings kept out of the eyeball; ring 0 is the rim inside the lid, which touches it


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
        rings, parents = _rings(faces[near[faces].all(1)], rim, len(FALLOFF))
        upper, lower = _split(template, rings[MARGIN])
        self.upper, self.lower = upper, lower
        self.front = _split(template, rings[FRONT])[0]
        self._across = template[lower[-1]] - template[lower[0]]
        self._across /= np.linalg.norm(self._across)
        self._moved, self._carry = _carry(rings, parents, upper)
        self._lifted = np.concatenate(rings[LIFTED])

    def opening(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) mm: from the lower lid's edge to each vertex of the upper one."""
        along = points @ self._across
        lower = self.lower[np.argsort(along[self.lower])]
        meet = np.stack([np.interp(along[self.upper], along[lower], points[lower, axis]) for axis in range(3)], -1)
        return points[self.upper] - meet

    def correct(self, points: np.ndarray, closing: float, rest: np.ndarray) -> None:
        """Moves the lid vertices in place.

        Args:
          points: (V, 3) mm, the blended head.
          closing: 0..1, the weight of the blink.
          rest: `opening` of the same identity at rest.
        """
        opening = self.opening(points)
        lack = np.clip(LEAST_OPENING * rest[:, 1] - opening[:, 1], 0, None)
        wanted = (1 - closing) * (opening + (lack / np.maximum(rest[:, 1], 1.0))[:, None] * rest)
        wanted[:, 1] -= closing * OVERLAP
        points[self._moved] -= self._carry @ (opening - wanted)
        self._lift(points)

    def _lift(self, points: np.ndarray) -> None:
        centre, scale = self._fit_ball(points[self._ball])
        away = points[self._lifted] - centre
        distance = np.linalg.norm(away, axis=1)
        angle = np.arccos(np.clip(away @ self._axis / distance, -1, 1))
        least = scale * np.interp(angle, self._angles, self._radii) + CLEARANCE
        points[self._lifted] = centre + away * np.maximum(1.0, least / distance)[:, None]

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


def _rings(faces: np.ndarray, rim: np.ndarray, count: int) -> tuple[list[np.ndarray], list[dict[int, list[int]]]]:
    """Rings of vertices at 0, 1, .. edges from the rim, and each vertex's neighbours one ring further in."""
    neighbours: dict[int, set[int]] = {}
    for a, b, c in faces.tolist():
        for x, y in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(x, set()).add(y)
            neighbours.setdefault(y, set()).add(x)
    rings, parents, reached = [np.sort(rim)], [{}], set(rim.tolist())
    for _ in range(count - 1):
        inner = set(rings[-1].tolist())
        ring = sorted({w for v in inner for w in neighbours[v]} - reached)
        parents.append({v: sorted(neighbours[v] & inner) for v in ring})
        reached.update(ring)
        rings.append(np.array(ring))
    return rings, parents


def _split(template: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ring's upper vertices, and its lower ones with both corners, each from the subject's right to left."""
    ring = ring[np.argsort(template[ring, 0])]
    first, last = template[ring[0]], template[ring[-1]]
    chord = np.interp(template[ring, 0], [first[0], last[0]], [first[1], last[1]])
    above = template[ring, 1] > chord
    above[[0, -1]] = False
    return ring[above], ring[~above]


def _carry(
    rings: list[np.ndarray], parents: list[dict[int, list[int]]], upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) vertices that follow the upper lid's edge, and (n, upper) how much of each edge vertex's way they go."""
    rows = {int(v): np.zeros(len(upper)) for v in rings[MARGIN]}
    for column, v in enumerate(upper.tolist()):
        rows[v][column] = 1.0
    weights = {v: FALLOFF[MARGIN] * row for v, row in rows.items()}
    for k in range(MARGIN + 1, len(rings)):
        rows = {v: np.mean([rows[p] for p in parents[k][v]], axis=0) for v in rings[k].tolist()}
        weights |= {v: FALLOFF[k] * row for v, row in rows.items()}
    rows = {v: weights[v] for v in rings[MARGIN].tolist()}
    for k in range(MARGIN, 0, -1):
        children: dict[int, list[int]] = {int(v): [] for v in rings[k - 1]}
        for child, above in parents[k].items():
            for v in above:
                children[v].append(child)
        rows = {v: np.mean([rows[c] for c in below], axis=0) for v, below in children.items() if below}
        weights |= {v: FALLOFF[k - 1] * row for v, row in rows.items()}
    moved = np.array(sorted(v for v, row in weights.items() if row.any()))
    return moved, np.stack([weights[v] for v in moved.tolist()])
