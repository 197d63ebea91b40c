"""What projection needs of a face model's atlas, whoever it is projected on: made once per model and texture size."""

import dataclasses

import numpy as np
import scipy.sparse
import scipy.spatial

from data_gen.face_models import MATERIALS, Topology
from data_gen.textures import procedural
from data_gen.textures.atlas import covered_texels
from data_gen.textures.noise import smoothstep

MIRROR_MM = 2.0  # how far from the mirrored place its counterpart may lie
BROW_MM = 36.0  # above the eyes: up to here the portrait's brows replace the painted ones


@dataclasses.dataclass(frozen=True)
class Canvas:
    """The N texels of an atlas that are skin, in the atlas' order.

    Attributes:
      base: the painters' canvas.
      texels: (N,) int64, which of the atlas' texels they are; places: (N,) int64, where in the flattened picture.
      vertices: (N, 3) int32 corners of the texel's triangle; weights: (N, 3) float32 barycentric, rows sum to 1.
      mirror: (N,) int64, the texel on the other side of the face; itself, where there is none.
      face: (N,) float32 0..1, the face from brows to chin, whose painted brows and beard a portrait replaces.
      above_jaw: (N,) float32 0..1, not the neck: a portrait's collar and the shadow of its chin stay off it.
      plain: (N,) bool, front of the face without eyes, brows and lips: where shading can be told from colour.
      area: (V,) float64 mm2 of skin around each vertex of the template; 0 on what is no skin.
      laplacian: (V, V) sparse, cotangent Laplacian of the template's skin, positive semidefinite.
    """

    base: procedural.Canvas
    texels: np.ndarray
    places: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray
    mirror: np.ndarray
    face: np.ndarray
    above_jaw: np.ndarray
    plain: np.ndarray
    area: np.ndarray
    laplacian: scipy.sparse.csr_array

    def on_texels(self, values: np.ndarray) -> np.ndarray:
        """(V, ...) per vertex -> (N, ...) float32, interpolated linearly."""
        corners = values.astype(np.float32, copy=False)[self.vertices]  # [N, 3, ...]
        return np.einsum("nk,nk...->n...", self.weights, corners)


_canvases: dict[tuple[int, int], Canvas] = {}


def canvas(topology: Topology, size: int) -> Canvas:
    """The canvas of a face model, made on first use in a process."""
    key = id(topology), size
    if key not in _canvases:  # the painters' canvas holds the topology, so that its id stays its own
        _canvases[key] = _make(topology, size)
    return _canvases[key]


def _make(topology: Topology, size: int) -> Canvas:
    base = procedural.canvas(topology, size)
    places, triangle, weights = covered_texels(topology, size)
    texels = np.flatnonzero(base.atlas.materials == MATERIALS.index("skin"))
    points = base.texels.points[texels]
    tree = scipy.spatial.cKDTree(points)
    front = base.texels.front[texels]
    here = np.flatnonzero(front > 0)  # what a frontal camera may see
    distance, other = tree.query(points[here] * np.float32([-1, 1, 1]), distance_upper_bound=MIRROR_MM)
    mirror = np.arange(len(texels))
    mirror[here[np.isfinite(distance)]] = other[np.isfinite(distance)]
    anatomy, y = base.texels, points[:, 1]
    chin = anatomy.landmarks[8, 1]
    right, left = anatomy.landmarks[8::-1], anatomy.landmarks[8:17]  # from the chin to the ears
    line = ((right + left) / 2)[::-1]
    jaw = np.interp(points[:, 2], np.maximum.accumulate(line[:, 2]), line[:, 1])
    above_jaw = smoothstep(jaw - 10, jaw, y)
    face = front * smoothstep(BROW_MM, BROW_MM - 6, y) * above_jaw
    brows = (np.abs(anatomy.brow_across[texels]) < 9) & (anatomy.brow_along[texels] > -5)
    plain = (front > 0.9) & (anatomy.lips[texels] < -2) & (anatomy.eye[texels] > 7) & ~brows
    area, laplacian = _surface(topology)
    return Canvas(
        base,
        texels,
        places[texels],
        topology.faces[triangle[texels]],
        weights[texels].astype(np.float32),
        mirror,
        face.astype(np.float32),
        above_jaw.astype(np.float32),
        plain & (points[:, 1] > chin + 5),
        area,
        laplacian,
    )


def _surface(topology: Topology) -> tuple[np.ndarray, scipy.sparse.csr_array]:
    """Area around each vertex and cotangent Laplacian of the template's skin."""
    faces = topology.faces[topology.materials == MATERIALS.index("skin")]
    corners, count = topology.template[faces].astype(np.float64), len(topology.template)
    double = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area = np.bincount(faces.reshape(-1), np.repeat(double / 6, 3), count)
    laplacian = scipy.sparse.csr_array((count, count))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        a, b = corners[:, j] - corners[:, i], corners[:, k] - corners[:, i]
        # slivers would couple their ends without bound, and obtuse corners push colours apart
        cotangent = np.clip((a * b).sum(1) / np.maximum(double, 1e-9), 0.05, 20) / 2
        edge = scipy.sparse.coo_array((cotangent, (faces[:, j], faces[:, k])), shape=(count, count))
        laplacian = laplacian - edge - edge.T
    return area, (laplacian - scipy.sparse.diags_array(laplacian.sum(1))).tocsr()
