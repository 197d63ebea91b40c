"""Identities of the procedural head: measurements drawn by group, and the smooth fields that carry them.

Every parameter is a deviation in mm (or per cent of size) of one anthropometric measurement from the pooled adult
average that the template shows. Group means follow Farkas et al., "International anthropometric study of facial
morphology in various ethnic groups/races", J. Craniofac. Surg. 16 (2005), rounded, and age trends follow Albert et al.,
"A review of the literature on the aging adult skull and face", Forensic Sci. Int. 172 (2007). They are population
averages of a rendering model: nothing here says anything about a person.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from data_gen.face_models import procedural_surface
from data_gen.face_models.procedural_expression import lid_table, turn_lids
from data_gen.face_models.procedural_mesh import EYE_OFFSETS
from data_gen.face_models.procedural_surface import smoothstep
from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream

INF = np.inf

# Parameter -> (standard deviation within a group, male minus female, change from 25 to 75 years).
PARAMETERS = {
    "head size": (2.0, 4.0, 0.0),  # per cent
    "face width": (4.0, 1.5, 0.0),
    "cranium width": (3.5, 0.0, 0.0),
    "cranium length": (4.0, 0.0, 0.0),
    "forehead height": (3.5, -1.0, 2.0),
    "forehead slope": (2.2, 3.0, 0.5),
    "brow ridge": (0.8, 2.0, 0.4),
    "brow height": (1.2, -2.2, -1.8),
    "eye spacing": (2.6, 0.4, 0.0),
    "eye depth": (1.1, -0.6, -1.2),
    "lid opening": (0.55, -0.5, -1.2),
    "lid tilt": (0.8, -0.4, -0.6),
    "lid fold": (0.6, -0.3, 0.9),
    "nose length": (2.6, 1.0, 2.2),
    "nose width": (2.0, 1.6, 1.2),
    "nose protrusion": (1.5, 0.8, 0.6),
    "nose bridge": (1.1, 0.9, 0.0),
    "nose hump": (0.8, 0.6, 0.3),
    "nose tip lift": (1.2, -0.8, -1.8),
    "nose tip width": (0.7, 0.4, 0.5),
    "lower face": (3.0, 2.6, -0.5),
    "philtrum": (0.9, 0.6, 1.2),
    "mouth width": (2.6, 1.2, 1.0),
    "upper lip": (0.9, -0.5, -1.7),
    "lower lip": (0.9, -0.4, -1.4),
    "lip protrusion": (1.0, 0.0, -1.4),
    "chin protrusion": (1.8, 1.2, 0.4),
    "chin width": (1.8, 2.8, 0.0),
    "cheekbone": (1.1, -0.6, 0.0),
    "cheek fullness": (2.0, -0.8, -1.4),
    "jaw width": (3.4, 4.2, 0.5),
    "neck width": (3.2, 9.0, 1.0),
    "under chin": (1.8, 0.3, 3.0),
    "ear size": (2.4, 1.5, 4.5),
    "ear angle": (2.0, 0.5, 0.5),
    "temple": (0.9, 0.0, -1.6),
    "sag": (0.35, 0.0, 2.4),
    "nasolabial fold": (0.35, 0.1, 1.5),
    "under eye": (0.4, 0.1, 1.6),
    "nose skew": (0.5, 0.0, 0.0),
    "mouth skew": (0.4, 0.0, 0.0),
}  # fmt: skip

# Deviations of the group averages from the pooled one; parameters not listed are at 0.
ETHNIC_MEANS = {
    "african": {"nose width": 5.5, "nose protrusion": -2.0, "nose bridge": -1.9, "nose tip width": 1.0, "upper lip": 1.9, "lower lip": 1.6,
                "lip protrusion": 2.4, "mouth width": 2.5, "eye spacing": 1.8, "forehead slope": -0.6, "chin protrusion": -1.4, "nose hump": -0.6},
    "east_asian": {"face width": 4.0, "nose width": 1.8, "nose protrusion": -2.2, "nose bridge": -1.5, "nose hump": -0.4, "eye spacing": 1.4,
                   "eye depth": 1.6, "lid opening": -0.9, "lid tilt": 1.2, "lid fold": 1.9, "brow ridge": -0.6, "cheekbone": 0.8,
                   "cranium length": -5.0, "cranium width": 3.0, "mouth width": -1.0, "nose length": -0.6},
    "european": {"nose width": -2.4, "nose protrusion": 1.2, "nose bridge": 1.0, "nose hump": 0.3, "upper lip": -0.6, "lower lip": -0.5,
                 "lip protrusion": -0.9, "brow ridge": 0.4, "eye depth": -0.7, "face width": -0.8, "chin protrusion": 0.8},
    "latin_american": {"nose width": 1.0, "face width": 1.0, "upper lip": 0.2, "cheekbone": 0.4, "nose bridge": -0.2, "lip protrusion": 0.3},
    "middle_eastern": {"nose width": -0.6, "nose protrusion": 2.0, "nose bridge": 1.3, "nose hump": 1.2, "nose length": 1.6, "nose tip lift": -1.0,
                       "brow ridge": 0.5, "eye depth": -0.5, "brow height": -0.6},
    "south_asian": {"nose width": 0.4, "nose protrusion": 0.3, "face width": -1.2, "lid opening": 0.5, "upper lip": 0.3, "lower lip": 0.3,
                    "lip protrusion": 0.4, "under eye": 0.3, "head size": -0.8},
}  # fmt: skip


def measurements(identity: Identity) -> dict[str, float]:
    """Deviations of one identity: group mean plus a normal draw cut off at two standard deviations."""
    rng = stream(identity.seed, "shape")
    male = 0.5 if GENDERS[identity.gender] == "male" else -0.5
    ageing = (identity.age - 48.0) / 50.0
    ethnic = ETHNIC_MEANS[ETHNICITIES[identity.ethnicity]]
    out = {}
    for name, (sd, by_gender, by_age) in PARAMETERS.items():
        z = rng.standard_normal(16)
        z = z[np.abs(z) <= 2][0]  # 16 draws all beyond two deviations: once in 1e21 parameters
        out[name] = float(ethnic.get(name, 0.0) + male * by_gender + ageing * by_age + sd * z)
    return out


# Fields that are sums of Gaussian neighbourhoods: (centre x, y, z, sigma x, y, z, push x, y, z per mm of deviation).
# A centre with x > 0 is mirrored.
_STROKES = {
    "brow ridge": ((22, 18, 86, 13, 6.5, 20, 0, 0, 1.0), (44, 16, 72, 9, 7, 18, 0.3, 0, 0.8), (0, 17, 90, 8, 7, 20, 0, 0, 0.4)),
    "brow height": ((30, 19, 84, 16, 7, 22, 0, 1.0, 0),),
    "eye spacing": ((31, 3, 76, 15, 17, 40, 0.5, 0, 0),),
    "eye depth": ((31, 0, 74, 14, 12, 40, 0, 0, 1.0),),
    "nose width": ((13, -41, 90, 9, 9, 16, 0.56, 0, 0),),
    "nose hump": ((0, -14, 97, 8, 8, 16, 0, 0, 1.0),),
    "nose bridge": ((0, -2, 90, 8, 12, 16, 0, 0, 1.0),),
    "nose tip lift": ((0, -40, 104, 10, 8, 18, 0, 1.0, 0.1),),
    "nose tip width": ((6, -36, 104, 6, 7, 12, 0.6, 0, 0.1),),
    "mouth width": ((27, -71, 80, 12, 12, 30, 0.6, 0, -0.15),),
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
    "sag": ((33, -92, 62, 10, 10, 16, 0.7, -0.8, 0.3), (38, -52, 70, 12, 12, 18, 0.2, -0.9, 0.0), (46, -32, 68, 12, 9, 18, 0, -0.4, -0.7),
            (0, -128, 38, 7, 14, 12, 0, -0.2, 0.9)),
    "nasolabial fold": ((23, -54, 84, 3.4, 11, 14, 0, 0, -0.8), (29, -48, 79, 5, 10, 14, 0, -0.3, 0.6), (28, -82, 77, 3.5, 7, 12, 0, 0, -0.5)),
    "under eye": ((29, -16.5, 80, 12, 2.6, 14, 0, 0, -0.7), (30, -11.5, 81, 10, 2.6, 14, 0, -0.2, 0.45)),
    "nose skew": ((0, -34, 103, 11, 14, 20, 1.0, 0, 0),),
    "mouth skew": ((0, -76, 90, 30, 18, 34, 0.9, 0.0, 0),),
}  # fmt: skip


def _side(p):
    return np.sign(p[:, 0]), np.abs(p[:, 0])


def _only(axis: int, value: np.ndarray) -> np.ndarray:
    out = np.zeros((len(value), 3))
    out[:, axis] = value
    return out


def _front(p):
    return smoothstep(p[:, 2], -20, 50)


def _ear_frame(p):
    """1 on the ear sheets, found by where they stand out of the head."""
    anchor = procedural_surface_ear()
    return np.exp(
        -0.5
        * (
            ((np.abs(p[:, 0]) - anchor[0] - 6) / 9) ** 2
            + ((p[:, 1] - anchor[1]) / 26) ** 2
            + ((p[:, 2] + 12) / 16) ** 2
        )
        ** 2
    )


def procedural_surface_ear():
    from data_gen.face_models.procedural_parts import EAR_ANCHOR

    return EAR_ANCHOR


_FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "head size": lambda p: 0.01 * (p - [0, -30, 0]) * smoothstep(p[:, 1], -260, -110)[:, None],
    "face width": lambda p: _only(0, p[:, 0] / 136 * np.exp(-0.5 * ((p[:, 1] + 22) / 42) ** 2)),
    "cranium width": lambda p: _only(0, p[:, 0] / 150 * smoothstep(p[:, 1], -10, 50)),
    "cranium length": lambda p: _only(2, -smoothstep(p[:, 2], 10, -90) * smoothstep(p[:, 1], -70, 10)),
    "forehead height": lambda p: _only(1, smoothstep(p[:, 1], 18, 100)),
    "forehead slope": lambda p: _only(2, -smoothstep(p[:, 1], 22, 85) * smoothstep(p[:, 2], 0, 60)),
    "nose length": lambda p: _only(1, -smoothstep(p[:, 1], 8, -52) * _front(p)),
    "lower face": lambda p: _only(1, -smoothstep(p[:, 1], -48, -112) * smoothstep(p[:, 2], -60, 60)),
    "philtrum": lambda p: _only(1, -smoothstep(p[:, 1], -50, -60) * np.exp(-0.5 * (p[:, 0] / 26) ** 2) * smoothstep(p[:, 1], -106, -84) * _front(p)),
    "nose protrusion": lambda p: _only(2, np.exp(-0.5 * (p[:, 0] / 9.5) ** 2) * smoothstep(p[:, 1], 6, -34) * smoothstep(p[:, 1], -54, -44)),
    "neck width": lambda p: _only(0, p[:, 0] / 104 * smoothstep(p[:, 1], -88, -125)) + _only(2, 0.25 * np.sign(p[:, 2] + 18) * smoothstep(p[:, 1], -105, -140) * smoothstep(np.abs(p[:, 2] + 18), 0, 30)),
    "ear size": lambda p: _ear_frame(p)[:, None] * (p - np.stack([_side(p)[0] * 69, 0 * p[:, 0] - 19, 0 * p[:, 0]], -1)) / 62,
    "ear angle": lambda p: _only(0, _side(p)[0] * _ear_frame(p) * smoothstep(p[:, 2], -2, -28)),
}  # fmt: skip


def _strokes(p: np.ndarray, strokes) -> np.ndarray:
    out = np.zeros_like(p)
    for x, y, z, sx, sy, sz, dx, dy, dz in strokes:
        for sign in (1, -1) if x else (1,):
            w = np.exp(-0.5 * (((p - [sign * x, y, z]) / [sx, sy, sz]) ** 2).sum(-1))
            out += w[:, None] * np.array([sign * dx, dy, dz])
    return out


class Identities:
    """Shape modes evaluated on one topology."""

    def __init__(self, template: np.ndarray, loops: tuple[np.ndarray, np.ndarray], parts: Mapping[str, np.ndarray]):
        eyes = np.stack([procedural_surface.EYE, procedural_surface.EYE * [-1, 1, 1]])
        self._base = np.concatenate([template, eyes])
        # Lids and eyeballs move as one with the eye, so that the lids keep sliding on a sphere.
        rigid = np.zeros((2, len(self._base)))
        for i, eye in enumerate(eyes):
            distance = np.linalg.norm((self._base - eye) / [1.0, 1.0, 1.6], axis=-1)
            rigid[i] = smoothstep(distance, 30.0, 16.5)
            for name in ("eye", "lash"):
                rigid[i, parts[f"{name}_{('left', 'right')[i]}"]] = 1.0
            rigid[i, loops[i][: EYE_OFFSETS.index(0.0) + 2]] = 1.0
        modes = []
        for name in self.linear():
            field = _FORMULAS[name](self._base) if name in _FORMULAS else _strokes(self._base, _STROKES[name])
            at_eyes = field[-2:]
            free = 1 - rigid.sum(0).clip(0, 1)
            modes.append(field * free[:, None] + rigid[0][:, None] * at_eyes[0] + rigid[1][:, None] * at_eyes[1])
        self._modes = np.stack(modes).reshape(len(modes), -1)
        self._loops = loops
        lashes = (parts["lash_left"], parts["lash_right"])
        self._lids = [lid_table(template, s, loop, lash) for s, loop, lash in zip((1, -1), loops, lashes, strict=True)]
        self._fold = _lid_fold(template, loops, parts)
        self.neutral = functools.lru_cache(maxsize=16)(self._neutral)

    @staticmethod
    def linear() -> list[str]:
        """Parameters that act by a field; the others act on the lids."""
        return [name for name in PARAMETERS if name in _FORMULAS or name in _STROKES]

    def _neutral(self, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
        """(V, 3) vertices and (2, 3) centres of the left and right eyeball, mm. Do not write into them."""
        amounts = measurements(identity)
        weights = np.array([amounts[name] for name in self.linear()])
        v = self._base + (weights @ self._modes).reshape(-1, 3)
        v, eyes = v[:-2], v[-2:]
        v += amounts["lid fold"] * self._fold
        for eye, loop, table in zip(eyes, self._loops, self._lids, strict=True):
            v = turn_lids(v, eye, loop, table, *_opening(amounts["lid opening"]))
        return v, eyes


def _opening(mm: float) -> tuple[float, float]:
    """Shares of the template's 11 mm that the upper and the lower lid travel to change the opening by `mm`."""
    return -0.7 * mm / 11.0, -0.3 * mm / 11.0


def _lid_fold(template: np.ndarray, loops: tuple[np.ndarray, np.ndarray], parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fullness of the skin above the lid: fills the hollow between lid and brow, per mm."""
    field = np.zeros_like(template)
    for x, y, sx, sy in ((33, 10.5, 11, 3.6), (20, 6.5, 5, 4.0)):
        for sign in (1, -1):
            w = np.exp(-0.5 * ((template[:, 0] - sign * x) / sx) ** 2 - 0.5 * ((template[:, 1] - y) / sy) ** 2)
            field[:, 2] += 0.8 * w * (template[:, 2] > 60)
            field[:, 1] -= 0.35 * w * (template[:, 2] > 60)
    for name in ("eye_left", "eye_right", "lash_left", "lash_right"):
        field[parts[name]] = 0
    margin = EYE_OFFSETS.index(0.0)
    for loop in loops:  # the margins stay on the eyeball
        field[loop[: margin + 1]] = 0
        field[loop[margin + 1]] *= 0.5
    return field
