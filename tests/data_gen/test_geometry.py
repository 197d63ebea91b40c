"""Expressions as geometry, on random people with random action units, for both face models.

How each thing is measured stands with its function. Lengths are millimetres.
"""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from data_gen import face_models, rig, scene
from data_gen.face_models import MATERIALS, correspondence
from painjax.pspi import AU_NAMES

DRAWS = 1000  # of each face model; the quick version takes QUICK
QUICK = 50
NEAREST = 24
CAMERAS = np.array([[np.sin(a), 0.0, np.cos(a)] for a in np.radians([-40, 0, 40])])
EYE_LANDMARKS = {"R": np.arange(36, 42), "L": np.arange(42, 48)}
LID_PAIRS = {"R": ((37, 41), (38, 40)), "L": ((43, 47), (44, 46))}


@pytest.fixture(scope="module", params=("procedural", "ict"))
def face(request):
    if request.param == "ict":
        return Face(request.getfixturevalue("ict"))
    return Face(face_models.load(request.param))


@dataclasses.dataclass(frozen=True)
class Draw:
    person: scene.Identity
    aus: tuple[float, ...]
    asymmetry: float
    others: dict[str, float]

    @property
    def weights(self):
        return rig.shape_weights(self.aus, self.asymmetry, self.others)


def draws(count):
    """Uniform intensities of the six, eyes closed in every second; in every third two to four other units act too."""
    for index in range(count):
        rng = scene.stream(index, "test_geometry")
        aus = [*rng.uniform(0, 5, 5) * (rng.random(5) < 0.8), float(index % 2)]
        names = rng.choice(rig.OTHER_AUS, rng.integers(2, 5), replace=False) if index % 3 == 0 else ()
        others = {str(name): float(rng.uniform(0, 5)) for name in names}
        yield Draw(scene.identity(17, index), tuple(aus), float(rng.uniform(-0.2, 0.2)), others)


class Face:
    """A face model with what the measurements need to know of its topology."""

    def __init__(self, model):
        self.model, t = model, model.topology
        self.marks = t.landmarks
        p = t.template.astype(np.float64)
        skin = t.faces[t.materials == MATERIALS.index("skin")]
        m = p[self.marks]
        normals = _normals(p, skin)
        middle = p[skin].mean(1)
        in_face = (middle[:, 1] > m[8, 1] - 5) & (middle[:, 2] > m[[0, 16], 2].max() + 15)
        self.visible = skin[in_face & ((normals @ CAMERAS.T).max(1) > 0.25)]
        self.skin = skin
        used = np.unique(self.visible)
        self.around = used[cKDTree(p[used]).query(p[self.visible].mean(1), NEAREST)[1]]
        balls = np.unique(t.faces[t.materials == MATERIALS.index("eye")])
        self.ball, self.lid_faces = {}, {}
        for side, sign in (("R", -1), ("L", 1)):
            ball = balls[np.sign(p[balls, 0]) == sign]
            self.ball[side] = ball
            self.lid_faces[side] = skin[(np.abs(middle - p[ball].mean(0)) < [24, 20, 30]).all(1)]
        self.lips = self._lips(p, skin)

    def _lips(self, p, skin):
        """(vertices, faces) of upper and lower lip between the corners: apart there, they are two pieces of mesh."""
        t, m = self.model.topology, p[self.marks]
        faces = np.concatenate([skin, t.faces[t.materials == MATERIALS.index("mouth")]])
        front = m[[60, 64], 2].mean()
        near = (p[:, 0] > m[60, 0] + 4) & (p[:, 0] < m[64, 0] - 4) & (p[:, 2] > front - 2)
        near &= (p[:, 1] < m[51, 1] + 3) & (p[:, 1] > m[57, 1] - 3)
        faces = faces[near[faces].all(1)]
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
        graph = scipy.sparse.coo_array((np.ones(len(edges)), edges.T), (len(p), len(p)))
        label = connected_components(graph, directed=False)[1]
        upper, lower = (label[self.marks[n]] for n in (51, 57))
        assert upper != lower and label[self.marks[62]] == upper and label[self.marks[66]] == lower
        return [faces[label[faces[:, 0]] == which] for which in (upper, lower)]

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def neutral(self, person):
        return self.model.neutral(person).astype(np.float64)

    def deform(self, draw):
        return self.model.deform(draw.person, draw.weights).astype(np.float64)


