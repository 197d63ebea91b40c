"""Lays one head's skin onto another's, so that each place of the one has its counterpart on the other.

Three steps, coarse to fine: the similarity that best maps the points both heads have (Umeyama 1991), a smooth warp that
maps them exactly (biharmonic radial basis functions, Carr et al. 2001), and closest points under a smoothness that is
given up little by little (non-rigid ICP, Amberg et al. 2007, with the membrane energy of the displacements).
"""

import dataclasses

import numpy as np
import scipy.interpolate
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial

from data_gen.face_models.face_features import Head, boundary_loops

STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.4)  # of each edge, against the pull of a vertex towards the other head
ROUNDS = 3  # closest points and solutions at each stiffness
PULL_OF_ANCHOR = 5.0
LENIENCE = 0.5  # of the warp: two pairs that contradict each other shall not tear it
REACH = 12.0  # mm: a place farther from the other head has no counterpart
SAME_SIDE = 0.5  # cosine between normals of counterparts
SPACING = 1.5  # mm between samples of a surface


@dataclasses.dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + shift."""

    scale: float
    rotation: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) -> (n, 3)."""
        return self.scale * points @ self.rotation.T + self.shift

    def turn(self, vectors: np.ndarray) -> np.ndarray:
        """(..., 3) displacements -> (..., 3)."""
        return self.scale * vectors @ self.rotation.T

    def inverse(self) -> "Similarity":
        """The way back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -rotation @ self.shift / self.scale)


def similarity(start: np.ndarray, end: np.ndarray) -> Similarity:
    """The one that maps (n, 3) points onto others with the least squared error (Umeyama 1991)."""
    a, b = start - start.mean(0), end - end.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / (a**2).sum())
    return Similarity(scale, rotation, end.mean(0) - scale * rotation @ start.mean(0))


def register(source: Head, target: Head, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Lays the source's skin onto the target's.

    Args:
      source, target: in one frame, about the same size: align them with `similarity` first.
      start, end: (n, 3) mm, places of the source and their counterparts on the target.

    Returns:
      (V, 3) mm, the source's vertices; where the target has no counterpart, carried along smoothly.
    """
    used, faces = np.unique(source.skin, return_inverse=True)
    faces = faces.reshape(-1, 3)
    start, first = np.unique(start, axis=0, return_index=True)  # two points in one place make the warp singular
    warp = scipy.interpolate.RBFInterpolator(start, end[first] - start, kernel="linear", degree=0, smoothing=LENIENCE)
    out = source.vertices + warp(source.vertices)
    base = out[used]
    anchor = scipy.spatial.cKDTree(source.vertices[used]).query(start)[1]
    wanted = end[first] - base[anchor] - (start - source.vertices[used[anchor]])
    hold = np.zeros(len(used))
    np.add.at(hold, anchor, PULL_OF_ANCHOR)
    held = np.zeros((len(used), 3))
    np.add.at(held, anchor, PULL_OF_ANCHOR * wanted)
    surface = Surface(target.vertices, target.skin)
    laplacian = _laplacian(faces, len(used))
    moved = np.zeros_like(base)
    for stiffness in STIFFNESS:
        for _ in range(ROUNDS):
            points = base + moved
            place, weight = surface.counterparts(points, normals(points, faces))
            system = stiffness * laplacian + scipy.sparse.diags_array(weight + hold + 1e-6)
            right = weight[:, None] * (place - base) + held
            moved = scipy.sparse.linalg.splu(system.tocsc()).solve(right)
    out[used] = base + moved
    return out


class Surface:
    """Triangles sampled so densely that the nearest sample and its tangent plane stand for the nearest point.

    Attributes:
      points, normals: (S, 3).
      faces, weights: (S,) the triangle that a sample lies on, and (S, 3) where on it (barycentric).
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        corners = vertices[faces].astype(np.float64)
        self._corners = corners
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
        steps = np.clip(np.ceil(longest / SPACING), 1, 24).astype(int)
        of, weights = [], []
        for step in np.unique(steps):
            i, j = (grid.ravel() for grid in np.meshgrid(np.arange(step), np.arange(step)))
            i, j = i[i + j < step], j[i + j < step]
            lattice = (np.stack([i, j, step - 1 - i - j], -1) + 1 / 3) / step  # inside, so that no two share a place
            mine = np.flatnonzero(steps == step)
            of.append(np.repeat(mine, len(lattice)))
            weights.append(np.tile(lattice, (len(mine), 1)))
        self.faces, self.weights = np.concatenate(of), np.concatenate(weights)
        at = faces[self.faces]
        self.points = np.einsum("sk,skd->sd", self.weights, vertices[at])
        self.normals = _unit(np.einsum("sk,skd->sd", self.weights, normals(vertices, faces)[at]))
        border = np.zeros(len(vertices), bool)
        for loop in boundary_loops(faces):
            border[loop] = True
        self._on_border = border[at].sum(1) > 1
        self._tree = scipy.spatial.cKDTree(self.points)

    def nearest(self, points: np.ndarray, directions: np.ndarray, reach: float = REACH) -> np.ndarray:
        """(n,) sample nearest to each of (n, 3) points among those that face as its direction does; -1 if none."""
        away, candidates = self._tree.query(points, k=12, distance_upper_bound=reach)
        padded = np.vstack([self.normals, np.zeros(3)])[candidates]
        fits = np.einsum("nkd,nd->nk", padded, directions) > SAME_SIDE
        best = np.where(fits, away, np.inf).argmin(1)
        row = np.arange(len(points))
        return np.where(fits[row, best], candidates[row, best], -1)

    def locate(
        self, points: np.ndarray, directions: np.ndarray, reach: float = REACH
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The places nearest to points (n, 3) with normals (n, 3).

        Returns:
          (n,) triangles, (n, 3) barycentric weights, and (n,) bool: whether the place faces as the point does and lies
          within `reach` mm of it; otherwise it is just the nearest.
        """
        sample = self.nearest(points, directions, reach)
        known = sample >= 0
        sample[~known] = self._tree.query(points[~known])[1]
        face = self.faces[sample]
        corners = self._corners[face]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        frame = np.stack([a, b, np.cross(a, b)], -1)
        flat = np.abs(np.linalg.det(frame)) < 1e-12
        frame[flat] = np.eye(3)
        weights = np.linalg.solve(frame, (points - corners[:, 0])[..., None])[:, :2, 0]
        weights[flat] = 1 / 3
        weights = np.clip(np.column_stack([1 - weights.sum(1), weights]), 0, None)
        return face, weights / weights.sum(1, keepdims=True), known

    def counterparts(self, points: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) where points (n, 3) with normals (n, 3) should go, and (n,) 0 or 1: whether there is such a place."""
        sample = self.nearest(points, directions)
        offset = ((points - self.points[sample]) * self.normals[sample]).sum(1)
        place = points - offset[:, None] * self.normals[sample]
        return place, ((sample >= 0) & ~self._on_border[sample]).astype(np.float64)


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) area-weighted unit normals; zero where no face is."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    flat = np.cross(b - a, c - a)
    total = np.zeros((len(vertices), 3))
    for k in range(3):
        np.add.at(total, faces[:, k], flat)
    return _unit(total)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _laplacian(faces: np.ndarray, count: int) -> scipy.sparse.csr_array:
    """(n, n) of the edge graph, every edge alike."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.unique(np.sort(ends, axis=1), axis=0)
    graph = scipy.sparse.coo_array((np.ones(len(ends)), ends.T), (count, count)).tocsr()
    graph = graph + graph.T
    return scipy.sparse.diags_array(graph.sum(1)) - graph
