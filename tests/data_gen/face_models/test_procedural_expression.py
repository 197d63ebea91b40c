"""The procedural head's expressions against anatomy."""

import numpy as np
import pytest

from data_gen import rig, scene
from data_gen.face_models import MATERIALS, procedural_surface
from data_gen.face_models.procedural import ProceduralFace
from tests.data_gen.face_models.measures import covered, eye_centers, front_area

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
    with pytest.raises(ValueError, match="'frown' is unknown; expected one of browDown_L"):
        face.deform(people[0], {"frown": 1.0})
    with pytest.raises(ValueError, match="jawOpen has weight 1.5"):
        face.deform(people[0], {"jawOpen": 1.5})
