"""Which way texture coordinates run on a surface: what turns slopes painted along u and v into bent normals."""

import numpy as np

from data_gen.face_models import Topology

COARSEST = -12.0  # log2 of the fewest texture widths per mm that `corner_frames` tells apart


def corner_frames(topology: Topology, corners: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Directions of u, and how densely the texture lies, at the corners of a mesh cut open along its seams.

    Args:
      corners: (C, 2), vertex and texture coordinate of each corner.
      triangles: (F, 3), over the corners.
      normals: (V, 3) unit, of the template.

    Returns:
      (C, 2) float32 in 0..1: tan(a / 2) / 4 + 0.5, where a is the angle from the first axis of the frame that
      `surface_shading.AXES` derives from the normal to u; and log2 of the texture's widths per mm, from `COARSEST` (0)
      to none (1). They change so little from face to face that the template's serve all.
    """
    points, uvs = topology.template[corners[:, 0]].astype(np.float64), topology.uvs[corners[:, 1]].astype(np.float64)
    a, b, c = triangles.T
    side, other = points[b] - points[a], points[c] - points[a]  # [F, 3]
    du, dv = (uvs[b] - uvs[a]).T, (uvs[c] - uvs[a]).T
    turn = du[0] * dv[1] - du[1] * dv[0]  # twice the area in texture space, negative where the texture is mirrored
    along_u = (side * dv[1][:, None] - other * du[1][:, None]) * np.sign(turn)[:, None]  # [F, 3], dP/du times |turn|
    area = np.linalg.norm(np.cross(side, other), axis=1)
    sums = np.zeros((len(corners), 5))
    for corner in (a, b, c):
        np.add.at(sums, corner, np.column_stack([along_u, area, np.abs(turn)]))
    x, y = _axes(normals[corners[:, 0]].astype(np.float64))
    direction = np.stack([(sums[:, :3] * x).sum(1), (sums[:, :3] * y).sum(1)], -1)
    half = np.tan(np.arctan2(direction[:, 1], direction[:, 0]) / 2)  # interpolates without trigonometry
    density = 0.5 * np.log2(np.maximum(sums[:, 4], 1e-12) / np.maximum(sums[:, 3], 1e-12))
    return np.clip(np.column_stack([half / 4 + 0.5, 1 - density / COARSEST]), 0, 1).astype(np.float32)


def _axes(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors (C, 3) across unit normals (C, 3), smooth everywhere but at n = -z."""
    a = 1 / np.maximum(1 + n[:, 2], 1e-3)
    x = np.stack([1 - n[:, 0] ** 2 * a, -n[:, 0] * n[:, 1] * a, -n[:, 0]], -1)
    y = np.stack([-n[:, 0] * n[:, 1] * a, 1 - n[:, 1] ** 2 * a, -n[:, 1]], -1)
    return x, y
