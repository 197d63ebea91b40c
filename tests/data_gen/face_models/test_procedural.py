"""The procedural head against anatomy and geometry."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from data_gen import rig, scene
from data_gen.face_models import MATERIALS, anthropometry, procedural_surface
from data_gen.face_models.procedural import ISLANDS, SKIN_BOTTOM, ProceduralFace
from data_gen.face_models.procedural_identity import PARAMETERS, measurements

SKIN, EYE = MATERIALS.index("skin"), MATERIALS.index("eye")
PAIN = {
    "AU4": (5, 0, 0, 0, 0, 0),
    "AU6": (0, 5, 0, 0, 0, 0),
    "AU7": (0, 0, 5, 0, 0, 0),
    "AU9": (0, 0, 0, 5, 0, 0),
    "AU10": (0, 0, 0, 0, 5, 0),
    "AU43": (0, 0, 0, 0, 0, 1),
}
BLINK = {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0}


@pytest.fixture(scope="module")
def face():
    return ProceduralFace()


@pytest.fixture(scope="module")
def people():
    return [scene.identity(3, i) for i in range(72)]  # every cell twice


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


@pytest.mark.parametrize("shapes", [{}, BLINK], ids=["open", "shut"])
def test_lids_close_on_everybody_and_open_on_everybody(face, people, shapes):
    t = face.topology
    used = np.unique(t.faces[t.materials == EYE])
    near = (t.materials == SKIN) & (np.abs(t.template[t.faces[:, 0]] - [0, 0, 72]) < [55, 25, 25]).all(1)
    for person in people[:50]:
        v = face.deform(person, shapes).astype(np.float64)
        centers = eye_centers(t, v)
        ball = v[used]
        towards = ball[:, 2] - centers[(ball[:, 0] > 0).astype(int), 2]
        seen = ball[(towards > 0.6 * procedural_surface.EYE_RADIUS)]
        hidden = covered(seen, v, t.faces[near])
        if shapes:
            assert hidden.all()
            for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
                gap = v[t.landmarks[upper]] - v[t.landmarks[lower]]
                assert np.linalg.norm(gap[1:]) < 0.5
        else:
            apex = ball[[ball[:, 2].argmax()]]
            assert not covered(apex, v, t.faces[near]).any()
            opening = v[t.landmarks[[43, 44]], 1].mean() - v[t.landmarks[[46, 47]], 1].mean()
            assert 5.5 < opening < 13


@pytest.mark.parametrize("aus", [(5, 5, 5, 5, 5, 0), (5, 5, 5, 5, 5, 1), (0, 5, 5, 0, 0, 0)], ids=str)
def test_no_skin_sinks_into_the_eyeball(face, people, aus):
    t = face.topology
    lids = np.unique(t.faces[t.materials == SKIN])
    rest = np.linalg.norm(
        t.template[lids] * np.where(t.template[lids, :1] > 0, 1, -1) ** [1, 0, 0] - procedural_surface.EYE, axis=1
    )
    outside = lids[rest > procedural_surface.EYE_RADIUS + 0.6]  # not the strips that hide under the lids
    for person in people[:12]:
        v = face.deform(person, rig.shape_weights(aus)).astype(np.float64)
        for center in eye_centers(t, v):
            assert np.linalg.norm(v[outside] - center, axis=1).min() > procedural_surface.EYE_RADIUS


@pytest.mark.parametrize("au", PAIN)
def test_each_pain_au_stays_in_its_region(face, people, au):
    t = face.topology
    x, y = np.abs(t.template[:, 0]), t.template[:, 1]
    orbit = ((x - 32) / 23) ** 2 + ((y + 1) / 19) ** 2 < 1
    region = {
        "AU4": (y > 6) & (y < 62) | (x < 14) & (y > -14) & (y < 62),  # brow, glabella, forehead, root of the nose
        "AU6": (y > -52) & (y < 12) & (x > 10),  # cheek, lower lid, beside the eye
        "AU7": orbit,
        "AU9": (x < 33) & (y > -68) & (y < 28),  # nose, medial cheek and brow, upper lip
        "AU10": (x < 37) & (y > -82) & (y < -33),  # upper lip, nasolabial fold, wings of the nose
        "AU43": orbit,
    }[au]
    person = people[5]
    moved = np.linalg.norm(face.deform(person, rig.shape_weights(PAIN[au])) - face.neutral(person), axis=1)
    seen = front_area(t) * moved
    assert seen[region].sum() > 0.85 * seen.sum()
    skin = np.unique(t.faces[t.materials == SKIN])
    assert 2.5 < moved[skin].max() < 10


@pytest.mark.parametrize("shape", [s for s in rig.SHAPES if s.endswith("_L")])
def test_left_shapes_move_the_left(face, people, shape):
    person = people[8]
    rest = face.neutral(person)
    for side, name in ((1, shape), (-1, shape[:-1] + "R")):
        moved = np.linalg.norm(face.deform(person, {name: 1.0}) - rest, axis=1)
        assert moved.max() > 1.5
        assert moved[face.topology.template[:, 0] * side < -10].max() < 0.05 * moved.max()


def test_shapes_pull_the_way_the_muscles_do(face, people):
    t, person = face.topology, people[9]
    rest = face.neutral(person)[t.landmarks]

    def move(*names):
        shapes = {f"{n}_{side}": 1.0 for n in names for side in "LR"} if names != ("jawOpen",) else {"jawOpen": 1.0}
        return face.deform(person, shapes)[t.landmarks] - rest

    brow = move("browDown")
    assert brow[[21, 22], 1].max() < -3 and brow[22, 0] < -1 < 1 < brow[21, 0]  # down and together
    squint = move("eyeSquint")
    opening = rest[[43, 44], 1].mean() - rest[[46, 47], 1].mean()
    narrowed = squint[[46, 47], 1].mean() - squint[[43, 44], 1].mean()
    assert 0.3 < narrowed / opening < 0.6 and squint[[46, 47], 1].min() > 0.5
    assert move("cheekSquint")[[46, 47], 1].min() > 0.3
    assert move("noseSneer")[[31, 35], 1].min() > 2
    lip = move("mouthUpperUp")
    assert 0.5 < lip[[49, 53], 1].max() < lip[[50, 51, 52], 1].min()  # the lip's middle third rises most (FACS, AU10)
    assert np.abs(lip[[56, 57, 58, 66], 1]).max() < 0.5 < lip[63, 1]
    assert move("mouthSmile")[[48, 54], 1].min() > 2
    jaw = move("jawOpen")
    assert jaw[[8, 57, 66], 1].max() < -15 and np.abs(jaw[[27, 33, 62, 45], 1]).max() < 0.5


def test_no_shapes_is_the_neutral_face(face, people):
    person = people[0]
    np.testing.assert_allclose(face.deform(person, {}), face.neutral(person), atol=1e-5)
    np.testing.assert_allclose(face.deform(person, dict.fromkeys(rig.SHAPES, 0.0)), face.neutral(person), atol=1e-5)


def test_expressions_pass_smoothly_through_half_weight(face, people):
    person = people[4]
    for name in rig.SHAPES:
        path = np.stack([face.deform(person, {name: w}) for w in np.linspace(0, 1, 5)])
        steps = np.linalg.norm(np.diff(path, axis=0), axis=-1).max(1)
        assert steps.max() < 2 * np.mean(steps) + 0.2


def test_unknown_shapes_and_weights_out_of_range_are_refused(face, people):
    with pytest.raises(KeyError, match="frown"):
        face.deform(people[0], {"frown": 1.0})
    with pytest.raises(ValueError, match="jawOpen has weight 1.5"):
        face.deform(people[0], {"jawOpen": 1.5})


def test_an_identity_is_a_pure_function_of_its_seed(face, people):
    again = ProceduralFace().neutral(scene.identity(3, 7))
    np.testing.assert_array_equal(face.neutral(people[7]), again)
    expressive = face.deform(people[7], BLINK)
    np.testing.assert_array_equal(face.neutral(people[7]), again)  # deforming leaves no trace
    assert not np.array_equal(expressive, again)


def test_identities_differ(face, people):
    faces = np.stack([face.neutral(p)[face.topology.landmarks] for p in people[:36]])
    apart = np.linalg.norm(faces[:, None] - faces[None], axis=-1).mean(-1)
    assert apart[~np.eye(36, dtype=bool)].min() > 1.0  # mm, on average over the landmarks


def test_measurements_follow_their_group(people):
    people = [scene.identity(11, i) for i in range(720)]
    drawn = {name: np.array([measurements(p)[name] for p in people]) for name in PARAMETERS}
    male = np.array([p.gender == 1 for p in people])
    african = np.array([scene.ETHNICITIES[p.ethnicity] == "african" for p in people])
    age = np.array([p.age for p in people])
    for name in ("jaw width", "brow ridge", "neck width", "lower face"):
        of_size = 0.01 * anthropometry.GENDER["head size"] * anthropometry.LENGTHS.get(name, 0.0)
        apart = drawn[name][male].mean() - drawn[name][~male].mean()
        np.testing.assert_allclose(apart, anthropometry.GENDER[name] - of_size, atol=0.3 * PARAMETERS[name])
    others = np.mean([anthropometry.ETHNIC[e].get("nose width", 0.0) for e in scene.ETHNICITIES if e != "african"])
    expected = anthropometry.ETHNIC["african"]["nose width"] - others
    np.testing.assert_allclose(
        drawn["nose width"][african].mean() - drawn["nose width"][~african].mean(), expected, atol=0.6
    )
    slope = np.polyfit(age, drawn["upper lip"], 1)[0] * 50
    assert slope < -0.8  # lips thin with age
    assert np.ptp(drawn["nose skew"]) <= 4 * PARAMETERS["nose skew"]  # two deviations either way


def test_measurements_reach_the_mesh(face, people):
    """What a parameter is called, the mesh shows: regress measured lengths on the drawn deviations."""
    t = face.topology
    faces = np.stack([face.neutral(p) for p in people]).astype(np.float64)
    marks = faces[:, t.landmarks]
    drawn = {name: np.array([measurements(p)[name] for p in people]) for name in PARAMETERS}
    size = 1 + drawn["head size"] / 100
    alar = np.abs(t.template - [14, -41, 90]).max(1) < 7
    measured = {
        "nose width": 2 * faces[:, alar, 0].max(1) / size,
        "mouth width": (marks[:, 54, 0] - marks[:, 48, 0]) / size,
        "nose length": (marks[:, 27, 1] - marks[:, 33, 1]) / size,
    }
    for name, length in measured.items():
        slope, correlation = np.polyfit(drawn[name], length, 1)[0], np.corrcoef(drawn[name], length)[0, 1]
        assert 0.5 < slope < 1.5 and correlation > 0.8, name
    pupils = np.array([np.ptp(eye_centers(t, v)[:, 0]) for v in faces[:36]])
    assert 60 < pupils.mean() < 67 and pupils.min() > 52 and pupils.max() < 74


def part(face, material, where=lambda p: np.ones(len(p), bool)):
    """Vertices of a material whose place on the template satisfies `where`."""
    t = face.topology
    used = np.unique(t.faces[t.materials == MATERIALS.index(material)])
    return used[where(t.template[used])]


def test_every_material_has_vertices_of_its_own(face):
    t = face.topology
    owned = [set(np.unique(t.faces[t.materials == m]).tolist()) for m in range(len(MATERIALS))]
    assert all(owned) and sum(map(len, owned)) == len(set().union(*owned)) == len(t.template)


def test_teeth_are_single_and_wait_behind_closed_lips(face, people):
    t = face.topology
    teeth = t.materials == MATERIALS.index("teeth")
    assert len(np.unique(components(t)[teeth])) == 24
    visible = np.concatenate([part(face, name, lambda p: p[:, 2] > 80) for name in ("teeth", "gums", "tongue")])
    skin = t.faces[t.materials == SKIN]
    near = skin[(np.abs(t.template[skin[:, 0]] - [0, -70, 90]) < [40, 35, 30]).all(1)]
    for person in people[:36]:
        v = face.neutral(person).astype(np.float64)
        assert covered(v[visible], v, near).all(), person.id


def test_upper_teeth_stand_before_the_lower_and_meet_them(face):
    p = face.topology.template
    upper = p[part(face, "teeth", lambda p: (np.abs(p[:, 0]) < 4) & (p[:, 1] > -71) & (p[:, 2] > 88))]
    lower = p[part(face, "teeth", lambda p: (np.abs(p[:, 0]) < 4) & (p[:, 1] < -68) & (p[:, 2] < 88.2))]
    assert 1.5 < upper[:, 2].max() - lower[:, 2].max() < 4  # overjet
    assert 0.5 < lower[:, 1].max() - upper[:, 1].min() < 4  # overbite


def test_ears_grow_out_of_the_head_and_meet_it_nowhere_else(face):
    """What of an ear lies inside the head is its base: the rim and all that shows stand free of the skull."""
    t = face.topology
    label = components(t)
    head = label == np.bincount(label).argmax()
    skull = np.unique(t.faces[head & (t.materials == SKIN)])
    side = skull[(t.template[skull, 0] > 45) & (np.abs(t.template[skull, 1] + 28) < 50)]
    tree = cKDTree(t.template[side][:, 1:])
    ear_label = label[~head & (t.materials == SKIN) & (t.template[t.faces[:, 0], 0] > 0)]
    assert len(np.unique(ear_label)) == 1
    ear = np.unique(t.faces[label == ear_label[0]])
    out = t.template[ear, 0] - t.template[side][tree.query(t.template[ear][:, 1:])[1], 0]
    assert out.max() > 8 and (out < 0).mean() < 0.45  # it stands off, and less than half of it is sunk in
    rim = ear[out > 4]
    assert np.ptp(t.template[rim, 1]) > 35  # mm of free helix and lobe: ears are 60 mm high


def test_nostrils_open_towards_the_front_from_below(face):
    p, mark = face.topology.template, face.topology.template[face.topology.landmarks]
    nose = np.unique(face.topology.faces[face.topology.materials == SKIN])
    near = nose[(np.abs(p[nose] - procedural_surface.NOSTRIL) < [5, 9, 9]).all(1)]
    assert p[near, 1].max() > mark[33, 1] + 6  # the pit runs up into the nose
    deep = near[p[near, 1] > mark[33, 1] + 5]
    assert p[deep, 2].min() < mark[30, 2] - 14


def test_lengths_of_people_are_those_of_adults(face):
    """Means by gender within 1.2 published deviations, single people within 4.5: Farkas (1994), Dodgson (2004)."""
    people = [scene.identity(5, i) for i in range(180)]
    marks = np.stack([face.neutral(p)[face.topology.landmarks] for p in people]).astype(np.float64)
    male = np.array([scene.GENDERS[p.gender] == "male" for p in people])

    def apart(a, b):
        return np.linalg.norm(marks[:, a].mean(1) - marks[:, b].mean(1), axis=1)

    for length, female_mean, male_mean, deviation in (
        (apart([36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47]), 62.0, 64.5, 3.6),
        (apart([27], [8]), 111.4, 121.0, 6.0),
        (apart([27], [33]), 49.5, 53.5, 3.4),
        (apart([48], [54]), 50.0, 53.5, 3.6),
        (apart([1], [15]), 130.0, 137.5, 5.5),
    ):
        for mine, mean in ((~male, female_mean), (male, male_mean)):
            assert abs(length[mine].mean() - mean) < 1.2 * deviation
            assert np.abs(length[mine] - mean).max() < 4.5 * deviation
        assert length[male].mean() > length[~male].mean() + 1


class _WithoutBlas(np.ndarray):
    """Refuses to be multiplied by BLAS, which rounds by the number of threads."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        assert ufunc is not np.matmul
        return getattr(ufunc, method)(*(np.asarray(x) for x in inputs), **keywords)


def test_identities_do_not_depend_on_the_number_of_threads(face, monkeypatch):
    identities, person = face._identities, scene.identity(0, 3)
    expected = identities._neutral(person)[0]
    monkeypatch.setattr(identities, "_modes", identities._modes.view(_WithoutBlas))
    np.testing.assert_array_equal(identities._neutral(person)[0], expected)
