"""Skin tone: melanin, blood and carotene of a person, the colour they give, and the individual typology angle.

Melanin moves along a curve of skin tones from very light to very dark; the haemoglobin of the blood takes green and
blue away, carotene blue. How light people are is drawn as an individual typology angle (ITA; Chardon, Cretois &
Hourseau, "Skin colour typology and suntanning pathways", Int. J. Cosmet. Sci. 13, 1991), the measure that dermatology
uses: ITA = atan((L* - 50) / b*) in degrees; above 55 very light, 41 light, 28 intermediate, 10 tan, -30 brown.
`python -m data_gen.textures.ita_table` measures it on painted faces.
"""

import dataclasses

import numpy as np

from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream

# Linear RGB reflectance from the lightest to the darkest skin; a melanin level is a place on this curve. CIE L* from 77
# to 29, b* from 15 over 22 back to 16, as measured skin has it: yellowest in the middle.
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
DARKEST = len(TONES) - 1.001  # melanin level
BLOOD = np.array([0.10, 0.62, 0.50])  # absorbance of a unit of haemoglobin in R, G, B
CAROTENE = np.array([0.01, 0.06, 0.40])
# Mean and deviation of the ITA of facial skin, degrees. Of the order of the means in Del Bino & Bernerd, Br. J.
# Dermatol. 169 (2013), and Xiao et al., Skin Res. Technol. 23 (2017), from memory; spreads are wide, as theirs are.
ITA = {
    "african": (-27.0, 17.0),
    "east_asian": (37.0, 8.0),
    "european": (43.0, 9.0),
    "latin_american": (25.0, 13.0),
    "middle_eastern": (30.0, 10.0),
    "south_asian": (8.0, 16.0),
}
SPREAD = 2.2  # standard deviations within which people are drawn
MALE_ITA = -3.0  # men are a little darker than women of the same people, and bloodier
CURVE_STEPS = 512
XYZ = np.array(
    [(0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)]
)


@dataclasses.dataclass(frozen=True)
class Tone:
    """A person's base colour: `melanin` a place on `TONES`, `blood` and `carotene` absorbances.

    `fair` 0.1..1 says how much of the blood's own unevenness shows through.
    """

    melanin: float
    blood: float
    carotene: float
    fair: float


def tone(identity: Identity) -> Tone:
    """The base colour of an identity."""
    rng = stream(identity.seed, "tone")
    group = ETHNICITIES[identity.ethnicity]
    male = GENDERS[identity.gender] == "male"
    mean, deviation = ITA[group]
    ita = mean + deviation * np.clip(rng.normal(), -SPREAD, SPREAD) + MALE_ITA * (male - 0.5)
    blood = float(np.clip(rng.normal(0.15 + 0.03 * male, 0.05), 0.04, 0.3))
    carotene = float(np.clip(rng.normal(0.18 if group == "east_asian" else 0.08, 0.08), 0.0, 0.45))
    levels = np.linspace(0, DARKEST, CURVE_STEPS)
    angles = typology_angle(reflectance(levels, np.full(CURVE_STEPS, blood), carotene))
    level = float(np.interp(-ita, -angles, levels))
    return Tone(level, blood, carotene, fair=float(np.clip(1.15 - level / 4.5, 0.12, 1.0)))


def reflectance(melanin: np.ndarray, blood: np.ndarray, carotene: float) -> np.ndarray:
    """(N, 3) float32 linear RGB of skin with a melanin level and a blood absorbance (N,) each."""
    place = np.clip(melanin, 0, DARKEST) * np.float32((CURVE_STEPS - 1) / DARKEST)
    absorbed = np.asarray(blood, np.float32)[:, None] * BLOOD.astype(np.float32)
    return np.exp(_curve(carotene)[place.astype(np.int32)] - absorbed)


def _curve(carotene: float) -> np.ndarray:
    """(CURVE_STEPS, 3) float32: logarithm of the tones, finely spaced."""
    levels = np.linspace(0, DARKEST, CURVE_STEPS)
    curve = [np.interp(levels, np.arange(len(TONES)), np.log(tones)) for tones in TONES.T]
    return (np.stack(curve, -1) - carotene * CAROTENE).astype(np.float32)


def lab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) CIE L*a*b* (D65) of linear sRGB."""
    t = np.einsum("...c,xc->...x", rgb, XYZ) / (0.95047, 1.0, 1.08883)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def typology_angle(rgb: np.ndarray) -> np.ndarray:
    """(...,) individual typology angle in degrees of linear sRGB (..., 3)."""
    lightness, _, yellow = np.moveaxis(lab(rgb), -1, 0)
    return np.degrees(np.arctan2(lightness - 50, yellow))