def _normals(p, faces):
    a, b, c = (p[faces[:, i]] for i in range(3))
    n = np.cross(b - a, c - a)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)


def broken_triangles(face, neutral, points):
    """(n,) bool over the triangles of the face that some camera sees at rest.

    The skin around each triangle is aligned rigidly to the skin there at rest (Kabsch over the `NEAREST` vertices), for
    a closing lid turns with its edge and all. A triangle is flipped if its normal has then turned by more than 90
    degrees; degenerate if its area has shrunk below a hundredth.
    """
    f = face.visible
    before, now = (np.cross(q[f[:, 1]] - q[f[:, 0]], q[f[:, 2]] - q[f[:, 0]]) for q in (neutral, points))
    area = np.linalg.norm(before, axis=1), np.linalg.norm(now, axis=1)
    broken = area[1] < 0.01 * area[0]
    turned = np.flatnonzero((before * now).sum(1) < np.cos(np.radians(40)) * area[0] * area[1])  # the rest is well
    a, b = (q[face.around[turned]] for q in (neutral, points))  # [n, NEAREST, 3]
    u, _, vt = np.linalg.svd(np.einsum("nki,nkj->nij", b - b.mean(1, keepdims=True), a - a.mean(1, keepdims=True)))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    broken[turned] |= (before[turned] * np.einsum("ni,nij->nj", now[turned], u @ vt)).sum(1) < 0
    return broken


def bare_eyeball(face, points, side):
    """Indices of eyeball vertices in the opening between the lids (50 by 40 degrees) that no lid lies in front of.

    Seen from the eyeball's centre: a vertex is covered if its ray meets a skin triangle further out. That asks more
    than any camera can see.
    """
    ball = points[face.ball[side]]
    centre, axis = _sphere(ball)
    ray = ball - centre
    radius = np.linalg.norm(ray, axis=1)
    chosen = (ray @ axis > np.cos(np.radians(50)) * radius) & (np.abs(ray[:, 1]) < np.sin(np.radians(40)) * radius)
    bare = np.flatnonzero(chosen)
    for triangles in (face.lid_faces[side], face.skin):  # most rays meet a lid, some only the nose
        corners = np.moveaxis(points[triangles] - centre, 1, 2)  # [F, 3, 3], a corner to the column
        corners = corners[np.abs(np.linalg.det(corners)) > 1e-6]
        weights = np.einsum("fij,nj->nfi", np.linalg.inv(corners), ray[bare])  # ray = sum of weights * corners
        total = weights.sum(-1)
        covered = (weights > -1e-3 * np.abs(total)[..., None]).all(-1) & (total > 0) & (total < 1)
        bare = bare[~covered.any(1)]
        if not len(bare):
            break
    return bare


def _sphere(ball):
    """Centre of an eyeball and the direction of its foremost vertex."""
    pole = ball[ball[:, 2].argmax()]
    sclera = ball[np.linalg.norm(ball - pole, axis=1) > 10]
    centre = np.linalg.lstsq(np.c_[2 * sclera, np.ones(len(sclera))], (sclera**2).sum(1), rcond=None)[0][:3]
    return centre, (pole - centre) / np.linalg.norm(pole - centre)


def aperture(face, points, side):
    """Distance between the lids at their midpoint: mean of the two landmark pairs beside it, in the frontal plane."""
    m = points[face.marks]
    return float(np.mean([m[upper, 1] - m[lower, 1] for upper, lower in LID_PAIRS[side]]))


