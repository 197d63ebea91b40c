"""Pain heatmap, mask and landmark visibility: what the geometry of a frame says about its pixels."""

import numpy as np

from data_gen.camera import Camera, project
from data_gen.face_models import MATERIALS, Topology

HEATMAP_FULL_SCALE_MM = 10.0  # displacement that saturates the heatmap
LANDMARK_DEPTH_TOLERANCE_MM = 4.0  # a landmark hidden by less than this is still on the visible surface


def displacement(neutral: np.ndarray, expressive: np.ndarray, topology: Topology) -> np.ndarray:
    """How far each vertex has moved, as a share of `HEATMAP_FULL_SCALE_MM`.

    Args:
      neutral: (V, 3) mm, the identity at rest.
      expressive: (V, 3) mm, the same identity under the pain action units alone.

    Returns:
      (V,) float32 in 0..1; zero off the skin: eyeballs, teeth and the mouth's inside do not act.
    """
    heat = np.linalg.norm(expressive.astype(np.float64) - neutral, axis=-1) / HEATMAP_FULL_SCALE_MM
    on_skin = np.zeros(len(heat), bool)
    on_skin[topology.faces[topology.materials == MATERIALS.index("skin")]] = True
    return np.where(on_skin, np.clip(heat, 0, 1), 0).astype(np.float32)


def visible_landmarks(landmarks: np.ndarray, camera: Camera, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of landmarks, and whether the camera sees them.

    Args:
      landmarks: (68, 3) mm.
      depth: (S, S) float32 mm of the frame, infinite where there is no head.

    Returns:
      (68, 2) float32 pixel xy, and (68,) bool: inside the picture and on the front-most surface within a pixel.
    """
    xy, along = project(camera, landmarks)
    column, row = np.floor(xy).astype(int).T
    inside = (column >= 0) & (column < camera.size) & (row >= 0) & (row < camera.size)
    padded = np.pad(depth, 1, constant_values=np.inf)
    around = [
        padded[np.clip(row, 0, camera.size - 1) + dy, np.clip(column, 0, camera.size - 1) + dx]
        for dy in range(3)
        for dx in range(3)
    ]
    farthest = np.max(np.where(np.isfinite(around), around, -np.inf), axis=0)  # beside a silhouette, the surface itself
    return xy.astype(np.float32), inside & (along <= farthest + LANDMARK_DEPTH_TOLERANCE_MM)
