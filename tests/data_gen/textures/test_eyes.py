"""Eyes and mouth as painted: truths of a photograph, on both the size and the colour of things."""

import dataclasses

import numpy as np
import pytest

from data_gen import face_models, scene
from data_gen.face_models import MATERIALS
from data_gen.scene import ETHNICITIES, Identity
from data_gen.textures import mouth
from data_gen.textures.eyes import IRIS_CHANCES, IRIS_COLORS, IRIS_MM, PUPIL_MM, eyes
from data_gen.textures.procedural import canvas

SIZE = 512


@pytest.fixture(scope="module")
def board():
    return canvas(face_models.load("procedural").topology, SIZE)


def person(seed: int, ethnicity: str = "european", age: float = 30.0) -> Identity:
    return Identity(0, seed, 0, 0, ETHNICITIES.index(ethnicity), age)


def texels(board, material: str) -> np.ndarray:
    return board.texels.points[board.atlas.materials == MATERIALS.index(material)]


def left_eye(board) -> tuple[np.ndarray, np.ndarray]:
    """Points of eyeballs, and mm of each from the pole of the left one; far for the right."""
    points = texels(board, "eye")
    left = points[:, 0] > 0
    pole = points[left][points[left, 2].argmax()]
    return points, np.where(left & (points[:, 2] > pole[2] - 6), np.hypot(*(points - pole)[:, :2].T), 99.0)


def test_pupil_iris_and_sclera_grow_lighter_outwards(board):
    points, radius = left_eye(board)
    for seed in range(6):
        rgb, roughness = eyes(person(seed), points, board.texels)
        assert np.isfinite(rgb).all() and (rgb >= 0).all() and (rgb < 0.8).all()
        light = rgb.mean(1)
        pupil, iris, limbus = (light[(radius > a) & (radius < b)].mean() for a, b in ((0, 1.2), (2.6, 4.2), (5.4, 5.9)))
        low = radius + np.where(points[:, 1] > points[radius.argmin(), 1] - 1, 99, 0)  # where no lid shades the ball
        sclera = light[(low > 7.0) & (low < 8.5)].mean()
        assert pupil < 0.012 < iris < sclera and limbus < sclera
        assert 0.15 < sclera < 0.5  # never paper white
        assert roughness[radius < 4].max() < 0.15 < roughness[(radius > 8) & (radius < 20)].max()


def test_iris_colours_follow_their_group(board):
    points, radius = left_eye(board)
    ring = (radius > 3) & (radius < 4.5)

    def blueness(group):
        means = [eyes(person(seed, group), points, board.texels)[0][ring].mean(0) for seed in range(24)]
        return np.array([blue / red for red, _, blue in means])

    assert (blueness("east_asian") < 0.6).all()
    european = blueness("european")
    assert 0.1 < (european > 0.8).mean() < 0.8
    for chances in IRIS_CHANCES.values():
        assert len(chances) == len(IRIS_COLORS) and sum(chances) == pytest.approx(1)
    assert PUPIL_MM[0] < PUPIL_MM[1] < IRIS_MM / 2


def test_sclera_reddens_and_teeth_yellow_with_age(board):
    points, radius = left_eye(board)
    white, bite = (radius > 7) & (radius < 10), texels(board, "teeth")

    def ratio(age):
        sclera = eyes(person(3, age=age), points, board.texels)[0][white].mean(0)
        tooth = mouth.teeth(person(3, age=age), bite, board.texels)[0].mean(0)
        return np.array([sclera[0] / sclera[2], tooth[0] / tooth[2]])

    assert (ratio(80.0) > 1.1 * ratio(20.0)).all()


def test_mouth_is_dark_behind_and_red_before(board):
    for name, paint in (("gums", mouth.gums), ("tongue", mouth.tongue)):
        points = texels(board, name)
        rgb, _ = paint(person(1), points, board.texels)
        front, back = points[:, 2] > np.quantile(points[:, 2], 0.9), points[:, 2] < np.quantile(points[:, 2], 0.1)
        assert rgb[front, 0].mean() > 1.8 * rgb[front, 1].mean() and rgb[back].mean() < 0.6 * rgb[front].mean()
    points = texels(board, "mouth")
    rgb, _ = mouth.lining(points, board.texels)
    assert rgb[points[:, 2] < np.quantile(points[:, 2], 0.3)].max() < 0.02


def test_same_person_same_eyes(board):
    points, _ = left_eye(board)
    someone = scene.identity(0, 1)
    first, again = (eyes(someone, points, board.texels) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    other = eyes(dataclasses.replace(someone, seed=someone.seed + 1), points, board.texels)
    assert np.abs(first[0] - other[0]).max() > 0.01
