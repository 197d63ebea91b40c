"""Skin: pigment and blood, their variation over the face, lips, creases, stubble.

Colour is linear reflectance. Melanin moves along a curve of measured-looking skin tones from very light to very dark
(the range of the individual typology angle, Chardon et al. 1991); haemoglobin takes green and blue away.
"""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.noise import noise, smoothstep

# linear RGB reflectance from the lightest to the darkest skin; a melanin level is a place on this curve
TONES = np.array(
    [
        (0.700, 0.470, 0.360),
        (0.640, 0.405, 0.290),
        (0.565, 0.340, 0.230),
        (0.440, 0.250, 0.157),
        (0.300, 0.152, 0.082),
        (0.185, 0.087, 0.045),
        (0.105, 0.048, 0.026),
    ]
)
MELANIN = {  # mean and spread of a group's melanin level
    "african": (4.9, 0.65),
    "east_asian": (1.35, 0.45),
    "european": (0.75, 0.45),
    "latin_american": (2.3, 0.6),
    "middle_eastern": (2.15, 0.5),
    "south_asian": (3.2, 0.7),
}
BLOOD = np.array([0.10, 0.62, 0.50])  # absorption of haemoglobin in R, G, B


@dataclasses.dataclass
class Layers:
    """What skin painters add up, per texel: melanin level, blood, height in mm, and roughness 0..1."""

    melanin: np.ndarray
    blood: np.ndarray
    height: np.ndarray
    roughness: np.ndarray

    def color(self) -> np.ndarray:
        """(N, 3) linear RGB."""
        level = np.clip(self.melanin, 0, len(TONES) - 1.001)
        low = level.astype(np.int32)
        part = (level - low)[:, None].astype(np.float32)
        tones = np.log(TONES).astype(np.float32)
        return np.exp(tones[low] * (1 - part) + tones[low + 1] * part - self.blood[:, None] * BLOOD.astype(np.float32))


def skin(identity: Identity, face: Anatomy) -> Layers:
    """Skin of the whole head and neck, without hair."""
    rng = stream(identity.seed, "skin")
    old = float(smoothstep(30.0, 75.0, np.float64(identity.age)))
    male = GENDERS[identity.gender] == "male"
    mean, spread = MELANIN[ETHNICITIES[identity.ethnicity]]
    tone = float(np.clip(mean + spread * np.clip(rng.normal(), -2, 2) + 0.15 * male, 0.0, 5.9))
    fair = float(np.clip(1.2 - tone / 4.0, 0.1, 1.0))  # how much blood shows through
    x, y, z = face.points.T

    broad, middle = noise(rng, face.points, 38.0), noise(rng, face.points, 11.0)
    fine, grain = noise(rng, face.points, 3.5), rng.standard_normal(len(x), dtype=np.float32)
    layers = Layers(
        melanin=tone + 0.10 * broad + (0.03 + 0.03 * old) * middle + 0.035 * fine + 0.03 * grain,
        blood=0.05
        + fair * ((0.02 + 0.03 * old) * middle + 0.03 * np.abs(fine) + 0.02 * grain)
        + rng.uniform(-0.04, 0.08),
        height=0.02 * fine + 0.015 * grain,
        roughness=np.full(len(x), 0.56, np.float32) - 0.02 * grain,
    )
    _flush(rng, layers, face, fair * rng.uniform(0.7, 1.3), old)
    _around_the_eyes(layers, face, tone, old * rng.uniform(0.6, 1.2) + rng.uniform(0.1, 0.5))
    _lips(rng, layers, face, tone, male, old)
    _marks(rng, layers, face, tone, identity.age)
    if male:
        _stubble(rng, layers, face, tone, float(rng.choice([0.15, 0.4, 0.75, 1.3], p=[0.4, 0.3, 0.2, 0.1])))
    return layers


def _flush(rng, layers: Layers, face: Anatomy, strength: float, old: float) -> None:
    """Blood near the surface: cheeks, nose, chin, ears; oil on the forehead, nose and chin."""
    x, y, z = face.points.T
    nose, chin = face.landmarks[30], face.landmarks[8]
    cheek = np.exp(-(((np.abs(x) - 40) / 17) ** 2) - ((y + 38) / 17) ** 2) * face.front
    tip = np.exp(-((x / 13) ** 2) - ((y - nose[1]) / 15) ** 2) * smoothstep(nose[2] - 26, nose[2] - 8, z)
    jaw = np.exp(-((x / 20) ** 2) - ((y - chin[1] - 12) / 12) ** 2) * face.front
    ear_y = face.landmarks[[0, 16], 1].mean()
    ears = smoothstep(0, 8, np.abs(x) - np.abs(face.landmarks[[0, 16], 0]).mean()) * np.exp(
        -(((y - ear_y + 25) / 40) ** 2)
    )
    ears = ears * smoothstep(-60, -45, z)
    mottle = 1 + 0.2 * noise(rng, face.points, 7.0)
    layers.blood += strength * (0.26 * cheek + (0.22 + 0.10 * old) * tip + 0.12 * jaw + 0.32 * ears) * mottle
    oily = np.exp(-((x / 24) ** 2) - ((y - 45) / 22) ** 2) * face.front + tip + 0.6 * jaw
    layers.roughness -= (0.13 - 0.05 * old) * np.clip(oily, 0, 1)


