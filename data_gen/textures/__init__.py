"""Textures: how an identity looks, painted into the face model's UV atlas."""

import dataclasses

import numpy as np

from data_gen.face_models import FaceModel
from data_gen.scene import Identity

BACKENDS = ("procedural",)


@dataclasses.dataclass(frozen=True)
class Texture:
    """The look of one identity.

    Attributes:
      albedo: (T, T, 3) uint8 sRGB; row 0 is the top of the atlas (v = 1).
      roughness: (T, T) uint8, 255 is fully matt; None: everywhere that of skin.
      surface: (T, T, 3) uint8; r, g: slope of the surface along u and v, 128 flat; b: subsurface scattering, 255 skin.
      displacement: (V, 3) float32 mm added to the vertices: how hair and clothes stand off the skin; None: nowhere.
      exposure: factor by which a photographer would open the aperture for this face.
    """

    albedo: np.ndarray
    roughness: np.ndarray | None = None
    surface: np.ndarray | None = None
    displacement: np.ndarray | None = None
    exposure: float = 1.0


def paint(backend: str, identity: Identity, face_model: FaceModel, size: int) -> Texture:
    """The texture of an identity.

    Args:
      backend: one of `BACKENDS`.
      size: side of the texture in texels.

    Raises:
      ValueError: if there is no such backend.
    """
    if backend == "procedural":
        from data_gen.textures.procedural import paint

        return paint(identity, face_model, size)
    raise ValueError(f"texture backend is {backend!r}; expected one of {', '.join(BACKENDS)}.")
