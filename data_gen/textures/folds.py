"""Folds: where the skin of a face creases, in which direction, and which muscles crease it.

Muscles crease skin across their own direction (Duchenne; Hjortsjo, "Man's Face and Mimic Language", 1969; the "changes
in appearance" of every action unit in the FACS manual, Ekman, Friesen & Hager 2002). A `Fold` gives a region of the
face a coordinate system of its own, in adult mm, in which `wrinkles.py` draws: s along the furrows, t across them.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from data_gen.textures.anatomy import Anatomy, along_curve
from data_gen.textures.noise import smoothstep

EDGE = 5.0  # mm over which a fold's region ends
Frame = tuple[np.ndarray, np.ndarray, np.ndarray]  # s, t and how far inside the region (1 inside, 0 outside), each (P,)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One family of furrows.

    Attributes:
      layer: 0 or 1, the set of expression wrinkles it belongs to: folds that cross differ in it.
      muscles: action unit -> share of the full depth to which it alone creases the skin at full intensity.
      rest: depth left at rest on a face whose skin is as old as it gets.
      sides: (-1, 1): one frame each for the subject's right and left; (0,): one across the midline.
      frame: (anatomy, side) -> frame of all its points.
    """

    layer: int
    muscles: Mapping[str, float]
    rest: float
    sides: tuple[int, ...]
    frame: Callable[[Anatomy, int], Frame]


@dataclasses.dataclass(frozen=True)
class Patch:
    """The points in the region of one fold on one side: `index` into the anatomy's points, and their `frame` there."""

    index: np.ndarray
    s: np.ndarray
    t: np.ndarray
    inside: np.ndarray


def patches(face: Anatomy, skin: np.ndarray) -> dict[tuple[str, int], Patch]:
    """Of every fold and side: the points that it may crease, among those where `skin` (P,) is true."""
    out = {}
    for name, fold in FOLDS.items():
        for side in fold.sides:
            s, t, inside = fold.frame(face, side)
            index = np.flatnonzero((inside > 0) & (face.front > 0.02) & skin)
            out[name, side] = Patch(
                index,
                *(a[index].astype(np.float32) for a in (s, t)),
                (inside[index] * smoothstep(0.0, 0.3, face.front[index])).astype(np.float32),
            )
    return out


def _glabella(face: Anatomy, side: int) -> Frame:
    """s up from the brows' inner ends, t to the left of the midline."""
    x, y, _ = face.points.T
    s = y - face.landmarks[[21, 22], 1].mean()
    return s, x, _within(s, -11, 12) * _within(x, -21, 21)


def _nasal_root(face: Anatomy, side: int) -> Frame:
    """s to the left of the midline, t up from the root of the nose."""
    x, y, _ = face.points.T
    t = y - face.landmarks[27, 1] - 1.5
    return x, t, _within(x, -13, 13) * _within(t, -8, 11)


def _nose_side(face: Anatomy, side: int) -> Frame:
    """s down and away from the bridge along the nose's side, t across, upwards."""
    x, y, z = face.points.T
    bridge = np.interp(y, face.landmarks[30:26:-1, 1], face.landmarks[30:26:-1, 2])
    out = 0.7 * side * x + 0.7 * np.clip(bridge - z, 0, 30)  # the side of the nose is steep: most of it lies in depth
    up = y - face.landmarks[27, 1] + 13.0
    s, t = 0.80 * (out - 8.0) - 0.60 * up, 0.60 * (out - 8.0) + 0.80 * up
    return s, t, _within(s, -10, 9) * _within(t, -9, 9) * smoothstep(-1.0, 3.0, side * x) * _within(side * x, -9, 20)


def _crows_feet(face: Anatomy, side: int) -> Frame:
    """s mm from the outer corner of the eye, t the angle above the horizontal there, in degrees."""
    x, y, z = face.points.T
    corner = face.landmarks[45 if side > 0 else 36]
    out = side * (x - corner[0])
    around = np.clip(corner[2] - z, 0, None) * smoothstep(0.0, 10.0, out)  # the temple turns away from the front
    u = np.copysign(np.hypot(out, around), out) + 4.0
    v = y - corner[1]
    s, t = np.hypot(u, v), np.degrees(np.arctan2(v, u))
    return s, t, _within(s, 6, 36) * smoothstep(-64, -48, t) * smoothstep(46, 30, t) * (side * x > 0)


def _under_eye(face: Anatomy, side: int) -> Frame:
    """s towards the temple from below the pupil, t mm below the lid's margin, negative downwards."""
    inside = _within(face.eye_x, -19, 19) * smoothstep(-1.0, 3.5, face.eye) * smoothstep(24, 16, face.eye)
    inside = inside * smoothstep(-1.0, -4.0, face.eye_y + 0.10 * np.abs(face.eye_x))
    return face.eye_x, -face.eye, inside * (face.points[:, 0] * side > 0)


