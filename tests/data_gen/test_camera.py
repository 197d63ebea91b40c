import numpy as np
import pytest

from data_gen import camera as cameras
from data_gen import face_models, plan, rig, scene


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    topology = face_models.load("procedural").topology
    return topology.template[topology.landmarks]


def looking(yaw=0.0, pitch=0.0, fov=24.0, fill=0.72, roll=0.0) -> scene.View:
    return scene.View(id=0, yaw=yaw, pitch=pitch, fov=fov, fill=fill, roll=roll)


def test_pose_is_a_rigid_motion(landmarks):
    for view in (looking(), looking(37, 6), looking(-40, -7), looking(40, 5, roll=6)):
        rotation = cameras.aim(view, landmarks, 100).pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_projection_by_hand():
    """A camera 1000 mm away with 90 degrees: 1000 mm across the axis is half the picture."""
    pose = np.eye(4)
    pose[2, 3] = 1000.0
    camera = cameras.Camera(pose, 90.0, 200)
    xy, depth = cameras.project(camera, np.array([[0.0, 0, 0], [500, 0, 0], [0, 500, 0], [0, 0, 500]]))
    np.testing.assert_allclose(xy, [[100, 100], [150, 100], [100, 50], [100, 100]])
    np.testing.assert_allclose(depth, [1000, 1000, 1000, 500])


def test_positive_yaw_stands_on_the_subjects_left(landmarks):
    """From there the tip of the nose moves against the eyes towards the picture's left, and the left ear is nearer."""
    camera = cameras.aim(looking(35), landmarks, 100)
    assert camera.pose[0, 3] > 0
    xy, depth = cameras.project(camera, landmarks)
    assert xy[30, 0] < xy[27, 0]
    assert depth[16] < depth[0]


def test_positive_pitch_looks_down(landmarks):
    above, below = (cameras.aim(looking(pitch=p), landmarks, 100).pose[1, 3] for p in (7, -7))
    assert above > below


@pytest.mark.parametrize("fov", [18.0, 30.0])
@pytest.mark.parametrize("yaw", [-41.0, 0.0, 41.0])
def test_face_fills_the_picture_whatever_the_lens(landmarks, yaw, fov):
    xy, _ = cameras.project(cameras.aim(looking(yaw, fov=fov), landmarks, 224), landmarks)
    assert (xy > 10).all() and (xy < 214).all()
    height = xy[8, 1] - xy[17:27, 1].mean()
    assert height == pytest.approx(224 * 0.72 / 1.45, rel=0.15)
    assert 80 < (xy[:, 0].min() + xy[:, 0].max()) / 2 < 144


def test_size_only_scales_pixels(landmarks):
    small, large = (cameras.project(cameras.aim(looking(20, 5), landmarks, s), landmarks)[0] for s in (112, 448))
    np.testing.assert_allclose(4 * small, large)


def test_positive_roll_leans_the_head_to_the_right(landmarks):
    """By that angle about the middle of the picture, and nothing else."""
    upright, leaning = (cameras.project(cameras.aim(looking(20, 4, roll=r), landmarks, 200), landmarks) for r in (0, 6))
    forehead, chin = leaning[0][27], leaning[0][8]
    assert forehead[0] - chin[0] > upright[0][27, 0] - upright[0][8, 0]
    c, s = np.cos(np.radians(6)), np.sin(np.radians(6))
    turned = (upright[0] - 100) @ np.array([[c, s], [-s, c]]) + 100  # clockwise, y running down
    np.testing.assert_allclose(leaning[0], turned, atol=1e-9)
    np.testing.assert_allclose(leaning[1], upright[1])


def test_distance_is_that_of_the_camera(landmarks):
    near, far = looking(fov=30.0), looking(fov=18.0)
    for view in (near, far):
        camera = cameras.aim(view, landmarks, 100)
        back = camera.pose[:3, 2]
        target = camera.pose[:3, 3] - cameras.distance(view, landmarks) * back
        np.testing.assert_allclose(
            target,
            cameras.aim(looking(), landmarks, 100).pose[:3, 3]
            - cameras.distance(looking(), landmarks) * np.array([0, 0, 1]),
            atol=1e-9,
        )
    assert 300 < cameras.distance(near, landmarks) < cameras.distance(far, landmarks) < 1500


@pytest.mark.parametrize("name", ["procedural", "ict"])
def test_the_whole_face_stays_in_the_picture(name, request):
    """Hairline to chin of the longest faces, mouths as wide open as they go, in every view."""
    model = face_models.load("procedural") if name == "procedural" else request.getfixturevalue("ict")
    ids = model.topology.landmarks
    for index in range(24):
        person = scene.identity(0, index)
        rest = model.neutral(person)[ids]
        shouting = model.deform(person, rig.shape_weights((5, 5, 5, 5, 5, 0), 0.0, {"AU27": 5.0, "AU25": 4.0}))[ids]
        hairline = rest[8] + 1.45 * (rest[17:27].mean(0) - rest[8])
        hairline[2] = rest[17:27, 2].mean()
        for view in range(3):
            camera = cameras.aim(plan.scene(scene.pack_seed(0, index, 0, view)).view, rest, 224)
            xy, _ = cameras.project(camera, np.concatenate([rest, shouting, hairline[None]]).astype(float))
            assert xy.min() > 3 and xy.max() < 221, (index, view)
