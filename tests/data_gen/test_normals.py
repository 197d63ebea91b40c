"""Normals of poses, against a sphere and a sum by hand."""

import numpy as np
import trimesh

from data_gen.normals import VertexNormals


def test_those_of_a_sphere_point_away_from_its_middle():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=7.0)
    found = VertexNormals(ball.faces, len(ball.vertices))(np.asarray(ball.vertices + [1.0, 2.0, 3.0]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * ball.vertices / 7.0).sum(1).min() > np.cos(np.radians(1.5))  # edges turn by 9 degrees each


def test_triangles_count_by_their_area_and_a_vertex_of_none_has_no_normal():
    faces = np.array([[0, 1, 2], [0, 3, 1]])  # in the planes z = 0 and y = 0, the second twice as large
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [9, 9, 9]], np.float32)
    found = VertexNormals(faces, 5)(vertices)
    np.testing.assert_allclose(found[0], np.array([0, 2, 1]) / np.sqrt(5), atol=1e-6)
    np.testing.assert_allclose(found[2:4], [[0, 0, 1], [0, 1, 0]], atol=1e-6)
    assert (found[4] == 0).all()
