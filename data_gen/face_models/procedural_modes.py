"""Shape modes of the procedural head: the smooth field by which each measurement of an identity moves the skin."""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from data_gen.face_models.ageing import FOLDS, pushed
from data_gen.face_models.procedural_expression import lid_table, turn_lids
from data_gen.face_models.procedural_identity import PARAMETERS, measurements
from data_gen.face_models.procedural_mesh import EYE_OFFSETS
from data_gen.face_models.procedural_parts import EAR_ANCHOR
from data_gen.face_models.procedural_surface import EYE, smoothstep
from data_gen.scene import Identity

LID_OPENING = 10.2  # mm between the lids of the template

# Fields that are sums of Gaussian neighbourhoods: (centre x, y, z, sigma x, y, z, push x, y, z per mm of deviation).
# A centre with x > 0 is mirrored.
_STROKES = {
    "brow ridge": (
        (22, 18, 86, 13, 6.5, 20, 0, 0, 1.0),
        (44, 16, 72, 9, 7, 18, 0.3, 0, 0.8),
        (0, 17, 90, 8, 7, 20, 0, 0, 0.4),
    ),
    "brow height": ((30, 19, 84, 16, 7, 22, 0, 1.0, 0),),
    "eye spacing": ((31, 3, 76, 15, 17, 40, 0.5, 0, 0),),
    "eye depth": ((31, 0, 74, 14, 12, 40, 0, 0, 1.0),),
    "nose width": ((13, -41, 90, 9, 9, 16, 0.56, 0, 0),),
    "nose hump": ((0, -14, 97, 8, 8, 16, 0, 0, 1.0),),
    "nose bridge": ((0, -2, 90, 8, 12, 16, 0, 0, 1.0),),
    "nose tip lift": ((0, -40, 104, 10, 8, 18, 0, 1.0, 0.1),),
    "nose tip width": ((6, -36, 104, 6, 7, 12, 0.6, 0, 0.1),),
    "nose skew": ((0, -34, 103, 11, 14, 20, 1.0, 0, 0),),
    "mouth width": ((27, -71, 80, 12, 12, 30, 0.6, 0, -0.15),),
    "mouth skew": ((0, -76, 90, 30, 18, 34, 0.9, 0, 0),),
    "upper lip": ((0, -60.5, 94, 15, 4.2, 16, 0, 0.75, 0.5), (0, -65, 94, 14, 4, 16, 0, 0.2, 0.5)),
    "lower lip": ((0, -81.5, 92, 15, 4.5, 16, 0, -0.75, 0.3), (0, -76, 92, 14, 4, 16, 0, -0.2, 0.7)),
    "lip protrusion": ((0, -69, 90, 20, 13, 30, 0, 0, 1.0),),
    "chin protrusion": ((0, -101, 86, 19, 12, 34, 0, 0, 1.0),),
    "chin width": ((15, -104, 80, 12, 11, 30, 0.5, 0, 0.1),),
    "cheekbone": ((48, -23, 66, 14, 11, 20, 0.7, 0, 0.9),),
    "cheek fullness": ((48, -52, 58, 16, 20, 26, 0.8, 0, 0.7), (34, -44, 74, 12, 12, 20, 0, 0, 0.4)),
    "jaw width": ((54, -76, 14, 14, 18, 40, 0.5, 0, 0),),
    "temple": ((66, 16, 44, 12, 18, 20, 0.8, 0, 0.5),),
    "under chin": ((0, -116, 54, 26, 9, 22, 0, -0.8, 0), (0, -126, 38, 24, 14, 16, 0, -0.2, 0.9)),
    **FOLDS,
}


def _field(p: np.ndarray, x=0.0, y=0.0, z=0.0) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, z, p[:, 0])[:3], -1)


def _head_size(p):  # per cent, about the face's middle; the shoulders stay
    return 0.01 * (p - [0, -30, 0]) * smoothstep(p[:, 1], -260, -110)[:, None]


def _face_width(p):
    return _field(p, x=p[:, 0] / 136 * np.exp(-0.5 * ((p[:, 1] + 22) / 42) ** 2))


def _cranium_width(p):
    return _field(p, x=p[:, 0] / 150 * smoothstep(p[:, 1], -10, 50))


def _cranium_length(p):
    return _field(p, z=-smoothstep(p[:, 2], 10, -90) * smoothstep(p[:, 1], -70, 10))


def _forehead_height(p):
    return _field(p, y=smoothstep(p[:, 1], 18, 100))


def _forehead_slope(p):
    return _field(p, z=-smoothstep(p[:, 1], 22, 85) * smoothstep(p[:, 2], 0, 60))


def _nose_length(p):
    return _field(p, y=-smoothstep(p[:, 1], 8, -52) * smoothstep(p[:, 2], -20, 50))


def _lower_face(p):
    return _field(p, y=-smoothstep(p[:, 1], -48, -112) * smoothstep(p[:, 2], -60, 60))


def _philtrum(p):
    near = np.exp(-0.5 * (p[:, 0] / 26) ** 2) * smoothstep(p[:, 2], -20, 50)
    return _field(p, y=-near * smoothstep(p[:, 1], -50, -60) * smoothstep(p[:, 1], -106, -84))


def _nose_protrusion(p):
    ridge = np.exp(-0.5 * (p[:, 0] / 9.5) ** 2)
    return _field(p, z=ridge * smoothstep(p[:, 1], 6, -34) * smoothstep(p[:, 1], -54, -44))


def _neck_width(p):
    behind = p[:, 2] + 18
    x = p[:, 0] / 104 * smoothstep(p[:, 1], -88, -125)
    return _field(p, x=x, z=0.25 * np.tanh(behind / 20) * smoothstep(p[:, 1], -105, -140))


