"""Lamps that stand still in the world, and exposure for the side that the camera sees."""

import numpy as np
import pytest

from data_gen import lighting, plan
from data_gen.camera import Camera
from data_gen.scene import Light, pack_seed


def camera(yaw=0.0):
    yaw = np.radians(yaw)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 2] = (np.cos(yaw), 0, -np.sin(yaw)), (np.sin(yaw), 0, np.cos(yaw))
    return Camera(pose, 24.0, 64)


def light(azimuth=40.0, **change):
    return Light(
        **{"key_azimuth": azimuth, "key_elevation": 20, "key": 1, "fill": 0.4, "ambient": 0.4, "kelvin": 5500} | change
    )


def test_the_key_stands_where_it_says_whichever_camera_looks():
    for yaw in (-40, 0, 40):
        key, fill, rim = lighting.rig(light(40), camera(yaw)).directions
        assert key[0] > 0 and key[1] == pytest.approx(np.sin(np.radians(20))) and key[2] > 0
        assert fill[0] < 0 and rim[2] < 0 and rim[0] < 0
        np.testing.assert_allclose(np.linalg.norm([key, fill, rim], axis=1), 1)


def test_both_sides_mirror():
    left, right = (lighting.rig(light(a), camera()) for a in (40, -40))
    np.testing.assert_allclose(left.directions * (-1, 1, 1), right.directions, atol=1e-12)
    np.testing.assert_allclose(left.colors, right.colors)


def sphere_light(rig, towards, count=4000):
    """Mean light on the half of a ball that faces the camera, added up over points of its disc."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(-1, 1, (count, 2))
    xy = xy[(xy**2).sum(1) < 1]
    z = np.sqrt(1 - (xy**2).sum(1))
    right = np.cross((0, 1, 0), towards)
    normals = xy[:, :1] * right + xy[:, 1:] * np.cross(towards, right) + z[:, None] * towards
    lit = np.maximum(normals @ rig.directions.T, 0) @ rig.colors
    up = 0.5 + 0.5 * normals[:, 1:2]
    return ((lit + up * rig.above + (1 - up) * rig.below) @ lighting.LUMINANCE).mean()


@pytest.mark.parametrize("yaw", [-40, 0, 40])
def test_no_face_is_under_or_overexposed(yaw):
    levels = []
    for index in range(60):
        rig = lighting.rig(plan.scene(pack_seed(0, index)).light, camera(yaw))
        levels.append(sphere_light(rig, camera(yaw).pose[:3, 2]))
    assert lighting.MEAN_LIGHT / 1.35 < min(levels) and max(levels) < 1.35 * lighting.MEAN_LIGHT


def test_warm_lamps_are_warm_and_daylight_is_white():
    warm, white, cool = (lighting.color_of(k) for k in (2900, 5500, 8000))
    np.testing.assert_allclose(white, 1)
    assert warm[0] > 1 > warm[2] and cool[0] < 1 < cool[2]
