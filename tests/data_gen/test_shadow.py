"""The shadow map's projection and its stand-in for the skin, against plain geometry."""

import numpy as np
import pytest

from data_gen import face_models, shadow
from data_gen.face_models import MATERIALS


@pytest.fixture(scope="module")
def topology():
    return face_models.load("procedural").topology


@pytest.mark.parametrize("towards", [(0.0, 0.0, 1.0), (0.6, 0.48, 0.64), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)])
def test_the_whole_head_fits_and_depth_grows_away_from_the_light(topology, towards):
    towards, points = np.array(towards), topology.template.astype(np.float64)
    matrix = shadow.world_to_clip(towards, *shadow.ball(topology.template))
    clip = points @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(clip).max() < 1
    nearer = (points + 10 * towards) @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(nearer[:, :2], clip[:, :2], atol=1e-9)  # a point's way to the light is one texel
    assert (nearer[:, 2] < clip[:, 2]).all()
    assert np.linalg.det(matrix[:3, :3]) < 0  # right-handed world, left-handed clip space: front faces stay in front


def test_casters_are_few_and_lie_on_the_skin(topology):
    casters = shadow.casters(topology)
    skin = topology.faces[topology.materials == MATERIALS.index("skin")]
    assert 100 < len(casters) < 0.7 * len(skin)
    assert np.isin(casters, skin).all()
    assert (np.diff(np.sort(casters, axis=1), axis=1) > 0).all()
    a, b, c = (topology.template[casters[:, i]] for i in range(3))
    facing = np.cross(b - a, c - a)
    center = topology.template[np.unique(skin)].mean(0)
    outward = (facing * ((a + b + c) / 3 - center)).sum(1)
    assert (outward > 0).mean() > 0.8  # a head is nearly star-shaped: its triangles keep their outside
