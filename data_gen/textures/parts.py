"""Everything that is not skin: which painter paints which material."""

from collections.abc import Iterator

import numpy as np

from data_gen.face_models import MATERIALS
from data_gen.scene import Identity
from data_gen.textures import mouth
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.atlas import Atlas
from data_gen.textures.eyes import eyes

SUBSURFACE = {"gums": 0.6, "tongue": 0.7, "teeth": 0.25}  # as in `Texture.surface`; 0 elsewhere
LASH_ROUGHNESS = 0.6


def parts(
    identity: Identity, atlas: Atlas, face: Anatomy, lash: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | float, float]]:
    """Paints all materials but skin.

    Args:
      face: the anatomy at the atlas' texels.
      lash: (3,) linear RGB of the lashes.

    Yields:
      indices of texels (n,), their linear RGB (n, 3), roughness (n,) and subsurface scattering.
    """
    for name in MATERIALS:
        mine = np.flatnonzero(atlas.materials == MATERIALS.index(name))
        if name == "skin" or not len(mine):
            continue
        points = face.points[mine]
        if name == "eye":
            rgb, roughness = eyes(identity, points, face)
        elif name == "teeth":
            rgb, roughness = mouth.teeth(identity, points, face)
        elif name == "gums":
            rgb, roughness = mouth.gums(identity, points, face)
        elif name == "tongue":
            rgb, roughness = mouth.tongue(identity, points, face)
        elif name == "mouth":
            rgb, roughness = mouth.lining(points, face)
        else:
            rgb, roughness = np.broadcast_to(np.asarray(lash), points.shape), LASH_ROUGHNESS
        yield mine, rgb, roughness, SUBSURFACE.get(name, 0.0)
