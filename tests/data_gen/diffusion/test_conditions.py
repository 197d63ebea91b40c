"""What ControlNets are shown agrees with the geometry of the scene."""

import numpy as np
import pytest

from data_gen.diffusion import conditions
from data_gen.diffusion.config import ControlConfig, DiffusionConfig

SIZE, FOV = 128, 20.0
RADIUS, DISTANCE = 80.0, 800.0  # mm, of a ball before the camera


@pytest.fixture(scope="module")
def ball():
    """(depth, normals in the camera's frame: x right, y up, z towards it) of each pixel."""
    along = ((np.arange(SIZE) + 0.5) * 2 / SIZE - 1) * np.tan(np.radians(FOV) / 2)
    ray = np.stack(np.broadcast_arrays(along[None], -along[:, None], -1.0), -1)
    middle = np.array([0, 0, -DISTANCE])
    a, b = (ray**2).sum(-1), ray @ middle
    root = b**2 - a * (DISTANCE**2 - RADIUS**2)
    t = np.where(root >= 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    hit = np.isfinite(t)
    points = ray * np.where(hit, t, 0)[..., None]
    return np.where(hit, t, np.inf).astype(np.float32), np.where(hit[..., None], (points - middle) / RADIUS, 0)


def test_normals_are_those_of_the_surface(ball):
    """Blue is front, red is left, green is top."""
    depth, normals = ball
    drawn = conditions.normal_picture(depth, FOV).astype(float) / 127.5 - 1
    inside = normals[..., 2] > 0.5  # not at the outline, where pixels are too coarse
    angle = np.degrees(np.arccos(np.clip((drawn * [-1, 1, 1] * normals).sum(-1)[inside], -1, 1)))
    assert angle.mean() < 2 and np.percentile(angle, 99) < 6
    assert (drawn[np.isinf(depth)] == -1).all()
    red, green, blue = conditions.normal_picture(depth, FOV)[SIZE // 2, SIZE // 2 - 25].astype(int)
    assert red > 150 and abs(green - 128) < 8 and blue > 150
    assert conditions.normal_picture(depth, FOV)[SIZE // 2 - 25, SIZE // 2, 1] > 150


def test_near_is_white_and_the_background_black(ball):
    depth, _ = ball
    drawn = conditions.depth_picture(depth)
    assert drawn.flat[depth.argmin()] == drawn.max() == 255
    head = np.isfinite(depth)
    assert (drawn[~head] == 0).all() and drawn[head].min() == round(255 * conditions.BACK)
    assert not conditions.depth_picture(np.full((8, 8), np.inf, np.float32)).any()


def test_landmarks_are_dots_where_they_are():
    drawn = conditions.landmark_picture(np.array([[20.5, 40.5], [100.0, 10.0]]), SIZE)
    rows, columns = np.nonzero(drawn[..., 0])
    first = columns < 60
    assert abs(columns[first].mean() + 0.5 - 20.5) < 0.6 and abs(rows[first].mean() + 0.5 - 40.5) < 0.6
    assert abs(columns[~first].mean() + 0.5 - 100) < 0.6 and abs(rows[~first].mean() + 0.5 - 10) < 0.6
    assert not conditions.landmark_picture(np.zeros((0, 2)), SIZE).any()


def test_each_controlnet_has_its_picture_in_order(ball):
    depth, _ = ball
    more = (ControlConfig("landmarks", "a/b"), ControlConfig("normal", "c/d"))
    points = np.array([[20.5, 40.5]])
    first, second, third = conditions.draw(DiffusionConfig("e/f", "g/h", more_controls=more), depth, FOV, points)
    np.testing.assert_array_equal(first, conditions.depth_picture(depth))
    np.testing.assert_array_equal(second, conditions.landmark_picture(points, SIZE))
    np.testing.assert_array_equal(third, conditions.normal_picture(depth, FOV))
