"""The procedural head's identities against anthropometry."""

import numpy as np
import pytest

from data_gen import scene
from data_gen.face_models import anthropometry
from data_gen.face_models.procedural import ProceduralFace
from data_gen.face_models.procedural_identity import PARAMETERS, measurements
from tests.data_gen.face_models.measures import eye_centers

BLINK = {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0}


@pytest.fixture(scope="module")
def face():
    return ProceduralFace()


@pytest.fixture(scope="module")
def people():
    return [scene.identity(3, i) for i in range(72)]  # every cell twice


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
