import numpy as np
import pytest

from data_gen import face_models
from data_gen.face_models import Topology
from data_gen.textures.atlas import bake


def square() -> Topology:
    """100 x 50 mm in the plane z = 5, over the lower left quarter of the atlas."""
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    template = np.array([[0, 0, 5], [100, 0, 5], [100, 50, 5], [0, 50, 5]], np.float32)
    uvs = np.array([[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]], np.float32)
    return Topology(faces, uvs, faces, np.array([0, 2], np.int8), np.zeros(68, np.int32), template)


def test_texels_know_their_place():
    """By hand: texel (row, column) of 16 has its centre at u = (column + .5) / 16, v = 1 - (row + .5) / 16."""
    atlas = bake(square(), 16)
    assert len(atlas.positions) == 64
    image = atlas.image(atlas.positions)
    row, column = 12, 3
    np.testing.assert_allclose(image[row, column], [3.5 / 8 * 100, 3.5 / 8 * 50, 5], rtol=1e-5)
    np.testing.assert_allclose(atlas.normals, np.tile([0, 0, 1], (64, 1)), atol=1e-6)
    np.testing.assert_allclose(atlas.texels_per_mm, np.sqrt(8 / 100 * 8 / 50), rtol=1e-5)


def test_gutters_take_the_nearest_texel():
    atlas = bake(square(), 16)
    image = atlas.image(atlas.positions)
    np.testing.assert_array_equal(image[0, 0], image[8, 0])
    np.testing.assert_array_equal(image[15, 15], image[15, 7])


@pytest.mark.parametrize("size", [128, 512])
def test_every_material_has_texels(size):
    topology = face_models.load("procedural").topology
    atlas = bake(topology, size)
    assert set(np.unique(atlas.materials)) == set(np.unique(topology.materials))
    low, high = topology.template.min(0) - 1e-3, topology.template.max(0) + 1e-3
    assert ((atlas.positions >= low) & (atlas.positions <= high)).all()
