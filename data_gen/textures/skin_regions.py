"""Regions of the skin that colour or shine differently on every face, as soft masks found from the landmarks."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import smoothstep


@dataclasses.dataclass(frozen=True)
class Region:
    """The points of a region, (R,) indices, and how much each belongs to it, (R,) float32 in 0..1."""

    index: np.ndarray
    weight: np.ndarray

    def add(self, target: np.ndarray, amount: float | np.ndarray) -> None:
        """Adds `amount` (a number or (R,)) times the weight to `target` (P,)."""
        target[self.index] += amount * self.weight


def regions(face: Anatomy) -> dict[str, Region]:
    """Every region of `REGIONS` among the points of an anatomy."""
    out = {}
    for name, weigh in REGIONS.items():
        weight = weigh(face, *face.points.T)
        index = np.flatnonzero(weight > 0.01)
        out[name] = Region(index, weight[index].astype(np.float32))
    return out


def _bell(*offsets: np.ndarray) -> np.ndarray:
    return np.exp(-sum(offset * offset for offset in offsets))


def _cheeks(face, x, y, z):
    return _bell((np.abs(x) - 40) / 16, (y + 38) / 16) * face.front


def _nose_tip(face, x, y, z):
    tip = face.landmarks[30]
    return _bell(x / 13, (y - tip[1]) / 13) * smoothstep(tip[2] - 26, tip[2] - 8, z) * face.front


def _nose(face, x, y, z):
    """The whole nose and a little beside it: large pores, oil."""
    tip, root = face.landmarks[30], face.landmarks[27]
    half = np.interp(y, [tip[1] - 12, tip[1], root[1]], [19, 17, 9])
    return (
        smoothstep(1.25, 0.75, np.abs(x) / half)
        * smoothstep(tip[1] - 22, tip[1] - 14, y)
        * _below(y, root[1])
        * face.front
    )


def _wings(face, x, y, z):
    """The groove around the wings of the nose, where the skin is always a little red."""
    wing = face.landmarks[35]
    return _bell((np.abs(x) - wing[0] - 3) / 4.0, (y - wing[1] - 2) / 6.5) * face.front


def _chin(face, x, y, z):
    return _bell(x / 19, (y - face.landmarks[8, 1] - 13) / 11) * face.front


def _forehead(face, x, y, z):
    return smoothstep(60, 36, np.abs(x)) * smoothstep(16, 30, y) * smoothstep(95, 70, y) * face.front


def _shine(face, x, y, z):
    """Where glands keep the skin oily: the T of forehead and nose, the chin, the tops of the cheeks."""
    forehead = _bell(x / 26, (y - 45) / 22)
    ridge = _bell(x / 8, np.maximum(np.abs(y + 12) - 20, 0) / 8)
    cheeks = 0.45 * _bell((np.abs(x) - 42) / 13, (y + 22) / 9)
    return np.clip(forehead + ridge + 0.6 * _chin(face, x, y, z) + cheeks, 0, 1) * face.front


def _ears(face, x, y, z):
    ear = face.landmarks[[0, 16]]
    return (
        smoothstep(0, 8, np.abs(x) - np.abs(ear[:, 0]).mean())
        * _bell((y - ear[:, 1].mean() + 25) / 40)
        * smoothstep(-60, -45, z)
    )


def _around_mouth(face, x, y, z):
    """Paler skin between nose, fold and chin."""
    mouth = face.landmarks[48:60, :2].mean(0)
    return _bell(x / 27, (y - mouth[1]) / 17) * smoothstep(0.5, -1.5, face.lips) * face.front


def _orbit(face, x, y, z):
    """Thin skin around the eye."""
    return np.exp(-np.maximum(face.eye, 0) / 6.5) * (face.eye < 40) * face.front


def _upper_lid(face, x, y, z):
    return smoothstep(12, 3, face.eye) * smoothstep(-1.5, 2.0, face.eye_y)


def _tear_trough(face, x, y, z):
    """From the inner corner of the eye down and outwards: blue-brown on thin or tired skin."""
    slant = face.eye_y + 12.5 + 0.12 * face.eye_x
    return _bell(slant / 5.5, (face.eye_x + 4) / 14) * (face.eye < 40)


def _eye_bag(face, x, y, z):
    return _bell((face.eye - 7.5) / 3.8, face.eye_x / 13) * (face.eye_y < 0) * (face.eye < 40)


def _lid_margin(face, x, y, z):
    return smoothstep(2.2, 0.2, face.eye)


def _lid_crease(face, x, y, z):
    return _bell((face.eye - 5.0) / 1.1) * smoothstep(1.5, 3.0, face.eye_y)


def _lash_roots(face, x, y, z):
    return smoothstep(1.7, 0.2, face.eye) * np.where(face.eye_y > 0, 1.0, 0.35)


def _jowls(face, x, y, z):
    """Beside the chin, where old cheeks come to rest."""
    corner = face.landmarks[54]
    return _bell((np.abs(x) - corner[0] - 10) / 9, (y - corner[1] + 24) / 10) * face.front


def _neck(face, x, y, z):
    return smoothstep(face.landmarks[8, 1] - 6, face.landmarks[8, 1] - 28, y)


def _pores(face, x, y, z):
    """Size of the pores: largest on the nose and the cheeks beside it, none on lips and lids."""
    inner = _bell(np.maximum(np.abs(x) - 22, 0) / 16, np.maximum(np.abs(y + 34) - 10, 0) / 14)
    size = np.maximum(_nose(face, x, y, z), 0.85 * inner)
    size = np.maximum(size, np.maximum(0.5 * _forehead(face, x, y, z), 0.6 * _chin(face, x, y, z)))
    return size * smoothstep(0.0, -2.0, face.lips) * smoothstep(5.0, 12.0, face.eye)


def _lip(face, x, y, z):
    """The lips and their surroundings, as far as the border may move."""
    return (face.lips > -4).astype(np.float32)


def _beard(face, x, y, z):
    """Where a beard grows: upper lip, cheeks below a line from the ear, chin, and the neck's front."""
    mouth, nose, chin = face.landmarks[48:60, 1].mean(), face.landmarks[33, 1], face.landmarks[8, 1]
    line = [nose - 3, nose - 3, nose - 12, mouth - 6, mouth + 10, -5.0]
    top = np.interp(np.abs(x), [0, 14, 26, 40, 60, 75], line)
    area = smoothstep(-3, 7, top - y) * smoothstep(chin - 52, chin - 25, y) * smoothstep(-16, 2, z)
    area *= smoothstep(0.5, -1.5, face.lips)
    return area * (1 - 0.5 * _bell((np.abs(x) - 20) / 7, (y - mouth + 14) / 7))  # little beside the chin


def _freckled(face, x, y, z):
    return _bell(np.maximum(np.abs(x) - 30, 0) / 22, (y + 20) / 24) * face.front


def _below(y, edge):
    return smoothstep(edge + 6, edge - 2, y)


REGIONS: dict[str, Callable[..., np.ndarray]] = {
    "cheeks": _cheeks,
    "nose tip": _nose_tip,
    "nose": _nose,
    "wings": _wings,
    "chin": _chin,
    "forehead": _forehead,
    "shine": _shine,
    "ears": _ears,
    "around the mouth": _around_mouth,
    "orbit": _orbit,
    "upper lid": _upper_lid,
    "tear trough": _tear_trough,
    "eye bag": _eye_bag,
    "lid margin": _lid_margin,
    "lid crease": _lid_crease,
    "lash roots": _lash_roots,
    "jowls": _jowls,
    "neck": _neck,
    "pores": _pores,
    "lip": _lip,
    "beard": _beard,
    "freckled": _freckled,
}
