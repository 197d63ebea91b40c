"""How hair shades the skin that it hangs before or lies beside: what seats it on a head.

The key light's shadow map is too coarse for hair a few millimetres off the skin, and no other light has one.
"""

import numpy as np
import scipy.spatial

from data_gen.textures import HairMesh

REACH_MM = 24.0
ABOVE_MM = 6.0  # the skin, whence one looks for hair: what lies before it shades it, not what lies behind it
DARKEST = 0.42  # share of the light from around that gets below thick hair
NEIGHBOURS = 6  # points of hair that close make it thick
STEP_MM = 6.0  # between points along a wisp


def hair_shade(hair: HairMesh | None, points: np.ndarray, normals: np.ndarray, scale: float) -> np.ndarray:
    """(P,) float32, the share of all light that hair lets get to the skin, 1 where there is none near.

    Args:
      hair: on the template.
      points: (P, 3) mm of the template's skin, beside the hair; normals: (P, 3) unit.
      scale: mm of the template per adult mm.
    """
    if hair is None:
        return np.ones(len(points), np.float32)
    nodes = hair.positions
    along = np.linalg.norm(np.diff(nodes, axis=1), axis=-1).mean() / (STEP_MM * scale)
    at = np.linspace(0, 1, max(round(along), 1), endpoint=False, dtype=np.float32)[:, None]
    strands = (nodes[:, :-1, None] * (1 - at) + nodes[:, 1:, None] * at).reshape(-1, 3)
    reach = REACH_MM * scale
    low, high = points.min(0) - reach, points.max(0) + reach
    strands = strands[((strands > low) & (strands < high)).all(1)]
    if len(strands) < NEIGHBOURS:
        return np.ones(len(points), np.float32)
    raised = points + ABOVE_MM * scale * normals
    away = scipy.spatial.cKDTree(strands).query(raised, [NEIGHBOURS], distance_upper_bound=reach)[0][:, 0]
    near = (1 - np.minimum(away / reach, 1) ** 2) ** 2
    return (1 - (1 - DARKEST) * near).astype(np.float32)
