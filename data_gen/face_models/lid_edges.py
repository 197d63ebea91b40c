"""Two things that keep lids whole, whatever moves them: a linear shape, a transferred one, a correction.

The skin beside the line on which two lids meet is a tenth of a millimetre fine and folds easily: `LidEdges` sets it up
again as it is at rest, turned about the eyeball as the line has turned. Skin that is lifted out of the eyeball takes
along what lies beside it: `Lifting`.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

ALIKE = 2.0  # mm over which skin is lifted alike


class LidEdges:
    """The edges of an upper and a lower lid.

    Args:
      template: (V, 3) the neutral head, mm.
      lines: of each lid, (n,) the vertices of the line on which it meets the other, from corner to corner.
      skin: of each lid, (m,) the vertices that go with its line.
      reach: mm from its line within which a lid keeps its form, and from which on it does not.
    """

    def __init__(
        self, template: np.ndarray, lines: Sequence[np.ndarray], skin: Sequence[np.ndarray], reach: tuple[float, float]
    ):
        kept, behind, ahead, part, firmness = [], [], [], [], []
        for line, mine in zip(lines, skin, strict=True):
            far, place = nearest_on(template, line, template[mine])
            chosen = (far < reach[1]) & ~np.isin(mine, line)
            kept.append(mine[chosen])
            behind.append(line[place[chosen].astype(int)])
            ahead.append(line[place[chosen].astype(int) + 1])
            part.append(place[chosen] % 1)
            firmness.append(smoothstep(far[chosen], reach[1], reach[0]))
        edges = (np.concatenate(each) for each in (kept, behind, ahead, part, firmness))
        self._kept, self._behind, self._ahead, self._part, self._firmness = edges

    def set_up(self, points: np.ndarray, rest: np.ndarray, centre: np.ndarray) -> None:
        """Moves the skin beside the lines of `points` (V, 3) mm in place.

        Args:
          points: the head with its lids' lines where they should be.
          rest: (V, 3) mm, the same identity at rest.
          centre: (3,) mm, middle of the eyeball.
        """
        before, now = (
            p[self._behind] + self._part[:, None] * (p[self._ahead] - p[self._behind]) for p in (rest, points)
        )
        turn = np.subtract(*(np.arctan2(*(line - centre)[:, [1, 2]].T) for line in (now, before)))
        cos, sin = np.cos(turn), np.sin(turn)
        x, y, z = (rest[self._kept] - before).T
        form = now + np.stack([x, cos * y + sin * z, cos * z - sin * y], -1)
        points[self._kept] += self._firmness[:, None] * (form - points[self._kept])


class Lifting:
    """How far skin around a place goes along where that place is lifted, so that lids that lie on each other stay so.

    Args:
      points: (n, 3) mm, the skin on the template.
    """

    def __init__(self, points: np.ndarray):
        tree = cKDTree(points)
        near = tree.sparse_distance_matrix(tree, ALIKE, output_type="coo_matrix").tocsr()
        near = near + scipy.sparse.identity(len(points)) * 1e-9  # itself, at no distance
        near.sort_indices()
        weights = near.copy()
        weights.data = (1 - (near.data / (1.001 * ALIKE)) ** 2) ** 2
        self._mean = scipy.sparse.csr_array(weights.multiply(1 / weights.sum(1)))
        self._mean.sort_indices()

    def over(self, lack: np.ndarray) -> np.ndarray:
        """(n,) what each place lacks -> (n,) a smooth field that is nowhere less: the mean of the greatest around."""
        most = np.maximum.reduceat(lack[self._mean.indices], self._mean.indptr[:-1])
        return self._mean @ most


def nearest_on(template: np.ndarray, line: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) mm from (m, 3) points to the polyline through vertices (n,), and (m,) where on it: 0 the first, 1 the second
    vertex, and so on in tenths."""
    steps = np.arange(0, len(line) - 1, 0.1)
    fine = np.stack([np.interp(steps, np.arange(len(line)), c) for c in template[line].T], -1)
    far, nearest = cKDTree(fine).query(points)
    return far, steps[nearest]


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 beyond `low`, 1 beyond `high`, smooth between; `low` may be the greater."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
