"""Teeth, ears and nostrils of the procedural head."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from data_gen import scene
from data_gen.face_models import MATERIALS, procedural_surface
from data_gen.face_models.procedural import ProceduralFace
from tests.data_gen.face_models.measures import components, covered

SKIN = MATERIALS.index("skin")


@pytest.fixture(scope="module")
def face():
    return ProceduralFace()


@pytest.fixture(scope="module")
def people():
    return [scene.identity(3, i) for i in range(72)]  # every cell twice


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
    t = face.topology
    teeth = t.materials == MATERIALS.index("teeth")
    pieces = components(t)[teeth]
    crowns = [t.template[np.unique(t.faces[teeth][pieces == piece])] for piece in np.unique(pieces)]
    middle = sorted((c for c in crowns if np.abs(c[:, 0]).min() < 1), key=lambda c: c[:, 1].mean())
    lower, upper = np.concatenate(middle[:2]), np.concatenate(middle[2:])
    assert len(middle) == 4
    assert 1.5 < upper[:, 2].max() - lower[:, 2].max() < 4  # overjet
    assert 0.5 < lower[:, 1].max() - upper[:, 1].min() < 4  # overbite


def test_the_tongue_lies_behind_the_teeth_and_shows_over_the_lower_ones(face, people):
    """An open mouth seen from the height of the nose is no black hole."""
    tongue, teeth = part(face, "tongue"), part(face, "teeth", lambda p: np.abs(p[:, 0]) < 8)
    for person in people[:12]:
        rest, yawn = face.neutral(person).astype(np.float64), face.deform(person, {"jawOpen": 0.6}).astype(np.float64)
        low = teeth[(yawn - rest)[teeth, 1] < -5]  # mm: it goes with the jaw
        assert rest[tongue, 2].max() < rest[low, 2].max() - 2
        edge = yawn[low[yawn[low, 1].argmax()]]
        camera = yawn[face.topology.landmarks[30]] + [0, 0, 800]
        slope = (camera[1] - edge[1]) / (camera[2] - edge[2])
        over = yawn[tongue, 1] - edge[1] - slope * (yawn[tongue, 2] - edge[2])  # the sight line over the teeth
        assert over.max() > 8, person.id


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
