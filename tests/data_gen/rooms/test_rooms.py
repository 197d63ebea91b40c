"""Surroundings: one place around the head, seen along each camera's own directions."""

import dataclasses

import numpy as np
import pytest

from data_gen import camera, rooms
from data_gen.rooms import stage
from data_gen.scene import Room, View
from data_gen.sessions import ROOMS


def room(kind="office", **change):
    return dataclasses.replace(Room(kind, turn=30.0, brightness=0.6, kelvin=5500.0, blur=2.2), **change)


def view(yaw=0.0, pitch=0.0, fov=24.0, roll=0.0):
    return View(0, yaw, pitch, fov, 0.8, roll)


def beacon(azimuth, elevation):
    """Surroundings that are dark but for a spot in one direction."""
    light = np.zeros((int(2 * stage.ELEVATION * stage.DENSITY), int(2 * stage.AZIMUTH * stage.DENSITY), 3), np.float32)
    row = (stage.ELEVATION - elevation) * stage.DENSITY
    column = (azimuth + stage.AZIMUTH) * stage.DENSITY
    light[int(row) - 2 : int(row) + 2, int(column) - 2 : int(column) + 2] = 1
    return rooms.Panorama(light)


@pytest.mark.parametrize(
    ("yaw", "pitch", "azimuth", "elevation"),
    [(0, 0, 0, 0), (0, 0, 8, 5), (40, 0, -40, 0), (-40, 0, 34, -6), (40, 7, -45, 2), (-38, -7, 31, 3)],
)
def test_a_point_of_the_room_lies_where_the_camera_projects_it(yaw, pitch, azimuth, elevation):
    """A far point in that direction, through the pinhole camera that draws the head."""
    looking, size = view(yaw, pitch), 200
    picture = rooms.behind(beacon(azimuth, elevation), looking, size).astype(float).sum(-1)
    y, x = np.indices((size, size)) + 0.5
    found = np.array([(picture * x).sum(), (picture * y).sum()]) / picture.sum()

    face = np.zeros((68, 3))
    face[17:27, 1], face[8, 1] = 60, -60  # brow and chin are all that a camera aims by
    lens = camera.aim(looking, face, size)
    a, e = np.radians([azimuth, elevation])
    far = 1e7 * np.array([np.sin(a) * np.cos(e), np.sin(e), -np.cos(a) * np.cos(e)])
    expected, _ = camera.project(lens, far[None])
    np.testing.assert_allclose(found, expected[0], atol=2)


def test_neighbouring_views_show_the_same_wall():
    """What is right of the middle in one view is left of it in a view turned to the right."""
    surroundings = rooms.panorama(5, room())
    a, b = (rooms.behind(surroundings, view(yaw), 200).astype(int) for yaw in (0.0, -6.0))
    shift = round(6 / 24 * 200)
    assert np.abs(a[:, shift + 10 : -10] - b[:, 10 : -shift - 10]).mean() < 4
    assert np.abs(a - b).mean() > 4


def test_the_room_stays_upright_when_the_head_leans():
    surroundings = rooms.panorama(5, room())
    np.testing.assert_array_equal(
        rooms.behind(surroundings, view(), 64), rooms.behind(surroundings, view(roll=6.0), 64)
    )


@pytest.mark.parametrize("kind", ROOMS)
def test_rooms_are_places_not_plains(kind):
    """Seen from all sides there are things in it; nothing is sharp; the same seed gives the same room."""
    for seed in range(3):
        first = rooms.panorama(seed, room(kind))
        np.testing.assert_array_equal(first.light, rooms.panorama(seed, room(kind)).light)
        assert np.isfinite(first.light).all() and first.light.min() > -1e-4
        pictures = np.stack([rooms.behind(first, view(yaw), 96) for yaw in (-40, 0, 40)]).astype(float)
        assert pictures.std() > 6
        assert np.quantile(np.abs(np.diff(pictures, axis=2)), 0.99) < 30
        assert np.abs(first.light - rooms.panorama(seed + 50, room(kind)).light).mean() > 0.02


@pytest.mark.parametrize("kind", ROOMS)
def test_brightness_and_warmth_are_those_of_the_session(kind):
    dim, light = (np.median(rooms.panorama(1, room(kind, brightness=b)).light) for b in (0.2, 0.8))
    assert light > 1.8 * dim
    warm, cool = (rooms.panorama(1, room(kind, kelvin=k)).light.mean((0, 1)) for k in (2900, 7500))
    assert warm[0] / warm[2] > 1.15 * cool[0] / cool[2]


def test_all_cameras_stay_on_the_panorama():
    """The corner of the widest, most turned picture."""
    from data_gen import views

    half = np.tan(np.radians(views.FOV[1] / 2))
    yaw, pitch = np.radians([40 + views.YAW_JITTER, views.PITCH_JITTER])
    corner = np.array([half, -half * np.cos(pitch) - np.sin(pitch), np.cos(pitch) - half * np.sin(pitch)])
    azimuth = np.degrees(np.arctan2(corner[0], corner[2]) + yaw)
    elevation = np.degrees(np.arctan2(-corner[1], np.hypot(corner[0], corner[2])))
    assert azimuth <= stage.AZIMUTH and elevation <= stage.ELEVATION


def test_every_room_of_a_session_can_be_painted():
    assert set(rooms.PAINTERS) == set(ROOMS)


def test_an_unknown_room_is_refused():
    with pytest.raises(ValueError, match="room is 'dungeon'; expected one of hospital_room"):
        rooms.panorama(0, room("dungeon"))