def _nasolabial(face: Anatomy, side: int) -> Frame:
    """s down from the wing of the nose along the fold, t across it, towards the cheek."""
    wing, corner = (35, 54) if side > 0 else (31, 48)
    out, marks = np.array([side, 1.0]), face.landmarks[:, :2]
    top, low = marks[wing] + out * (6.0, 5.0), marks[corner] + out * (8.5, 2.0)
    bow = out * (1.5, 0.7)
    curve = [top, top + (low - top) / 3 + bow, low + (top - low) / 3 + bow, low, marks[corner] + out * (10.5, -8.0)]
    s, t, length = _curved(face, side, np.array(curve), 22.0)
    return s, t, _within(s, -2, length) * smoothstep(19, 11, t) * smoothstep(-10, -4, t)


def _marionette(face: Anatomy, side: int) -> Frame:
    """s down from the corner of the mouth, t across, away from the chin."""
    corner = face.landmarks[54 if side > 0 else 48, :2]
    curve = corner + np.array([side, 1.0]) * [(1.5, -1.5), (4.5, -10.0), (6.0, -19.0), (5.5, -28.0)]
    s, t, length = _curved(face, side, curve, 14.0)
    return s, t, _within(s, 0, length) * _within(t, -8, 10)


def _upper_lip(face: Anatomy, side: int) -> Frame:
    """s away from the lip's border, upwards, t to the left of the midline."""
    x, y, _ = face.points.T
    above = smoothstep(-1.0, 2.0, y - np.interp(x, face.landmarks[48:55, 0], face.landmarks[48:55, 1] - 1.0))
    return (
        -face.lips,
        x,
        above * _within(x, -20, 20) * smoothstep(-1.5, 0.5, -face.lips) * smoothstep(13, 9, -face.lips),
    )


def _forehead(face: Anatomy, side: int) -> Frame:
    """s to the left of the midline, t up from the brows."""
    x, y, _ = face.points.T
    t = y - face.landmarks[17:27, 1].mean()
    return x, t, _within(x, -54, 54) * smoothstep(8, 14, t) * smoothstep(62, 50, t)


def _chin(face: Anatomy, side: int) -> Frame:
    """s to the left of the midline, t up from the chin's boss."""
    x, y, _ = face.points.T
    t = y - 0.5 * (face.landmarks[8, 1] + face.landmarks[57, 1])
    return x, t, _within(x, -17, 17) * _within(t, -12, 10)


FOLDS = {
    "glabella": Fold(0, {"AU4": 1.0}, 0.60, (0,), _glabella),
    "nasal root": Fold(1, {"AU9": 1.0, "AU4": 0.25}, 0.35, (0,), _nasal_root),
    "nose side": Fold(1, {"AU9": 1.0}, 0.10, (-1, 1), _nose_side),
    "crow's feet": Fold(0, {"AU6": 1.0, "AU7": 0.4, "AU12": 0.45}, 0.80, (-1, 1), _crows_feet),
    "under the eye": Fold(0, {"AU6": 0.75, "AU7": 1.0, "AU9": 0.25, "AU12": 0.25}, 0.90, (-1, 1), _under_eye),
    "nasolabial": Fold(
        1, {"AU9": 0.75, "AU10": 1.0, "AU6": 0.45, "AU12": 0.9, "AU20": 0.3}, 0.95, (-1, 1), _nasolabial
    ),
    "marionette": Fold(0, {"AU15": 1.0, "AU20": 0.5, "AU17": 0.3}, 0.85, (-1, 1), _marionette),
    "upper lip": Fold(0, {}, 0.80, (0,), _upper_lip),  # of age alone
    "forehead": Fold(1, {"AU1": 0.85, "AU2": 0.85}, 0.85, (0,), _forehead),
    "chin": Fold(1, {"AU17": 1.0}, 0.10, (0,), _chin),
}


def _within(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """1 between the bounds, fading to 0 over `EDGE` mm beyond them."""
    return smoothstep(low - EDGE, low, x) * smoothstep(high + EDGE, high, x)


def _curved(face: Anatomy, side: int, curve: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, float]:
    """(P,) mm along a frontal curve, (P,) mm across it (away from the midline), and its length."""
    x, y = face.points[:, 0], face.points[:, 1]
    (left, bottom), (right, top) = curve.min(0) - reach, curve.max(0) + reach
    near = np.flatnonzero((face.front > 0) & (x > left) & (x < right) & (y > bottom) & (y < top) & (side * x > 0))
    s, t = np.full(len(x), -99.0), np.full(len(x), 99.0)
    s[near], distance, offset, length = along_curve(face.points[near, :2].astype(np.float64), curve)
    t[near] = distance * np.sign(side * offset)
    return s, t, length
