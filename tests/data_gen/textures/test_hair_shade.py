"""Hair shades the skin below it, and nothing that it is far from."""

import numpy as np
import pytest
import scipy.sparse

from data_gen.textures import HairMesh
from data_gen.textures.hair_shade import DARKEST, hair_shade


def curtain(height: float, scale: float) -> HairMesh:
    """Wisps over the half x < 0 of the plane z = 0, `height` mm above it, 1 mm apart."""
    x, y = np.arange(-60.0, 0.0), np.linspace(-60.0, 60.0, 9)
    points = np.stack(np.broadcast_arrays(x[:, None], y[None], height), -1)
    count, nodes = points.shape[:2]
    ones = np.ones(count, np.float32)
    return HairMesh(
        positions=(points * scale).astype(np.float32), normals=np.zeros_like(points), widths=ones,
        columns=np.zeros((count, 2)), light=ones, shine=ones, tone=ones, beard=np.zeros(count, bool),
        hangs=np.zeros((count, nodes), bool), binding=scipy.sparse.csr_array((count * nodes, 1)),
        texture=np.zeros((2, 2, 4), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_hair_shades_what_lies_below_it_and_fades_out_beside(scale):
    x = np.arange(-40.0, 60.0)
    points = np.stack([x, 0 * x, 0 * x], -1) * scale
    up = np.tile([0.0, 0.0, 1.0], (len(x), 1))
    shade = hair_shade(curtain(4.0, scale), points, up, scale)
    assert shade[x < -10].max() < DARKEST + 0.05
    assert (np.diff(shade[x >= -5]) >= -1e-3).all()
    np.testing.assert_array_equal(shade[x > 30], 1)
    below = hair_shade(curtain(-8.0, scale), points, up, scale)  # what lies behind skin shades it less
    assert (below[x < -10] > shade[x < -10] + 0.2).all()


def test_no_hair_no_shade():
    points, up = np.zeros((3, 3)), np.tile([0.0, 0.0, 1.0], (3, 1))
    np.testing.assert_array_equal(hair_shade(None, points, up, 1.0), 1)
    np.testing.assert_array_equal(hair_shade(curtain(4.0, 1.0), points + [500.0, 0, 0], up, 1.0), 1)
