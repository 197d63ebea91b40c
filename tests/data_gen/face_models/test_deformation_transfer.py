"""Deformation transfer against what it must be by its definition, and from ICT's head to the procedural one's own."""

import numpy as np
import pytest

from data_gen import rig, scene
from data_gen.face_models.correspondence import register, similarity
from data_gen.face_models.deformation_transfer import Transfer
from data_gen.face_models.face_features import Head, features
from data_gen.face_models.procedural import ProceduralFace
from painjax.pspi import AU_MAX, AU_NAMES
from tests.data_gen.face_models.test_correspondence import head_of, warped

PEOPLE = [scene.identity(0, index) for index in (1, 2, 3)]
NOTICEABLE = 1.5  # mm: a pixel and a half of a face in a frame of 224 pixels


def full(au: str) -> dict[str, float]:
    return rig.shape_weights([AU_MAX[k] if name == au else 0 for k, name in enumerate(AU_NAMES)])


@pytest.fixture(scope="module")
def face():
    return ProceduralFace()


@pytest.fixture(scope="module")
def head(face):
    return head_of(face.topology)


@pytest.fixture(scope="module")
def frown(face):
    """(V, 3) mm, brows down and lip up, smooth enough to hold on any head."""
    weights = {"browDown_L": 1.0, "browDown_R": 0.5, "mouthUpperUp_L": 1.0}
    return (face.deform(PEOPLE[0], weights) - face.neutral(PEOPLE[0])).astype(np.float64)


def test_onto_itself_it_is_the_identity(head, frown):
    transfer = Transfer(head.vertices, head.vertices, head.skin, head.vertices, head.skin)
    got = transfer(head.vertices + frown)
    used = np.unique(head.skin)
    assert np.linalg.norm(got - frown, axis=1)[used].max() < 0.1
    np.testing.assert_allclose(transfer(head.vertices), 0, atol=1e-9)


def test_a_shift_of_the_whole_source_shifts_the_whole_target(head):
    transfer = Transfer(head.vertices, head.vertices, head.skin, head.vertices, head.skin)
    used = np.unique(head.skin)
    shifted = transfer(head.vertices + [1.0, 2.0, -3.0])[used]
    np.testing.assert_allclose(shifted, np.broadcast_to([1.0, 2.0, -3.0], shifted.shape), atol=0.05)


def test_onto_a_turned_and_scaled_copy_the_motion_turns_and_scales(head, frown):
    """Through the alignment of `correspondence`, as a FLAME file in its own frame is treated."""
    angle = 0.3
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    copy = 1.3 * head.vertices @ turn.T + [10.0, 20.0, 30.0]
    align = similarity(copy, head.vertices)
    transfer = Transfer(head.vertices, head.vertices, head.skin, align.apply(copy), head.skin)
    got = align.inverse().turn(transfer(head.vertices + frown))
    used = np.unique(head.skin)
    assert np.linalg.norm(got - 1.3 * frown @ turn.T, axis=1)[used].max() < 0.13


def test_onto_a_bent_copy_the_motion_bends_with_it(head, frown):
    target = warped(head.vertices)
    transfer = Transfer(head.vertices, target, head.skin, target, head.skin)
    got = transfer(head.vertices + frown)
    step = 1e-4
    bent = (warped(head.vertices + step * frown) - target) / step  # the bend's derivative along the motion
    used = np.unique(head.skin)
    used = used[np.linalg.norm(frown[used], axis=1) > NOTICEABLE]
    assert np.linalg.norm(got - bent, axis=1)[used].mean() < 0.15 * np.linalg.norm(bent[used], axis=1).mean()


def test_what_has_no_counterpart_stays(head, frown):
    """A source that is only the face's front leaves the back of the target still."""
    front = head.skin[(head.vertices[head.skin, 2] > 30).all(1)]
    transfer = Transfer(head.vertices, head.vertices, front, head.vertices, head.skin)
    got = transfer(head.vertices + frown)
    back = np.unique(head.skin)[head.vertices[np.unique(head.skin), 2] < -20]
    assert np.abs(got[back]).max() < 0.2


