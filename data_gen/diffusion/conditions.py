"""Conditions: what each kind of ControlNet is shown of a scene, all of it through the picture's own camera.

Normals come from the depth, so that hair and clothes have them too.
"""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from PIL import Image, ImageDraw

from data_gen.diffusion.config import DiffusionConfig

BACK = 0.25  # what the farthest point of the head is in the depth picture, the nearest being 1 and the background 0
SMOOTH = 0.002  # share of the side: standard deviation of the depth's blur before normals are taken of it
DOT = 0.006  # share of the side: radius of a landmark


def draw(config: DiffusionConfig, depth: np.ndarray, fov: float, landmarks: np.ndarray) -> list[np.ndarray]:
    """The pictures that the ControlNets of `config` want, uint8, that for depth first.

    Args:
      depth: (S, S) mm along the optical axis, +inf where there is nothing.
      fov: field of view in degrees.
      landmarks: (n, 2) pixel xy of those in sight.
    """
    drawn = [depth_picture(depth)]
    for control in config.more_controls:
        normal = control.kind == "normal"
        drawn.append(normal_picture(depth, fov) if normal else landmark_picture(landmarks, len(depth)))
    return drawn


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """(S, S) uint8 inverse depth: near is white, the background black."""
    inverse = 1 / depth  # [S, S], 0 behind the head
    head = inverse > 0
    if not head.any():
        return np.zeros(depth.shape, np.uint8)
    low, high = inverse[head].min(), inverse[head].max()
    share = BACK + (1 - BACK) * (inverse - low) / max(high - low, 1e-9)
    return np.round(255 * np.where(head, share, 0)).astype(np.uint8)


def normal_picture(depth: np.ndarray, fov: float) -> np.ndarray:
    """(S, S, 3) uint8 normals in the camera's frame as ControlNet 1.1 was shown them: blue what faces the camera, red
    what faces the picture's left, green what faces up; black behind the head."""
    size, head = len(depth), np.isfinite(depth)
    flat = np.where(head, depth, 0.0)
    weight = scipy.ndimage.gaussian_filter(head.astype(np.float64), SMOOTH * size)  # the background has no say
    smooth = scipy.ndimage.gaussian_filter(flat, SMOOTH * size) / np.maximum(weight, 1e-6)
    along = ((np.arange(size) + 0.5) * 2 / size - 1) * np.tan(np.radians(fov) / 2)
    points = np.stack([along[None] * smooth, -along[:, None] * smooth, -smooth], -1)  # mm, x right, y up, z to us
    right, up = np.gradient(points, axis=1), -np.gradient(points, axis=0)
    normal = np.cross(right, up)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    normal = np.where(head[..., None], normal * np.array([-1, 1, 1]), -1.0)
    return np.round(127.5 * (normal + 1)).astype(np.uint8)


def landmark_picture(landmarks: Sequence[np.ndarray] | np.ndarray, size: int) -> np.ndarray:
    """(S, S, 3) uint8, white dots on black at pixel xy, as OpenPose draws the points of a face."""
    picture = Image.new("RGB", (size, size))
    brush, radius = ImageDraw.Draw(picture), max(DOT * size, 0.5)
    for x, y in landmarks:
        brush.ellipse((x - 0.5 - radius, y - 0.5 - radius, x - 0.5 + radius, y - 0.5 + radius), fill=(255, 255, 255))
    return np.asarray(picture)
