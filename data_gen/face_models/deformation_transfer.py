"""Carries a deformation of one head's skin to another's (Sumner and Popović, "Deformation Transfer for Triangle
Meshes", SIGGRAPH 2004).

What a deformation does to each triangle of the source is an affine map. Each triangle of the target shall undergo the
map of the source triangles that lie on it, as far as a connected surface can: a sparse least-squares problem, whose
matrix does not depend on the deformation and is factorised once. It is posed as a Poisson problem over displacements,
which has the same solution (Botsch et al., "Deformation Transfer for Detail-Preserving Surface Editing", 2006).
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial

from data_gen.face_models.correspondence import Surface, normals

MATCH = 5.0  # mm: a triangle farther from the other skin than this has no counterpart
DRIFT_LENGTH = 20.0  # mm beyond which places rather than gradients decide, so that errors do not add up over the face
LOOSE = 0.02  # weight of the smoothness of triangles without a counterpart: sockets, the inside of lips
STILL = 30.0  # mm from the source's skin beyond which the target does not move: the back of the head


class Transfer:
    """From one source to one target, for any deformation of the source. All lengths in mm, in one frame.

    Args:
      rest: (V, 3) the source at rest.
      laid: (V, 3) the same vertices laid onto the target, as `correspondence.register` gives them.
      faces: (F, 3) triangles of the source's skin.
      target: (U, 3) the target at rest; target_faces: (G, 3) triangles of its skin.
    """

    def __init__(
        self, rest: np.ndarray, laid: np.ndarray, faces: np.ndarray, target: np.ndarray, target_faces: np.ndarray
    ):
        self._rest, self._faces = rest.astype(np.float64), faces
        self._used, local = np.unique(target_faces, return_inverse=True)
        local, self._count = local.reshape(-1, 3), len(target)
        points = target[self._used].astype(np.float64)
        self._frames, solid = _inverse_frames(self._rest[faces])
        source = Surface(laid, faces[solid])
        source_face = np.flatnonzero(solid)

        middles = points[local].mean(1)
        facing = np.cross(points[local[:, 1]] - points[local[:, 0]], points[local[:, 2]] - points[local[:, 0]])
        area = np.linalg.norm(facing, axis=1) / 2
        facing = facing / np.maximum(2 * area, 1e-12)[:, None]
        near, _, known = source.locate(middles, facing, MATCH)
        self._pair = source_face[near]
        trust = known.astype(np.float64)

        gradient, self._basis = _gradients(points, local, area)
        weight = np.repeat(area * np.maximum(trust, LOOSE), 3)
        self._trust = trust[:, None, None]
        self._divergence = (gradient.T * weight).tocsr()

        at, self._at_weights, known = source.locate(points, normals(points, local), MATCH)
        self._at = faces[source_face[at]]
        far = scipy.spatial.cKDTree(laid[np.unique(faces)]).query(points)[0] > STILL
        own_area = np.bincount(local.ravel(), np.repeat(area / 3, 3), len(points))
        self._known = known[:, None]
        self._pull = np.where(known | far, own_area / DRIFT_LENGTH**2, 1e-9)[:, None]
        system = self._divergence @ gradient + scipy.sparse.diags_array(self._pull[:, 0])
        self._solver = scipy.sparse.linalg.splu(system.tocsc())

    def __call__(self, deformed: np.ndarray) -> np.ndarray:
        """(V, 3) the source deformed -> (U, 3) by how much each vertex of the target moves."""
        moved = deformed.astype(np.float64) - self._rest
        change = _edges(deformed[self._faces].astype(np.float64)) @ self._frames - np.eye(3)  # [F, 3, 3]
        wanted = self._trust * (self._basis @ np.swapaxes(change[self._pair], 1, 2))  # [G, 3, 3]
        places = np.einsum("uk,ukd->ud", self._at_weights, moved[self._at]) * self._known
        right = self._divergence @ wanted.reshape(-1, 3) + self._pull * places
        out = np.zeros((self._count, 3))
        out[self._used] = self._solver.solve(right)
        return out


def _edges(corners: np.ndarray) -> np.ndarray:
    """(F, 3, 3) corners -> (F, 3, 3) columns: two edges and the normal, scaled as Sumner and Popović do."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(a, b)
    across /= np.sqrt(np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12))
    return np.stack([a, b, across], -1)


def _inverse_frames(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3, 3) inverses of `_edges`, and (F,) which triangles are large enough to have one."""
    edges = _edges(corners)
    solid = np.abs(np.linalg.det(edges)) > 1e-5
    frames = np.zeros_like(edges)
    frames[solid] = np.linalg.inv(edges[solid])
    return frames, solid


def _gradients(points: np.ndarray, faces: np.ndarray, area: np.ndarray) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """(3 F, V) gradient of a function over the vertices in each face, and (F, 3, 3) projections onto its plane."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    unit = across / np.maximum(2 * area, 1e-12)[:, None]
    slope = [np.cross(unit, edge) / np.maximum(2 * area, 1e-6)[:, None] for edge in (c - b, a - c, b - a)]
    rows = np.arange(3 * len(faces)).reshape(-1, 3)
    gradient = scipy.sparse.coo_array(
        (
            np.concatenate([s.ravel() for s in slope]),
            (np.tile(rows.ravel(), 3), np.concatenate([np.repeat(faces[:, k], 3) for k in range(3)])),
        ),
        (3 * len(faces), len(points)),
    )
    return gradient.tocsr(), np.eye(3) - unit[:, :, None] * unit[:, None, :]