def lip_depth(face, points):
    """How deep one lip sinks into the other.

    Each vertex of a lip is compared with the nearest of the points sampled on the other lip's triangles: behind the
    surface there it is inside, as deep as it is far from its tangent plane.
    """
    deepest = 0.0
    for mine, other in (face.lips, face.lips[::-1]):
        corners = points[other]
        mix = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]], float)
        samples = np.einsum("kc,fci->fki", mix / mix.sum(1, keepdims=True), corners)
        smooth = correspondence.normals(points, other)[other]  # area-weighted, so that no sliver turns the surface
        normal = np.einsum("kc,fci->fki", mix, smooth).reshape(-1, 3)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        tree = cKDTree(samples.reshape(-1, 3))
        p = points[np.unique(mine)]
        distance, nearest = tree.query(p)
        depth = -((p - samples.reshape(-1, 3)[nearest]) * normal[nearest]).sum(1)
        inside = (depth > 0) & (depth > 0.7 * distance)
        deepest = max(deepest, float(depth[inside].max(initial=0)))
    return deepest


def heights(*numbers):
    """Mean height of landmarks."""
    return lambda face, points: points[face.marks[list(numbers)], 1].mean()


# What a FACS coder looks at first, as a number that rises with the unit.
EVIDENCE = {
    "AU4": lambda face, points: -heights(20, 21, 22, 23)(face, points),
    "AU6": heights(40, 41, 46, 47),
    "AU7": lambda face, points: -aperture(face, points, "L") - aperture(face, points, "R"),
    "AU9": heights(31, 35),
    "AU10": heights(50, 51, 52),
    "AU43": lambda face, points: -aperture(face, points, "L") - aperture(face, points, "R"),
    "AU1": heights(21, 22),
    "AU2": heights(18, 25),
    "AU5": lambda face, points: aperture(face, points, "L") + aperture(face, points, "R"),
    "AU12": heights(48, 54),
    "AU15": lambda face, points: -heights(48, 54)(face, points),
    "AU17": heights(57, 58, 56),
    "AU20": lambda face, points: points[face.marks[54], 0] - points[face.marks[48], 0],
    "AU25": lambda face, points: heights(62)(face, points) - heights(66)(face, points),
    "AU26": lambda face, points: -heights(8, 57)(face, points),
    "AU27": lambda face, points: -heights(8, 57)(face, points),
}


def one_unit(name, level):
    """(six intensities, others) with a single unit acting."""
    aus = [level if unit == name else 0.0 for unit in AU_NAMES]
    return aus, ({} if name in AU_NAMES else {name: level})


def check_rises(face, draw, name):
    """Raising one unit of an expression never takes its evidence back, whatever else acts."""
    k, seen = AU_NAMES.index(name), []
    for level in (0, 1) if name == "AU43" else range(6):
        aus = [level if i == k else 0.0 if AU_NAMES[i] == "AU43" else x for i, x in enumerate(draw.aus)]
        seen.append(EVIDENCE[name](face, face.deform(dataclasses.replace(draw, aus=tuple(aus)))))
    assert (np.diff(seen) > -0.02).all() and seen[-1] - seen[0] > 0.2, (draw, np.diff(seen))


def check(face, count, worst_face=0.01):
    """`worst_face`: share of broken triangles in any one draw."""
    broken, worst, opening, depths, unlidded = 0.0, 0.0, [], [], []
    for index, draw in enumerate(draws(count)):
        check_rises(face, draw, AU_NAMES[index % len(AU_NAMES)])
        neutral, points = face.neutral(draw.person), face.deform(draw)
        share = broken_triangles(face, neutral, points).mean()
        broken, worst = broken + share / count, max(worst, share)
        depths += [lip_depth(face, neutral), lip_depth(face, points)]
        for side in "LR":
            if draw.aus[-1] == 1:
                opening.append(aperture(face, points, side))
                unlidded.append(len(bare_eyeball(face, points, side)))
            else:
                assert aperture(face, points, side) > 0.25 * aperture(face, neutral, side), draw
    assert broken < 0.001 and worst < worst_face
    assert max(opening) < 0.5
    assert sum(unlidded) == 0
    assert max(depths) < 1.0