def _ear(p):
    """1 on the ears, found by how far they stand out from the head."""
    centre, reach = EAR_ANCHOR + [6, 0, -11], np.array([9, 26, 16])
    return np.exp(
        -0.5 * ((((np.abs(p[:, 0])[:, None] * [1, 0, 0] + p * [0, 1, 1]) - centre) / reach) ** 2).sum(-1) ** 2
    )


def _ear_size(p):
    side = np.sign(p[:, :1])
    return _ear(p)[:, None] * (p - np.concatenate([side, 0 * side + 1, 0 * side], 1) * EAR_ANCHOR) / 62


def _ear_angle(p):
    return _field(p, x=np.sign(p[:, 0]) * _ear(p) * smoothstep(p[:, 2], -2, -28))


_FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "head size": _head_size,
    "face width": _face_width,
    "cranium width": _cranium_width,
    "cranium length": _cranium_length,
    "forehead height": _forehead_height,
    "forehead slope": _forehead_slope,
    "nose length": _nose_length,
    "lower face": _lower_face,
    "philtrum": _philtrum,
    "nose protrusion": _nose_protrusion,
    "neck width": _neck_width,
    "ear size": _ear_size,
    "ear angle": _ear_angle,
}


def _lid_tilt(p: np.ndarray) -> np.ndarray:
    """Turns each eye's lids about its optical axis: the outer corner rises by 1 mm."""
    out = np.zeros_like(p)
    for side in (1, -1):
        d = p - EYE * [side, 1, 1]
        turn = side * smoothstep(np.linalg.norm(d / [1, 1, 1.6], axis=-1), 30.0, 17.0) / 15.0
        out += np.stack([-d[:, 1] * turn, d[:, 0] * turn, 0 * turn], -1)
    return out


def _lid_fold(p: np.ndarray) -> np.ndarray:
    """Fullness of the skin above the lid, per mm: fills the hollow under the brow and covers the inner corner."""
    strokes = ((33, 10.5, 78, 11, 3.6, 14, 0, -0.35, 0.8), (20, 6.5, 76, 5, 4.0, 14, 0, -0.35, 0.8))
    return pushed(p, strokes)


class Identities:
    """Modes evaluated on one topology.

    Args:
      template: (V, 3) mm.
      eye_loops: the eye loops (`procedural_mesh.Half.eye`) of the left and the right eye.
      parts: vertex indices by part name.
    """

    def __init__(self, template: np.ndarray, eye_loops: tuple[np.ndarray, np.ndarray], parts: Mapping[str, np.ndarray]):
        eyes = np.stack([EYE, EYE * [-1, 1, 1]])
        self._base = np.concatenate([template, eyes])  # the eyes' centres ride along as two more points
        margin = EYE_OFFSETS.index(0.0)
        # Lids move as one with their eyeball, so that they keep sliding on a sphere.
        rigid = np.zeros((2, len(self._base), 1))
        for i, (side, eye, loop) in enumerate(zip(("left", "right"), eyes, eye_loops, strict=True)):
            rigid[i, :, 0] = smoothstep(np.linalg.norm((self._base - eye) / [1.0, 1.0, 1.6], axis=-1), 30.0, 16.5)
            for index in (parts[f"eye_{side}"], parts[f"lash_{side}"], loop[: margin + 2].ravel()):
                rigid[i, index] = 1.0
        free = 1 - rigid.sum(0).clip(0, 1)
        self._names, modes = [], []
        for name in PARAMETERS:
            if name in _FORMULAS or name in _STROKES:
                field = _FORMULAS[name](self._base) if name in _FORMULAS else pushed(self._base, _STROKES[name])
                modes.append(free * field + rigid[0] * field[-2] + rigid[1] * field[-1])
                self._names.append(name)
        balls = np.concatenate([parts["eye_left"], parts["eye_right"]])
        hidden = np.concatenate([loop[: margin + 1].ravel() for loop in eye_loops])
        tilt, fold = _lid_tilt(self._base), _lid_fold(self._base)
        tilt[balls] = fold[balls] = fold[parts["lash_left"]] = fold[parts["lash_right"]] = 0.0
        tilt[-2:] = fold[-2:] = fold[hidden] = 0.0  # the lids' margins stay on the eyeball
        for loop in eye_loops:
            fold[loop[margin + 1]] *= 0.5
        self._names += ["lid tilt", "lid fold"]
        self._modes = np.stack([*modes, tilt, fold]).reshape(len(self._names), -1)
        self._eye_loops = eye_loops
        lashes = (parts["lash_left"], parts["lash_right"])
        sides = zip((1.0, -1.0), eye_loops, lashes, strict=True)
        self._lids = [lid_table(template, side, loop, lash) for side, loop, lash in sides]
        self.neutral = functools.lru_cache(maxsize=16)(self._neutral)

    def _neutral(self, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
        """(V, 3) vertices and (2, 3) centres of the left and right eyeball, mm. Read-only: they are cached."""
        amounts = measurements(identity)
        weights = np.array([amounts[name] for name in self._names])
        # einsum and not @: BLAS rounds by the number of threads, and the same seed must give the same face
        points = self._base + np.einsum("m,mi->i", weights, self._modes).reshape(-1, 3)
        v, eyes = points[:-2], points[-2:]
        wider = amounts["lid opening"] / LID_OPENING
        for eye, loop, table in zip(eyes, self._eye_loops, self._lids, strict=True):
            v = turn_lids(v, eye, loop, table, -0.7 * wider, -0.3 * wider)
        v.flags.writeable = eyes.flags.writeable = False
        return v, eyes
