"""Cameras as the rasteriser wants them."""

import numpy as np

from data_gen.camera import Camera
from data_gen.surface_shading import FAR_MM

NEAR_MM = 50.0


def world_to_clip(camera: Camera) -> np.ndarray:
    """(4, 4) such that `camera.project` and the rasteriser agree to the sub-pixel."""
    focal = 1 / np.tan(np.radians(camera.fov) / 2)
    project = np.diag([focal, focal, (FAR_MM + NEAR_MM) / (NEAR_MM - FAR_MM), 0.0])
    project[2, 3], project[3, 2] = 2 * FAR_MM * NEAR_MM / (NEAR_MM - FAR_MM), -1.0
    return project @ np.linalg.inv(camera.pose)


def pixel_ray(camera: Camera, size: int) -> np.ndarray:
    """(3, 3) from (x, y, 1) of a picture of `size`, y up, to the world's mm per mm of depth."""
    half = np.tan(np.radians(camera.fov) / 2)
    return camera.pose[:3, :3] @ np.array([[2 * half / size, 0, -half], [0, 2 * half / size, -half], [0, 0, -1.0]])
