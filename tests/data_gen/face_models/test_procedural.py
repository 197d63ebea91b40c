"""The procedural head's surface: its mesh, proportions, texture coordinates and landmarks."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from data_gen.face_models import MATERIALS, procedural_surface
from data_gen.face_models.procedural import ISLANDS, SKIN_BOTTOM, ProceduralFace
from tests.data_gen.face_models.measures import components

SKIN, EYE = MATERIALS.index("skin"), MATERIALS.index("eye")


@pytest.fixture(scope="module")
def face():
    return ProceduralFace()


def test_topology_has_the_shapes_the_protocol_asks_for(face):
    t = face.topology
    assert t.faces.dtype == t.uv_faces.dtype == t.landmarks.dtype == np.int32
    assert t.template.dtype == t.uvs.dtype == np.float32
    assert t.faces.shape == t.uv_faces.shape == (len(t.materials), 3)
    assert 7_000 <= len(t.faces) <= 17_000
    assert set(np.unique(t.faces)) == set(range(len(t.template)))
    assert set(np.unique(t.uv_faces)) == set(range(len(t.uvs)))
    assert set(t.materials) == set(range(len(MATERIALS)))
    assert t.landmarks.shape == (68,) and len(np.unique(t.landmarks)) >= 66


def test_surface_is_an_oriented_manifold(face):
    f = face.topology.faces
    directed = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)  # no edge twice in one direction
    p = face.topology.template
    area = np.linalg.norm(np.cross(p[f[:, 1]] - p[f[:, 0]], p[f[:, 2]] - p[f[:, 0]]), axis=1) / 2
    assert area.min() > 1e-4


def test_head_skin_opens_only_at_eyes_mouth_and_neck(face):
    t = face.topology
    label = components(t)
    head = t.faces[label == np.bincount(label).argmax()]
    directed = np.concatenate([head[:, [0, 1]], head[:, [1, 2]], head[:, [2, 0]]])
    known = {tuple(e) for e in directed}
    rim = np.array([e for e in directed if (e[1], e[0]) not in known])
    ids = np.unique(rim, return_inverse=True)[1].reshape(-1, 2)
    n, loop = connected_components(scipy.sparse.coo_array((np.ones(len(ids)), ids.T)), directed=False)
    assert n == 4
    middles = np.stack([t.template[rim[:, 0][loop[ids[:, 0]] == k]].mean(0) for k in range(n)])
    middles = middles[np.argsort(middles[:, 1])]
    assert middles[0, 1] < -200  # the neck runs out of the picture
    np.testing.assert_allclose(middles[1, :2], [0, -71], atol=2.5)
    np.testing.assert_allclose(np.sort(middles[2:, 0]), [-32, 32], atol=1.5)


def test_normals_point_outwards(face):
    t = face.topology
    p = t.template.astype(np.float64)
    a, b, c = (p[t.faces[:, i]] for i in range(3))
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
    eyes = t.materials == EYE
    centers = np.where(middle[eyes, :1] > 0, 1, -1) * np.array([1, 0, 0]) * procedural_surface.EYE[0]
    centers = centers + [0, *procedural_surface.EYE[1:]]
    assert ((normal[eyes] * (middle[eyes] - centers)).sum(1) > 0).all()
    cranium = (t.materials == SKIN) & (middle[:, 1] > 35)
    assert ((normal[cranium] * (middle[cranium] - [0, 20, -5])).sum(1) > 0).all()
    face_front = (t.materials == SKIN) & (middle[:, 2] > 75) & (np.abs(middle[:, 1] + 30) < 70)
    assert (normal[face_front, 2] > 0).mean() > 0.9  # under the nose and inside the lips it may turn away
    label = components(t)
    volume = np.einsum("ij,ij->i", a - [0, -20, 0], np.cross(b - [0, -20, 0], c - [0, -20, 0])) / 6
    assert all(volume[label == k].sum() > 0 for k in np.unique(label[t.materials == SKIN]))


def test_template_is_symmetric(face):
    p = face.topology.template
    distance, _ = cKDTree(p).query(p * [-1, 1, 1])
    assert distance.max() < 1e-3


def test_template_has_adult_proportions(face):
    t = face.topology
    p, mark = t.template, t.template[t.landmarks]
    assert 210 < p[:, 1].max() - mark[8, 1] < 235  # vertex to menton
    label = components(t)
    head = p[np.unique(t.faces[label == np.bincount(label).argmax()])]
    assert 130 < 2 * head[np.abs(head[:, 1] + 20) < 8, 0].max() < 142  # bizygomatic
    assert 145 < 2 * head[np.abs(head[:, 1] - 45) < 10, 0].max() < 156  # cranium
    assert 180 < np.ptp(head[np.abs(head[:, 1] - 17) < 8, 2]) < 200  # glabella to occiput
    assert 28 < mark[45, 0] - mark[42, 0] < 32  # palpebral fissure
    assert 48 < mark[54, 0] - mark[48, 0] < 54  # mouth
    assert mark[30, 2] - mark[33, 2] > 12  # the tip stands before the base of the nose
    assert p[:, 1].min() < mark[8, 1] - 110


def test_texture_islands_stay_apart(face):
    t = face.topology
    assert t.uvs.min() >= 0 and t.uvs.max() <= 1
    boxes = np.array([(u, v, u + w, v + h) for u, v, w, h in ISLANDS.values()])
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert (one[:2] > other[2:]).any() or (other[:2] > one[2:]).any()
    assert boxes[:, 3].max() < SKIN_BOTTOM
    label = components(t)
    head = label == np.bincount(label).argmax()
    assert t.uvs[t.uv_faces[head]][..., 1].min() >= SKIN_BOTTOM - 1e-6
    assert t.uvs[t.uv_faces[~head]][..., 1].max() < SKIN_BOTTOM
    # no texel belongs to two triangles: random places lie in at most one
    a, b, c = (t.uvs[t.uv_faces[:, i]].astype(np.float64) for i in range(3))
    d1, d2 = b - a, c - a
    signed = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    for q in np.random.default_rng(0).uniform(size=(600, 2)):
        w1 = ((q - a)[:, 0] * d2[:, 1] - (q - a)[:, 1] * d2[:, 0]) / signed
        w2 = (d1[:, 0] * (q - a)[:, 1] - d1[:, 1] * (q - a)[:, 0]) / signed
        assert ((w1 > 1e-9) & (w2 > 1e-9) & (w1 + w2 < 1 - 1e-9)).sum() <= 1


def test_iris_centre_is_the_middle_of_its_island(face):
    t = face.topology
    for name, side in (("eye_left", 1), ("eye_right", -1)):
        u, v, w, h = ISLANDS[name]
        mine = (t.materials == EYE) & (t.template[t.faces[:, 0], 0] * side > 0)
        vertex, uv = t.faces[mine].ravel(), t.uvs[t.uv_faces[mine].ravel()]
        middle = np.linalg.norm(uv - [u + w / 2, v + h / 2], axis=1)
        apex = vertex[middle.argmin()]
        assert middle.min() < 1e-6 and t.template[apex, 2] == t.template[vertex, 2].max()
        offset = t.template[vertex] - t.template[apex]
        right_in_picture = offset[:, 0] > 4
        assert (uv[right_in_picture, 0] > u + w / 2).all()  # not mirrored: the painter sees what the camera sees
        assert (uv[offset[:, 1] > 4, 1] > v + h / 2).all()


def test_landmarks_sit_where_the_markup_says(face):
    t = face.topology
    m = t.template[t.landmarks].astype(np.float64)
    mirror = [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37,
        36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ]  # fmt: skip
    np.testing.assert_allclose(m, m[mirror] * [-1, 1, 1], atol=1e-3)
    assert (np.diff(m[:17, 0]) > 0).all() and (np.diff(m[:9, 1]) < 0).all()  # ear, chin, ear
    assert m[0, 0] < 0 and m[17, 0] < m[21, 0] < 0  # 0 and 17 are the subject's right
    assert (np.diff(m[27:31, 2]) > 0).all() and (np.diff(m[27:31, 1]) < 0).all()  # down the bridge to the tip
    assert (np.diff(m[31:36, 0]) > 0).all() and m[33, 1] < m[30, 1]
    assert m[22:27, 1].min() > m[42:48, 1].max() + 5  # brows above lids
    shell = procedural_surface.EYE_RADIUS
    distance = np.linalg.norm(m[42:48] - procedural_surface.EYE, axis=1)
    assert (np.abs(distance[[1, 2, 4, 5]] - shell) < 2.5).all()  # on the lids' edges, which lie on the ball
    assert (m[[43, 44], 1] > 3).all() and (m[[46, 47], 1] < -3).all() and m[42, 0] < m[43, 0] < m[44, 0] < m[45, 0]
    assert m[48, 0] == m[48:68, 0].min() and m[54, 0] == m[48:68, 0].max()
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        assert np.linalg.norm(m[upper] - m[lower]) < 0.2  # the lips touch
    assert (m[49:54, 1] > m[[59, 58, 57, 56, 55], 1] + 3).all()
