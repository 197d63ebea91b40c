"""A sitting: what a camera knows of the head before anything is painted."""

import dataclasses

import numpy as np

from data_gen import camera as cameras
from data_gen.camera import Camera
from data_gen.face_models import MATERIALS, FaceModel, Topology
from data_gen.render import Renderer
from data_gen.scene import View
from data_gen.textures import Texture

# Frontal, the whole head and its hair in the picture, from far enough that the cheeks are not seen at a slant.
PORTRAIT = View(id=0, yaw=0.0, pitch=0.0, fov=18.0, fill=0.60)
CLOTH_MM = 0.05  # a vertex that clothes lift by more than this is not bare
BARE = 0.98  # of the interpolated share of bare skin: pixels that a triangle of something else touches are left out


@dataclasses.dataclass(frozen=True, eq=False)
class Sitting:
    """One head as the portrait's camera sees it, or the same camera from the side.

    Attributes:
      depth: (S, S) float32, mm along the optical axis, of head, clothes, hair and beard; +inf behind them.
      skin: (S, S) bool, bare skin in sight: no hair, beard, cloth, eye, lash or tooth.
      landmarks: (68, 2) float32 pixel xy.
      yaw: of the camera, degrees.
    """

    depth: np.ndarray
    skin: np.ndarray
    landmarks: np.ndarray
    yaw: float = 0.0


def camera(neutral: np.ndarray, topology: Topology, size: int, yaw: float = 0.0) -> Camera:
    """The camera of the portrait of a face at rest, (V, 3) mm, or one that stands `yaw` degrees beside it."""
    return cameras.aim(dataclasses.replace(PORTRAIT, yaw=yaw), neutral[topology.landmarks], size)


def sit(neutral: np.ndarray, face_model: FaceModel, base: Texture, renderer: Renderer, yaw: float = 0.0) -> Sitting:
    """Looks at a head at rest.

    Args:
      neutral: (V, 3) mm.
      base: the procedural texture of this person, for its hair and clothes.
      renderer: of the picture's size; it keeps the base.
      yaw: of the camera, degrees.
    """
    topology, view = face_model.topology, camera(neutral, face_model.topology, renderer.size, yaw)
    renderer.set_texture(base, neutral)
    bare = bare_vertices(topology, base).astype(np.float32)
    field = renderer.field(renderer.pose(neutral), bare, view, beards=True)
    xy, _ = cameras.project(view, neutral[topology.landmarks].astype(np.float64))
    return Sitting(field.depth, field.values > BARE, xy.astype(np.float32), yaw)


def bare_vertices(topology: Topology, base: Texture) -> np.ndarray:
    """(V,) bool: skin that no cloth lifts."""
    bare = np.zeros(len(topology.template), bool)
    bare[topology.faces[topology.materials == MATERIALS.index("skin")]] = True
    return bare if base.displacement is None else bare & (np.linalg.norm(base.displacement, axis=1) < CLOTH_MM)
