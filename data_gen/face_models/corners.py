"""The corners of eyes and mouth, where triangles are finest and displacements fold them: evened out over a few mm."""

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree


class Corners:
    """Places of a head around which displacements are averaged.

    Args:
      template: (V, 3) the neutral head, mm.
      skin: (n,) its vertices that are skin or the mouth's lining.
      places: (m, 4) mm: where, and the sigma of the Gaussian that averages there, fully within twice that and not
        beyond four times.
    """

    def __init__(self, template: np.ndarray, skin: np.ndarray, places: np.ndarray):
        away = np.linalg.norm(template[skin][:, None] - places[:, :3], axis=2) / places[:, 3]  # [n, m] in sigmas
        near = np.flatnonzero(away.min(1) < 4)
        away, sigma = away[near].min(1), places[away[near].argmin(1), 3]
        self._near = skin[near]
        apart = cKDTree(template[self._near]).sparse_distance_matrix(
            cKDTree(template[skin]), 3 * sigma.max(), output_type="coo_matrix"
        )
        weights = np.exp(-0.5 * (apart.data / sigma[apart.row]) ** 2)
        weights /= np.bincount(apart.row, weights)[apart.row]
        size = len(near), len(template)
        self._average = scipy.sparse.csr_array((weights, (apart.row, skin[apart.col])), size)
        t = np.clip((4 - away) / 2, 0, 1)
        self._share = (t * t * (3 - 2 * t))[:, None]

    def even(self, moved: np.ndarray) -> np.ndarray:
        """(V, 3) displacements -> the same, evened out."""
        out = moved.copy()
        out[self._near] += self._share * (self._average @ moved - moved[self._near])
        return out
