import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from configs import teacher
from painjax.data.geometry import MIRROR_68, Placement, draw_placement, move_landmarks, move_points, warp

SIZE = 64
# stretch, degrees, mirror, rows, columns
PLACEMENTS = [
    (1.0, 0.0, 1.0, 0.0, 0.0),
    (1.0, 0.0, -1.0, 0.0, 0.0),
    (1.0, 0.0, 1.0, 5.0, -8.0),
    (0.8, 0.0, 1.0, 0.0, 0.0),
    (1.0, 25.0, 1.0, 0.0, 0.0),
    (1.25, -40.0, -1.0, 3.0, 6.0),
]


def place(stretch, degrees, mirror, *shift):
    numbers = (stretch, np.deg2rad(degrees), mirror, np.array(shift))
    return Placement(*(jnp.asarray(number, jnp.float32) for number in numbers))


def as_affine(stretch, degrees, mirror, down, right):
    """The same as a matrix on (row, column), multiplied out by NumPy."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = stretch * turn @ np.diag([1, mirror])
    centre = np.full(2, (SIZE - 1) / 2)
    return matrix, centre - matrix @ centre + [down, right]


@pytest.mark.parametrize("numbers", PLACEMENTS)
@pytest.mark.parametrize("turned", [False, True])
def test_warp_is_the_affine_map_that_its_placement_describes(numbers, turned):
    if numbers[1] and not turned:
        pytest.skip("the separable way has no rotation")
    rows, columns = np.mgrid[:SIZE, :SIZE]
    picture = np.stack([np.sin(rows / 5) + np.cos(columns / 7), rows * columns / 1000], -1)
    warped = warp(jnp.asarray(picture, jnp.float32), place(*numbers), turned=turned)
    for channel in range(2):
        expected = ndimage.affine_transform(picture[..., channel], *as_affine(*numbers), order=1, mode="nearest")
        np.testing.assert_allclose(warped[..., channel], expected, atol=1e-3)


@pytest.mark.parametrize("numbers", PLACEMENTS)
def test_a_landmark_painted_as_a_dot_goes_where_the_landmark_goes(numbers):
    points = np.array([[20.5, 30.5], [40.0, 26.5], [31.0, 44.0], [25.3, 20.9]], np.float32)  # x, y
    moved = np.asarray(move_points(jnp.asarray(points), place(*numbers), SIZE))
    assert ((moved > 4) & (moved < SIZE - 4)).all()
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for (x, y), expected in zip(points, moved, strict=True):
        dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
        seen = np.asarray(warp(jnp.asarray(dot[..., None], jnp.float32), place(*numbers), turned=True))[..., 0]
        found = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_mirror_gives_each_landmark_the_name_of_the_other_side():
    assert sorted(MIRROR_68) == list(range(68)) and (MIRROR_68[MIRROR_68] == np.arange(68)).all()
    centre_line = [8, *range(27, 31), 33, 51, 57, 62, 66]
    assert [i for i in range(68) if MIRROR_68[i] == i] == centre_line
    assert MIRROR_68[36] == 45 and MIRROR_68[48] == 54 and MIRROR_68[0] == 16  # outer eye, mouth corner, jaw
    rng = np.random.default_rng(0)
    points = rng.uniform(0, SIZE, (68, 2)).astype(np.float32)
    visible = rng.random(68) < 0.5
    still, mirror = place(1, 0, 1, 0, 0), place(1, 0, -1, 0, 0)
    same, same_visible = move_landmarks(jnp.asarray(points), jnp.asarray(visible), still, SIZE)
    np.testing.assert_allclose(same, points, atol=1e-4)
    np.testing.assert_array_equal(same_visible, visible)
    flipped, flipped_visible = move_landmarks(jnp.asarray(points), jnp.asarray(visible), mirror, SIZE)
    np.testing.assert_allclose(flipped, points[MIRROR_68] * [-1, 1] + [SIZE, 0], atol=1e-4)
    np.testing.assert_array_equal(flipped_visible, visible[MIRROR_68])


def test_the_mirror_table_is_that_of_real_faces(tiny_dataset):
    """On a frontal neutral frame of the data set, each point lies across the middle from its mirror image."""
    from painjax.data.sources import FrameSource

    source = FrameSource("pain3d/tiny", "train", ("landmarks",), str(tiny_dataset.parents[2]))
    expression, view, yaw = source.columns("expression_id", "view/id", "view/yaw")
    calm = np.flatnonzero((expression == 0) & (view == 0))
    frame = calm[np.abs(yaw[calm]).argmin()]
    points = source[int(frame)]["landmarks"]
    middle = points[27:31, 0].mean()
    mirrored = points * [-1, 1] + [2 * middle, 0]
    distance = np.linalg.norm(mirrored[:, None] - points[None], axis=-1)
    across = distance[np.arange(68), MIRROR_68]
    assert across.max() < 0.25 * np.ptp(points[:17, 0])  # the head is turned and leans a little
    assert np.median(across) < np.median(np.sort(distance, axis=1)[:, 5])


def test_points_that_leave_the_picture_are_not_visible():
    points = np.tile(np.array([[60.0, 32.0]], np.float32), (68, 1))
    _, visible = move_landmarks(jnp.asarray(points), jnp.ones(68, bool), place(1, 0, 1, 0, -8), SIZE)
    assert not visible.any()


def test_draws_stay_inside_what_the_settings_allow_and_fill_it():
    augment = teacher.get_config().data.augment
    augment.rotation = 10.0
    keys = jax.random.split(jax.random.key(0), 500)
    drawn = jax.vmap(lambda key: draw_placement(jnp.array(False), key, key, SIZE, augment))(keys)
    for found, most in (
        (jnp.log(drawn.stretch), augment.scale),
        (jnp.rad2deg(drawn.angle), 10),
        (drawn.shift[:, 0], augment.shift * SIZE),
        (drawn.shift[:, 1], augment.shift * SIZE),
    ):
        assert -most <= found.min() < -0.95 * most and 0.95 * most < found.max() <= most
