"""Textures: how an identity looks, painted into the face model's UV atlas."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from data_gen.diffusion.config import DiffusionConfig
from data_gen.face_models import FaceModel
from data_gen.scene import Identity
from data_gen.textures.wrinkles import wrinkle_depths as wrinkle_depths

BACKENDS = ("procedural", "diffusion")


@dataclasses.dataclass(frozen=True)
class HairMesh:
    """Hair as W wisps: ribbons along centre lines of S nodes, the root first.

    Attributes:
      positions: (W, S, 3) float32 mm on the template.
      normals: (W, S, 3) float32 unit, out of the body of hair.
      widths: (W,) float32 mm, at a wisp's widest.
      columns: (W, 2) float32, where a wisp begins and ends across the texture, 0..1.
      light: (W,) float32 0..1, how much of it the wisps outside let through; tone: (W,) float32, factor of the colour;
        shine: (W,) float32 0..1, how much of what strands mirror is left: short ones lie in all directions.
      beard: (W,) bool, grows on the face and moves with it, so that fields see through to the skin below.
      hangs: (W, S) bool, free of the head, which hides what lies on its far side.
      binding: (W * S, V) sparse: what each node's motion is made of, rows sum to 1.
      texture: (rows, columns, 4) float32, linear colour and opacity of the strands; row 0 is at the roots.
    """

    positions: np.ndarray
    normals: np.ndarray
    widths: np.ndarray
    columns: np.ndarray
    light: np.ndarray
    shine: np.ndarray
    tone: np.ndarray
    beard: np.ndarray
    hangs: np.ndarray
    binding: scipy.sparse.csr_array
    texture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Texture:
    """The look of one identity.

    Attributes:
      albedo: (T, T, 3) uint8 sRGB; row 0 is the top of the atlas (v = 1).
      roughness: (T, T) uint8, 255 is fully matt; None: everywhere that of skin.
      surface: (T, T, 3) uint8; r, g: slope of the surface along u and v, 128 flat; b: subsurface scattering, 255 skin.
      wrinkles: (T, T, 4) uint8; expression wrinkles at full depth: slopes as in `surface`, darkness, and which of
        the two sets (0 first, 255 second) a texel belongs to; how deep they are is the frame's to say; None: none.
      displacement: (V, 3) float32 mm added to the vertices: how clothes stand off the skin; None: nowhere.
      hair: hair that stands off the head; None: what there is, is painted.
      painted_hair: (V,) float32, > 0 where hair is painted on the scalp, < 0 elsewhere, linear across the border; None:
        nowhere.
      shade: (V,) float32 0..1, the share of all light that hair lets get to each vertex; None: all.
      exposure: factor by which a photographer would open the aperture for this face.
      origin: what each frame records of how the texture was made (`record.PORTRAIT`); None: procedural.
    """

    albedo: np.ndarray
    roughness: np.ndarray | None = None
    surface: np.ndarray | None = None
    wrinkles: np.ndarray | None = None
    displacement: np.ndarray | None = None
    hair: HairMesh | None = None
    painted_hair: np.ndarray | None = None
    shade: np.ndarray | None = None
    exposure: float = 1.0
    origin: Mapping[str, Any] | None = None


def paint(
    backend: str,
    identity: Identity,
    face_model: FaceModel,
    size: int,
    diffusion: DiffusionConfig | None = None,
) -> Texture:
    """The texture of an identity.

    Args:
      backend: one of `BACKENDS`.
      size: side of the texture in texels.
      diffusion: settings of the backend 'diffusion'.

    Raises:
      ValueError: if there is no such backend.
    """
    if backend == "procedural":
        from data_gen.textures.procedural import paint

        return paint(identity, face_model, size)
    if backend == "diffusion":
        from data_gen.diffusion.painter import paint

        return paint(identity, face_model, size, diffusion)
    raise ValueError(f"texture backend is {backend!r}; expected one of {', '.join(BACKENDS)}.")