@pytest.fixture(scope="module")
def from_ict(ict, head):
    """Weights -> (V, 3) mm on the procedural head, carried over from ICT's, aligned by geometry alone."""
    source = head_of(ict.topology)
    ours, theirs = features(source), features(head)
    names = [name for name in ours if name in theirs]
    start, end = np.stack([ours[name] for name in names]), np.stack([theirs[name] for name in names])
    align = similarity(end, start)
    target = Head(align.apply(head.vertices), head.skin, head.eyes)
    laid = register(source, target, start, align.apply(end))
    transfer = Transfer(source.vertices, laid, source.skin, target.vertices, target.skin)
    return lambda weights: align.inverse().turn(transfer(ict.average(weights)))


# Landmarks that one model moves in an action unit by more than twice as much as the other does: the inner rim of the
# upper lip, which AU9 draws along on the procedural head and hardly on ICT's, and the head of one brow, by 2.01.
UNLIKE = {"AU9": {21, 61, 62, 63}}


@pytest.mark.parametrize("au", AU_NAMES)
def test_action_units_from_ict_are_those_of_the_procedural_head(au, face, head, from_ict):
    """Two models made independently, landmark by landmark: one that moves noticeably goes the same way, one that moves
    at least half as far as the farthest goes as far within a factor of two.

    Landmarks that move less, at the rim of a muscle's reach, go 0.39 to 2.7 times as far: there the models' makers
    drew the rim elsewhere. Over all skin the lengths agree as a whole.
    """
    got = from_ict(full(au))
    own = np.mean([face.deform(p, full(au)).astype(np.float64) - face.neutral(p) for p in PEOPLE], axis=0)
    marks = face.topology.landmarks
    length, cosine, ratio = compared(own[marks], got[marks])
    moving = length > max(NOTICEABLE, 0.25 * length.max())
    assert moving.sum() >= 4 and cosine[moving].min() > 0.8
    strong = moving & (length > 0.5 * length.max())
    assert set(np.flatnonzero(strong & ((ratio < 0.5) | (ratio > 2.0)))) <= UNLIKE.get(au, set())
    assert ratio[moving].min() > 0.35 and ratio[moving].max() < 2.8

    skin = np.unique(head.skin)
    length, cosine, _ = compared(own[skin], got[skin])
    moving = length > max(NOTICEABLE, 0.25 * length.max())
    assert np.average(cosine[moving], weights=length[moving]) > 0.8
    assert 0.5 < np.linalg.norm(got[skin][moving]) / np.linalg.norm(own[skin][moving]) < 2.0


@pytest.mark.parametrize(
    ("shapes", "marks", "most"),
    [(("mouthSmile_L", "mouthSmile_R"), (48, 54), 1.6), (("mouthShrugLower",), (56, 57, 58), 2.0)],
)
def test_smiles_and_raised_chins_show_as_much_as_icts(face, from_ict, shapes, marks, most):
    """Corners of the mouth and lower lip, where AU12 and AU17 are seen."""
    weights = dict.fromkeys(shapes, 1.0)
    own = np.mean([face.deform(p, weights).astype(np.float64) - face.neutral(p) for p in PEOPLE], axis=0)
    seen = face.topology.landmarks[list(marks)]
    _, cosine, ratio = compared(own[seen], from_ict(weights)[seen])
    assert cosine.min() > 0.8 and 0.5 < ratio.min() and ratio.max() < most, (cosine, ratio)


def compared(own, got):
    """(n, 3) motions, mm -> (n,) lengths of the first, cosines between the two, and lengths of the second in those."""
    length, other = (np.maximum(np.linalg.norm(motion, axis=1), 1e-9) for motion in (own, got))
    return length, (own * got).sum(1) / (length * other), other / length


def test_sides_stay_sides(face, from_ict):
    x = face.topology.template[:, 0]
    for shape in ("browDown_L", "noseSneer_R", "eyeBlink_L", "mouthUpperUp_R"):
        moved = np.linalg.norm(from_ict({shape: 1.0}), axis=1)
        own_side = moved[(x > 0) == shape.endswith("L")].sum()
        assert own_side > 0.8 * moved.sum(), shape
