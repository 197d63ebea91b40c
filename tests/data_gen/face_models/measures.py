"""Measurements on meshes that tests of several heads share."""

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from data_gen.face_models import MATERIALS, procedural_surface

SKIN, EYE = MATERIALS.index("skin"), MATERIALS.index("eye")


def components(topology):
    """Label of each face: faces that share a vertex belong together."""
    f = topology.faces
    n = len(topology.template)
    graph = scipy.sparse.coo_array((np.ones(2 * len(f)), (f[:, [0, 1]].ravel(), f[:, [1, 2]].ravel())), (n, n))
    return connected_components(graph, directed=False)[1][f[:, 0]]


def front_area(topology):
    """(V,) mm² of skin that each vertex shows to a camera in front."""
    p, f = topology.template, topology.faces
    area = np.maximum(np.cross(p[f[:, 1]] - p[f[:, 0]], p[f[:, 2]] - p[f[:, 0]])[:, 2], 0) / 2
    area[topology.materials != SKIN] = 0
    return np.bincount(f.ravel(), np.repeat(area / 3, 3), len(p))


def eye_centers(topology, vertices):
    """(2, 3): right, left; the eyeball is a sphere cap, fitted by least squares."""
    used = np.unique(topology.faces[topology.materials == EYE])
    out = []
    for side in (-1, 1):
        p = vertices[used[np.sign(topology.template[used, 0]) == side]].astype(np.float64)
        solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(1), rcond=None)[0]
        out.append(solution[:3])
        radius = np.sqrt(solution[3] + (solution[:3] ** 2).sum())
        np.testing.assert_allclose(np.linalg.norm(p - solution[:3], axis=1), radius, atol=1e-2)
        np.testing.assert_allclose(radius, procedural_surface.EYE_RADIUS, atol=1e-2)
    return np.stack(out)


def covered(points, vertices, triangles):
    """(n,) bool: whether a triangle facing +z lies in front of each point, seen along -z."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    out = np.zeros(len(points), bool)
    for i, p in enumerate(points):
        e = [
            (q[:, 0] - r[:, 0]) * (p[1] - r[:, 1]) - (q[:, 1] - r[:, 1]) * (p[0] - r[:, 0])
            for r, q in ((a, b), (b, c), (c, a))
        ]
        total = sum(e)
        hit = (np.stack(e) >= 0).all(0) & (total > 1e-9)
        z = (e[1][hit] * a[hit, 2] + e[2][hit] * b[hit, 2] + e[0][hit] * c[hit, 2]) / total[hit]
        out[i] = (z > p[2]).any()
    return out