def test_expressions_keep_the_surface_whole(face):
    check(face, QUICK)


@pytest.mark.slow
def test_expressions_keep_the_surface_whole_on_many(face):
    check(face, DRAWS)


def test_only_cheeks_and_lids_narrow_the_open_eye(face):
    """AU43 = 0 means open: brows, nose and mouth leave the lids where they are, AU6 and AU7 leave a third at least."""
    for index in range(20):
        person = scene.identity(17, index)
        rest = face.neutral(person)
        elsewhere = rig.shape_weights([5, 0, 0, 5, 5, 0], 0.1, {"AU1": 3, "AU12": 5, "AU26": 5})
        squint = rig.shape_weights([5, 5, 5, 5, 5, 0], 0.1)
        for side in "LR":
            full = aperture(face, rest, side)
            open_, narrow = (
                aperture(face, face.model.deform(person, weights).astype(np.float64), side) / full
                for weights in (elsewhere, squint)
            )
            assert 0.9 < open_ < 1.1 and 0.3 < narrow < 0.6, (index, side, open_, narrow)


def test_the_measurements_see_what_they_are_for(face):
    person = scene.identity(17, 3)
    rest = face.neutral(person)
    folded = rest.copy()
    folded[face.marks[30], 0] += 12  # the tip of the nose across its neighbours
    assert broken_triangles(face, rest, folded).any() and not broken_triangles(face, rest, rest).any()
    tilted = rest @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])
    assert not broken_triangles(face, rest, tilted).any()  # a head that turns is not broken
    assert len(bare_eyeball(face, rest, "L")) > 0 and aperture(face, rest, "L") > 4
    pressed = rest.copy()
    pressed[np.unique(face.lips[0]), 1] -= 3
    assert lip_depth(face, pressed) > 1.5


@pytest.mark.parametrize("name", EVIDENCE)
def test_landmarks_move_more_with_more_of_a_unit(face, name):
    levels = (0, 1) if name == "AU43" else np.linspace(0, 5, 11)
    for index in range(3):
        person = scene.identity(17, index)
        seen = [
            EVIDENCE[name](face, face.model.deform(person, rig.shape_weights(aus, 0.0, others)).astype(np.float64))
            for aus, others in (one_unit(name, level) for level in levels)
        ]
        assert (np.diff(seen) > 0).all(), (index, np.diff(seen))
        assert seen[-1] - seen[0] > 1.0  # mm


@pytest.mark.parametrize("name", AU_NAMES)
def test_more_of_a_unit_shows_among_other_units_too(face, name):
    for draw in draws(12):
        check_rises(face, draw, name)


@pytest.mark.parametrize("row", (*rig.TABLE, *rig.OTHERS), ids=lambda row: row.au)
def test_asymmetry_strengthens_the_subjects_left(face, row):
    """Motion of the visible face left (x > 0) and right of the midline; the identity's own asymmetry is divided out."""
    aus, others = one_unit(row.au, 1.0 if row.au == "AU43" else 4.0)
    used = np.unique(face.visible)
    left = face.model.topology.template[used, 0] > 1
    right = face.model.topology.template[used, 0] < -1
    for index in range(3):
        person = scene.identity(17, index)
        balance = []
        for asymmetry in (-0.2, 0.0, 0.2):
            points = face.model.deform(person, rig.shape_weights(aus, asymmetry, others))
            moved = np.linalg.norm(points - face.neutral(person), axis=1)[used]
            balance.append(moved[left].sum() / moved[right].sum())
        if row.lean:
            assert balance[0] < 0.97 * balance[1] and balance[2] > 1.03 * balance[1]
        else:
            assert balance[0] == balance[1] == balance[2]
