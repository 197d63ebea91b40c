"""The atlas: where every texel of the UV map lies on the template face. Baked once per face model and texture size."""

import dataclasses

import numpy as np
import scipy.ndimage

from data_gen.face_models import Topology

LEAST_TEXEL_MM = 0.05  # smaller ones belong to folded or degenerate triangles


@dataclasses.dataclass(frozen=True)
class Atlas:
    """N texels that some triangle covers, as flat arrays, and how to spread them over the picture.

    Attributes:
      size: side T of the atlas in texels.
      positions: (N, 3) float32 mm on the template.
      normals: (N, 3) float32 unit, smooth.
      materials: (N,) int8, index into `MATERIALS`.
      source: (T, T) int32, for each texel the covered one to take its colour from: itself, or the nearest across a
        gutter, so that filtering and mipmaps never mix in a colour that belongs to no surface.
      texels_per_mm: (T, T) float32, on the template.
    """

    size: int
    positions: np.ndarray
    normals: np.ndarray
    materials: np.ndarray
    source: np.ndarray
    texels_per_mm: np.ndarray

    def longest_mm(self) -> np.ndarray:
        """(N,) float32, the longer side of each texel on the template, in mm: what is painted finer gets teeth."""
        place = self.image(self.positions)
        across, down = (np.linalg.norm(np.diff(place, axis=axis), axis=-1) for axis in (1, 0))
        longest = np.zeros(len(self.positions), np.float32)
        for step, here in ((across, self.source[:, :-1]), (down, self.source[:-1])):
            longest[here.ravel()] = np.maximum(longest[here.ravel()], step.ravel())
        return longest

    def image(self, values: np.ndarray) -> np.ndarray:
        """(N, ...) per texel -> (T, T, ...) picture."""
        return values[self.source]


def bake(topology: Topology, size: int) -> Atlas:
    """Rasterises the UV triangles at texel centres and interpolates the template over them."""
    flat, triangle, weights = covered_texels(topology, size)
    vertices = topology.faces[triangle]  # [N, 3]
    positions = np.einsum("nk,nkd->nd", weights, topology.template[vertices].astype(np.float64))
    normals = np.einsum("nk,nkd->nd", weights, vertex_normals(topology)[vertices])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)

    covered = np.full(size * size, -1, np.int32)
    covered[flat] = np.arange(len(flat))
    nearest = scipy.ndimage.distance_transform_edt(
        covered.reshape(size, size) < 0, return_distances=False, return_indices=True
    )
    edges = topology.template[topology.faces].astype(np.float64)
    area_mm = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=-1)
    corners = _corners(topology, size)
    area_texels = np.abs(_cross2(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    texel_mm = np.sqrt(area_mm / np.maximum(area_texels, 1e-6))[triangle]
    source = covered.reshape(size, size)[tuple(nearest)]
    return Atlas(
        size=size,
        positions=positions.astype(np.float32),
        normals=normals.astype(np.float32),
        materials=topology.materials[triangle],
        source=source,
        texels_per_mm=(1 / np.maximum(texel_mm, LEAST_TEXEL_MM)).astype(np.float32)[source],
    )


def covered_texels(topology: Topology, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The N texels that some triangle covers, in the order of `Atlas`: place in the flattened picture (N,), triangle
    (N,), and barycentric weights of its corners (N, 3)."""
    triangle, column, row, weights = _rasterize(_corners(topology, size), size)
    flat, first = np.unique(row * size + column, return_index=True)
    return flat, triangle[first], weights[first]


def vertex_normals(topology: Topology) -> np.ndarray:
    """(V, 3) area-weighted unit normals of the template."""
    a, b, c = (topology.template[topology.faces[:, i]].astype(np.float64) for i in range(3))
    flat = np.cross(b - a, c - a)
    normals = np.stack(
        [
            sum(np.bincount(topology.faces[:, i], flat[:, axis], len(topology.template)) for i in range(3))
            for axis in range(3)
        ],
        -1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)


def _corners(topology: Topology, size: int) -> np.ndarray:
    """(F, 3, 2) column and row of the triangles' corners, texel centres at integers."""
    corners = topology.uvs[topology.uv_faces].astype(np.float64)  # [F, 3, 2]
    return np.stack([corners[..., 0] * size, (1 - corners[..., 1]) * size], -1) - 0.5


def _rasterize(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(triangle, column, row, barycentric weights) of every texel centre inside a triangle, all triangles at once."""
    low = np.clip(np.ceil(corners.min(1)).astype(int), 0, size)
    high = np.clip(np.floor(corners.max(1)).astype(int) + 1, 0, size)
    width, height = np.maximum(high - low, 0).T
    count = width * height
    triangle = np.repeat(np.arange(len(corners)), count)
    place = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)  # within the bounding box
    column = low[triangle, 0] + place % np.maximum(width, 1)[triangle]
    row = low[triangle, 1] + place // np.maximum(width, 1)[triangle]
    point = np.stack([column, row], -1)
    a, b, c = corners[triangle, 0], corners[triangle, 1], corners[triangle, 2]
    area = _cross2(b - a, c - a)
    safe = np.where(area == 0, 1.0, area)
    weights = np.stack([_cross2(c - b, point - b), _cross2(a - c, point - c), _cross2(b - a, point - a)], -1)
    weights = weights / safe[:, None]
    inside = (weights >= -1e-9).all(-1) & (area != 0)
    return triangle[inside], column[inside], row[inside], weights[inside]


def _cross2(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
