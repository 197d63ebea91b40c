"""The camera: where it stands for a face, and how millimetres become pixels. One place for all that uses it."""

import dataclasses

import numpy as np

from data_gen.scene import View

FRONTAL = View(id=0, yaw=0.0, pitch=0.0, fov=24.0, fill=0.72)  # the camera of `heatmap_frontal`


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels looking down its own -z axis.

    `pose` is (4, 4) camera-to-world in mm (OpenGL convention), `fov` the vertical and horizontal field of view in
    degrees, `size` the picture's side in pixels. Pixel centres lie at half-integers, y runs down.
    """

    pose: np.ndarray
    fov: float
    size: int


def aim(view: View, neutral_landmarks: np.ndarray, size: int) -> Camera:
    """The camera of a view on one face: it aims at the middle of the face, far enough for the face to fill the picture.

    Args:
      view: angles in degrees.
      neutral_landmarks: (68, 3) mm, of the neutral face, so that an expression does not move the camera.
      size: side of the picture in pixels.
    """
    brow, chin = _brow_and_chin(neutral_landmarks)
    ear_depth = neutral_landmarks[[0, 16]].mean(0)[2]
    target = np.array([neutral_landmarks[[27, 28, 29, 30, 8]].mean(0)[0], 0.63 * brow[1] + 0.37 * chin[1], 0.0])
    target[2] = 0.42 * brow[2] + 0.58 * ear_depth  # the middle of the head, so that turned faces stay centred
    yaw, pitch, roll = np.radians([view.yaw, view.pitch, view.roll])
    back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * up
    pose[:3, 1] = np.cos(roll) * up - np.sin(roll) * right
    pose[:3, 2] = back
    pose[:3, 3] = target + distance(view, neutral_landmarks) * back
    return Camera(pose, view.fov, size)


def distance(view: View, neutral_landmarks: np.ndarray) -> float:
    """How far the camera of a view stands from the middle of the head, in mm."""
    brow, chin = _brow_and_chin(neutral_landmarks)
    face_height = 1.45 * np.linalg.norm(brow - chin)  # hairline to chin is about 1.45 times brow to chin
    return float(face_height / (2 * np.tan(np.radians(view.fov) / 2) * view.fill))


def _brow_and_chin(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return landmarks[17:27].mean(0), landmarks[8]


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in mm -> pixels.

    Args:
      points: (n, 3) mm, world.

    Returns:
      (n, 2) xy in pixels, (0, 0) the top left corner of the picture, and (n,) depth in mm along the optical axis.
    """
    local = (points - camera.pose[:3, 3]) @ camera.pose[:3, :3]  # [n, 3]
    depth = -local[:, 2]
    focal = camera.size / (2 * np.tan(np.radians(camera.fov) / 2))
    xy = np.stack([local[:, 0], -local[:, 1]], -1) * (focal / depth)[:, None] + camera.size / 2
    return xy, depth
