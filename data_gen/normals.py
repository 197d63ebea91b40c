"""Normals of many poses of one surface, as every frame needs them: what the poses share is worked out once."""

import numpy as np
import scipy.sparse


class VertexNormals:
    """Of a surface of `vertices` vertices with triangles `faces` (F, 3)."""

    def __init__(self, faces: np.ndarray, vertices: int):
        self._faces, self._adjacency = faces, _adjacency(faces, vertices)

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) unit normals of a pose (V, 3), weighted by area; those of geometry vertices, so that texture seams do
        not show."""
        a, b, c = (vertices[self._faces[:, i]] for i in range(3))
        normals = self._adjacency @ _cross(b - a, c - a)  # [V, 3]
        return normals / np.maximum(np.sqrt((normals**2).sum(1, keepdims=True)), 1e-9)


def _adjacency(faces: np.ndarray, vertices: int) -> scipy.sparse.csr_array:
    """(V, F) incidence matrix: sums what belongs to a vertex's triangles, much faster than np.add.at."""
    rows, columns = faces.reshape(-1), np.repeat(np.arange(len(faces)), 3)
    return scipy.sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(vertices, len(faces)))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of (n, 3); numpy's own is several times slower."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)
