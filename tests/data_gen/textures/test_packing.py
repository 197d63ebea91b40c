"""8-bit pictures of textures against the formulas they stand for."""

import numpy as np
import pytest

from data_gen.face_models import Topology
from data_gen.textures import packing
from data_gen.textures.atlas import Atlas, bake
from data_gen.textures.folds import Patch
from data_gen.textures.wrinkles import Relief


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """100 x 100 mm over the whole atlas of 64 texels: 0.64 texels per mm."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    template = np.concatenate([100 * corners, np.zeros((4, 1), np.float32)], 1)
    return bake(Topology(faces, corners, faces, np.zeros(2, np.int8), np.zeros(68, np.int32), template), 64)


def test_albedo_is_srgb(atlas):
    """Against the standard's formula, to one step of 8 bits, over all of 0..1 and beyond."""
    values = np.linspace(-0.1, 1.1, len(atlas.positions), dtype=np.float32)
    color = np.stack([values, values[::-1], np.roll(values, 7)], -1)
    rgb, roughness = packing.albedo(atlas, color, values)
    linear = np.clip(atlas.image(color), 0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert rgb.dtype == np.uint8 and np.abs(rgb - expected).max() < 1.0
    assert np.abs(roughness - np.clip(atlas.image(values), 0, 1) * 255).max() <= 0.51


def test_every_8_bit_value_can_be_painted(atlas):
    srgb = np.arange(256) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    color = np.zeros((len(atlas.positions), 3), np.float32)
    color[:256] = linear[:, None]
    assert set(packing.albedo(atlas, color, color[:, 0])[0].ravel()) == set(range(256))


def test_normals_lean_away_from_the_rise(atlas):
    """A plane rising 0.3 mm per mm along u and falling 0.5 along v leans -0.3 and +0.5 everywhere inside."""
    height = (0.3 * atlas.positions[:, 0] - 0.5 * atlas.positions[:, 1]).astype(np.float32)
    packed = packing.surface(atlas, height, np.ones(len(height), np.float32))[1:-1, 1:-1]
    np.testing.assert_allclose(packed[..., 0] / 127.5 - 1, -0.3, atol=0.01)
    np.testing.assert_allclose(packed[..., 1] / 127.5 - 1, 0.5, atol=0.01)
    assert (packed[..., 2] == 255).all()


def test_wrinkle_map_holds_each_layer_where_it_belongs(atlas):
    """Left half: a glabella, of the first layer; right half: a forehead, of the second, with another slope."""
    x, y, _ = atlas.positions.T
    ones = np.ones(len(x), np.float32)
    folds = {}
    for name, mine in (("glabella", (x < 48) & (y > 20)), ("forehead", (x > 52) & (y > 20))):
        index = np.flatnonzero(mine)
        folds[name, 0] = Patch(index, ones[index], ones[index], ones[index])
    relief = Relief(np.stack([0.2 * x, -0.4 * x]).astype(np.float32), np.stack([0.4 * ones, 0 * ones]))
    frame = packing.WrinkleFrame.of(atlas, folds)
    packed = packing.wrinkles(atlas, frame, relief)
    left, right, below = packed[10, 10], packed[10, 54], packed[60, 30]
    np.testing.assert_allclose(left[:2] / 127.5 - 1, [-0.2, 0], atol=0.01)
    np.testing.assert_allclose(right[:2] / 127.5 - 1, [0.4, 0], atol=0.01)
    assert left[3] == 0 and right[3] == 255
    assert left[2] == pytest.approx(0.5 * 0.4 * 255, abs=1)
    np.testing.assert_array_equal(below, [128, 128, 0, 0])  # flat: outside every fold
