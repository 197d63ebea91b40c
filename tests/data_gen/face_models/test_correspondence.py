"""Features of a face by its geometry, and one head laid onto another, where the truth is known."""

import dataclasses

import numpy as np
import pytest

from data_gen.face_models import MATERIALS
from data_gen.face_models.correspondence import Similarity, Surface, normals, register, similarity
from data_gen.face_models.face_features import Head, boundary_loops, features
from data_gen.face_models.procedural import ProceduralFace


def head_of(topology) -> Head:
    skin, eyes = (topology.faces[topology.materials == MATERIALS.index(name)] for name in ("skin", "eye"))
    return Head(topology.template.astype(np.float64), skin, eyes)


@pytest.fixture(scope="module")
def topology():
    return ProceduralFace().topology


@pytest.fixture(scope="module")
def head(topology):
    return head_of(topology)


def warped(points: np.ndarray) -> np.ndarray:
    """A smooth bend of some millimetres: another face with the same parts."""
    x, y, z = (points / [60.0, 80.0, 60.0]).T
    bend = np.stack([3.0 * np.sin(x) * np.cos(0.8 * y), 4.0 * np.sin(1.1 * y + 0.5), 3.0 * np.cos(x) * np.sin(y)], -1)
    return points * [1.04, 0.97, 1.02] + bend


CARUNCLE = 5.0  # mm: an adult's, which on this head is skin and hides the eyeball beside the inner corner


def test_features_are_the_models_own_landmarks(head, topology):
    found, marks = features(head), topology.template[topology.landmarks].astype(np.float64)
    for name, number, within in (
        ("nose tip", 30, 5.0), ("stomion", 62, 1.5), ("right lid 0", 36, 4.0), ("left lid 8", 45, 4.0),
        ("nasion", 27, 8.0),
    ):  # fmt: skip
        assert np.linalg.norm((found[name] - marks[number])[:2]) < within, name
    for name, number, outward in (("right lid 8", 39, -1), ("left lid 0", 42, 1)):
        aside, up = (found[name] - marks[number])[:2]
        assert 0 <= aside * outward < CARUNCLE and abs(up) < 1.5, name
    assert np.linalg.norm(found["mouth left"] - marks[54]) < 5 and np.linalg.norm(found["mouth right"] - marks[48]) < 5
    down = [found[name][1] for name in ("nasion", "nose tip", "subnasale", "upper lip", "stomion", "lower lip", "chin")]
    assert all(np.diff(down) < 0)


def test_lids_are_found_on_a_scanned_head(ict):
    found, marks = features(head_of(ict.topology)), ict.topology.template[ict.topology.landmarks].astype(np.float64)
    for name, number in (("right lid 0", 36), ("right lid 8", 39), ("left lid 0", 42), ("left lid 8", 45)):
        assert np.linalg.norm((found[name] - marks[number])[:2]) < 4.0, name


def test_features_move_with_the_face(head):
    other = dataclasses.replace(head, vertices=warped(head.vertices))
    before, after = features(head), features(other)
    assert set(before) == set(after)
    for name, place in before.items():
        assert np.linalg.norm(after[name] - warped(place[None])[0]) < 2.0, name


def test_closed_eyes_and_a_turned_head_are_refused(head):
    with pytest.raises(ValueError, match="0 eye openings are seen from the front; expected 2"):
        features(dataclasses.replace(head, vertices=head.vertices * [-1, 1, -1]))


def test_borders_are_found_in_order():
    faces = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    (loop,) = boundary_loops(faces)
    start = loop.tolist().index(0)
    assert np.roll(loop, -start).tolist() == [0, 1, 2, 3]


def test_similarity_is_found_back():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    truth = Similarity(1.7, rotation, np.array([3.0, -2.0, 5.0]))
    found = similarity(points, truth.apply(points))
    assert found.scale == pytest.approx(1.7)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.inverse().apply(truth.apply(points)), points, atol=1e-12)
    mirrored = similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)  # never a reflection


def test_a_head_laid_onto_its_own_bent_copy_finds_its_places_back(head, topology):
    other = dataclasses.replace(head, vertices=warped(head.vertices))
    ours, theirs = features(head), features(other)
    start, end = np.stack(list(ours.values())), np.stack([theirs[name] for name in ours])
    align = similarity(end, start)
    aligned = dataclasses.replace(other, vertices=align.apply(other.vertices))
    laid = register(head, aligned, start, align.apply(end))
    used = np.unique(head.skin)
    face = used[(head.vertices[used, 2] > 40) & (head.vertices[used, 1] > -110)]
    error = np.linalg.norm(laid - aligned.vertices, axis=1)
    assert np.median(error[face]) < 1.0 and np.quantile(error[face], 0.95) < 3.0
    before = np.linalg.norm(head.vertices - aligned.vertices, axis=1)
    assert np.median(error[face]) < 0.4 * np.median(before[face])
    surface = Surface(aligned.vertices, aligned.skin)
    place, known = surface.counterparts(laid[used], normals(laid, head.skin)[used])
    assert np.linalg.norm(place - laid[used], axis=1)[known > 0].mean() < 0.3  # it lies on the other's surface


def test_places_on_a_surface_are_located(head):
    surface = Surface(head.vertices, head.skin)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(head.skin), 200, replace=False)
    weights = rng.dirichlet(np.ones(3), 200)
    points = np.einsum("nk,nkd->nd", weights, head.vertices[head.skin[chosen]])
    directions = normals(head.vertices, head.skin)[head.skin[chosen]].mean(1)
    face, found, known = surface.locate(points, directions)
    assert known.mean() > 0.97
    np.testing.assert_allclose(found.sum(1), 1)
    again = np.einsum("nk,nkd->nd", found, head.vertices[head.skin[face]])
    assert np.median(np.linalg.norm(again - points, axis=1)) < 1e-9
    assert np.quantile(np.linalg.norm(again - points, axis=1), 0.98) < 1.0  # a sliver's neighbour may be nearer
