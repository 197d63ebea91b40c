"""The upper lashes of the ICT model: a short fringe that hangs on the lid's edge wherever the lid goes.

The source's lash cards are 8 mm long and meant for a transparent texture; opaque they look like bars, and they do not
know of the corrections to the lids. Here a card keeps its curvature and its turning with the blink, is shortened and
bent forward, so that it does not cut the lower lid, and its root is tied to the front edge of the lid.
"""

import numpy as np

LENGTH = 0.16  # of the source's cards, in the middle of the lid; towards the corners they are shorter
ROOT_FORWARD, TIP_FORWARD = 0.4, 1.4  # mm


class Lashes:
    """One card.

    Args:
      template: (V, 3) the neutral head, mm.
      card: (n,) the card's vertices.
      uvs: (n, 2) their texture coordinates: u runs along the lid, v from the tip up to the root.
      edge: (m,) vertices of the lid's front edge, from the subject's right to left.
    """

    def __init__(self, template: np.ndarray, card: np.ndarray, uvs: np.ndarray, edge: np.ndarray):
        order = np.lexsort((-uvs[:, 1], np.round(uvs[:, 0], 3)))
        columns = len(np.unique(np.round(uvs[:, 0], 3)))
        grid = card[order].reshape(columns, -1)  # [columns, rows], the root first
        if template[grid[0, 0], 0] > template[grid[-1, 0], 0]:
            grid = grid[::-1]
        self._card, self._root, self._edge = grid.ravel(), np.repeat(grid[:, 0], grid.shape[1]), edge
        profile = np.sin(np.pi * np.linspace(0.02, 0.98, columns)) ** 0.6
        self._length = LENGTH * np.repeat(profile, grid.shape[1])[:, None]
        self._forward = np.outer(profile, np.linspace(ROOT_FORWARD, TIP_FORWARD, grid.shape[1])).ravel()
        self._tie = np.repeat(_tie(template[grid[:, 0], 0], template[edge, 0]), grid.shape[1], axis=0)

    def hang(self, points: np.ndarray) -> None:
        """Places the card on the lid, in `points` (V, 3) mm."""
        blades = self._length * (points[self._card] - points[self._root])
        blades[:, 2] += self._forward
        points[self._card] = self._tie @ points[self._edge] + blades


def _tie(roots: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """(columns, m) linear interpolation that spreads the columns over the whole edge."""
    place = (roots - roots[0]) / (roots[-1] - roots[0])
    along = (edge - edge[0]) / (edge[-1] - edge[0])
    return np.stack([np.interp(place, along, unit) for unit in np.eye(len(edge))], axis=1)
