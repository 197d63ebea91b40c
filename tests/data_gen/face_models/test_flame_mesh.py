"""The chart that FLAME's skin unfolds into, and landmarks that become vertices, on any mesh."""

import numpy as np
import pytest

from data_gen.face_models import flame_chart, flame_marks
from data_gen.face_models.face_features import boundary_loops


def cap(rings=14, spokes=32, hole=False):
    """A dome that bulges out beyond its own border, so that no projection unfolds it."""
    theta = np.linspace(0.35 if hole else 0.0, 2.4, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    index = np.arange(rings * spokes).reshape(rings, spokes)
    if not hole:
        index[0] = 0
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    faces = faces[(np.diff(np.sort(faces, axis=1), axis=1) > 0).all(1)]
    used, faces = np.unique(faces, return_inverse=True)
    return points.reshape(-1, 3)[used], faces.reshape(-1, 3)


def areas(places, faces):
    a, b = places[faces[:, 1]] - places[faces[:, 0]], places[faces[:, 2]] - places[faces[:, 0]]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


@pytest.mark.parametrize("hole", [False, True])
def test_a_dome_unfolds_without_a_fold(hole):
    points, faces = cap(hole=hole)
    chart = flame_chart.unfold(points, faces, np.ones(len(points)))
    assert chart.min() >= 0 and chart.max() <= 1
    assert (areas(chart, faces) > 0).all()
    covered = areas(chart, faces).sum()
    for q in np.random.default_rng(0).uniform(size=(500, 2)):  # an independent look: no place lies in two triangles
        a, b, c = (chart[faces[:, k]] - q for k in range(3))
        sides = [u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] for u, v in ((a, b), (b, c), (c, a))]
        assert (np.min(sides, axis=0) > 0).sum() <= 1
    assert 0.6 < covered < 1.0


def test_important_places_get_more_texels():
    points, faces = cap()
    even = flame_chart.unfold(points, faces, np.ones(len(points)))
    top = points[:, 2] > 0.3
    favoured = flame_chart.unfold(points, faces, np.where(top, 1.0, 0.3))
    inside = top[faces].all(1)
    assert areas(favoured, faces[inside]).sum() > 1.3 * areas(even, faces[inside]).sum()


def test_up_is_up_in_the_chart():
    points, faces = cap()
    chart = flame_chart.unfold(points, faces, np.ones(len(points)))
    front = points[:, 2] > 0
    assert np.corrcoef(points[front, 1], chart[front, 1])[0, 1] > 0.9
    assert np.corrcoef(points[front, 0], chart[front, 0])[0, 1] > 0.9


def test_landmarks_become_vertices():
    points, faces = cap()
    rng = np.random.default_rng(0)
    triangles = np.concatenate([rng.integers(0, len(faces), 40), [5, 5, 5]])  # three in one triangle
    weights = rng.dirichlet(np.full(3, 4.0), len(triangles))
    mixed, split, marks = flame_marks.insert(len(points), faces, triangles, weights)
    wanted = np.einsum("nk,nkd->nd", weights, points[faces[triangles]])
    got = (mixed @ points)[marks]
    side = np.linalg.norm(points[faces[:, 0]] - points[faces[:, 1]], axis=1).max()
    assert np.linalg.norm(got - wanted, axis=1).max() < 0.16 * side
    assert np.median(np.linalg.norm(got - wanted, axis=1)) < 1e-9
    np.testing.assert_allclose(mixed.sum(1), 1)
    np.testing.assert_array_equal((mixed @ points)[: len(points)], points)
    assert len(boundary_loops(split)) == len(boundary_loops(faces)) == 1  # no seams where triangles were split

    def area(vertices, triangles):
        p = vertices[triangles]
        return np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) / 2

    assert area(mixed @ points, split).sum() == pytest.approx(area(points, faces).sum())
    assert area(mixed @ points, split).min() > 0


def test_a_place_at_a_corner_is_that_corner():
    points, faces = cap()
    mixed, split, marks = flame_marks.insert(len(points), faces, np.array([7]), np.array([[0.02, 0.95, 0.03]]))
    assert marks.tolist() == [faces[7, 1]] and mixed.shape == (len(points), len(points))
    assert len(split) == len(faces)