def _around_the_eyes(layers: Layers, face: Anatomy, tone: float, tired: float) -> None:
    """Thin skin: darker and bluer lids and inner corners, redder lid margins, shadowed lash line."""
    ring = np.exp(-np.maximum(face.eye, 0) / 6.0) * (face.eye < 60)
    below = np.exp(-(((face.eye_y + 13) / 7) ** 2) - ((face.eye_x + 3) / 16) ** 2)
    lid = smoothstep(12, 3, face.eye) * (face.eye_y > 0)
    layers.melanin += (0.28 + 0.06 * tone) * (0.6 * ring + 0.5 * lid + tired * below) * 0.9
    layers.blood += 0.16 * ring + 0.22 * tired * below + 0.35 * smoothstep(2.2, 0.2, face.eye)
    crease = np.exp(-(((face.eye - 5.0) / 1.1) ** 2)) * (face.eye_y > 2)
    layers.melanin += 0.45 * crease
    lash = smoothstep(1.7, 0.2, face.eye) * np.where(face.eye_y > 0, 1.0, 0.35)
    layers.melanin += 2.6 * lash
    layers.blood += 0.5 * lash


def _lips(rng, layers: Layers, face: Anatomy, tone: float, male: bool, old: float) -> None:
    """Vermilion: bloodier than skin, thin dark meeting line, vertical wrinkles, moist."""
    soft = 0.5 * noise(rng, face.points, 4.0)
    lip = smoothstep(-0.6, 1.6, face.lips + soft)
    strength = (0.62 if male else 0.85) * rng.uniform(0.8, 1.2) * (1 - 0.35 * old)
    layers.blood += lip * strength * np.where(face.upper_lip, 1.15, 1.0)
    layers.melanin += lip * (0.25 + 0.10 * max(tone - 2.0, 0.0)) * np.where(face.upper_lip, 1.2, 0.7)
    ridges = noise(rng, np.stack([face.points[:, 0] * 2.2, face.points[:, 1] * 0.35], -1), 2.5)
    layers.height += lip * 0.05 * ridges
    layers.blood += lip * 0.04 * ridges
    line = np.exp(-((face.mouth_line / 0.9) ** 2)) * smoothstep(-1.5, 1.0, face.lips)
    layers.melanin += 1.3 * line
    layers.blood += 0.6 * line
    layers.roughness -= 0.17 * lip


def _marks(rng, layers: Layers, face: Anatomy, tone: float, age: float) -> None:
    """Freckles on fair skin, moles, and age spots."""
    freckled = rng.random() < (0.35 if tone < 1.2 else 0.08 if tone < 2.2 else 0.0)
    if freckled:
        spots = smoothstep(1.0, 1.8, noise(rng, face.points, 2.6))
        where = np.exp(-(((face.points[:, 1] + 22) / 26) ** 2)) * face.front
        layers.melanin += rng.uniform(0.3, 0.8) * spots * where
    count = rng.poisson(3 + age / 14)
    old = float(smoothstep(45.0, 80.0, np.float64(age)))
    on_face = np.flatnonzero((face.front > 0.3) | (face.points[:, 1] < -100))
    for center in face.points[rng.choice(on_face, count)]:
        spot = rng.random() < 0.7 * old
        radius, depth = (
            (rng.uniform(1.5, 4.0), rng.uniform(0.3, 0.7)) if spot else (rng.uniform(0.5, 1.3), rng.uniform(0.8, 2.2))
        )
        near = np.flatnonzero((np.abs(face.points - center) < 3 * radius).all(-1))
        away = np.linalg.norm(face.points[near] - center, axis=-1)
        layers.melanin[near] += depth * smoothstep(1.2 * radius, 0.5 * radius, away)


def _stubble(rng, layers: Layers, face: Anatomy, tone: float, amount: float) -> None:
    """Shaved or short beard: a bluish-brown shadow made of dots."""
    x, y, z = face.points.T
    mouth_y, nose_y = face.landmarks[48:60, 1].mean(), face.landmarks[33, 1]
    chin_y = face.landmarks[8, 1]
    top = np.interp(
        np.abs(x), [0, 14, 26, 40, 60, 75], [nose_y - 3, nose_y - 3, nose_y - 12, mouth_y - 6, mouth_y + 10, -5]
    )
    edge = 5 * noise(rng, face.points, 9.0)
    area = (
        smoothstep(-3, 7, top - y + edge)
        * smoothstep(chin_y - 52, chin_y - 25, y + edge)
        * smoothstep(-16, 2, z + 0.5 * edge)
    )
    area *= 1 - smoothstep(-1.5, 0.5, face.lips)
    bare = np.exp(-(((np.abs(x) - 20) / 7) ** 2) - ((y - mouth_y + 14) / 7) ** 2)  # beside the chin grows little
    area *= 1 - 0.5 * bare
    dots = np.clip(0.55 + 0.6 * rng.standard_normal(len(x), dtype=np.float32), 0, 2)
    layers.melanin += amount * area * dots * (0.75 if tone < 4 else 0.4)
    layers.blood -= 0.25 * min(amount, 1.0) * area * (0.5 + 0.5 * dots)
    layers.roughness += 0.08 * area * min(amount, 1.0)
