"""Light of a scene as the shaders want it: directions in the world, linear colours, ambient from above and below."""

import dataclasses

import numpy as np

from data_gen.camera import Camera
from data_gen.scene import Light

FILL_AZIMUTH, FILL_ELEVATION = 85.0, 5.0  # degrees: beside the key, low
RIM_AZIMUTH, RIM_ELEVATION = 150.0, 35.0  # behind the head, opposite the key
WHITE_BALANCE_KELVIN = 5500.0
WHITE_BALANCE = 0.76  # share of a light's colour cast that the camera removes
GROUND = (1.0, 0.93, 0.86)  # what floors and clothes do to the light from below

LUMINANCE = (0.21, 0.72, 0.07)  # of linear sRGB
MEAN_LIGHT = 1.0  # what the camera exposes for: mean light on the side of a head that it sees, 1 being white
METERED = 0.9  # share of a deviation that the exposure takes back: dim places stay a little dim


@dataclasses.dataclass(frozen=True)
class Rig:
    """`directions` (3, 3) unit, towards key, fill and rim light, world frame; `colors` (3, 3), `above` and `below`
    (3,) linear RGB."""

    directions: np.ndarray
    colors: np.ndarray
    above: np.ndarray
    below: np.ndarray


def rig(light: Light, camera: Camera) -> Rig:
    """Key, fill from the other side, rim from behind, and light from all around, exposed for this camera.

    The lamps stand still in the world, whichever camera looks; each camera meters the side of the head it sees, so that
    no face is under- or overexposed.
    """
    side = 1.0 if light.key_azimuth >= 0 else -1.0
    directions = np.array(
        [
            _direction(light.key_azimuth, light.key_elevation),
            _direction(light.key_azimuth - side * FILL_AZIMUTH, FILL_ELEVATION),
            _direction(-side * RIM_AZIMUTH, RIM_ELEVATION),
        ]
    )
    key, others = color_of(light.kelvin), color_of(light.fill_kelvin)
    colors = np.array([light.key * key, 0.55 * light.fill * others, 0.6 * light.rim * others])
    above = 0.75 * light.ambient * others
    below = 0.45 * light.ambient * others * GROUND
    lit = colors * _lit_share(directions @ camera.pose[:3, 2])[:, None]  # [3, 3]
    metered = float((lit.sum(0) + (above + below) / 2) @ LUMINANCE)
    aperture = (MEAN_LIGHT / metered) ** METERED
    return Rig(directions, aperture * colors, aperture * above, aperture * below)


def color_of(kelvin: float) -> np.ndarray:
    """(3,) linear RGB of a black body (Planck at 600, 550, 450 nm) after the camera's white balance; green is 1."""
    c2, wavelength = 1.4388e-2, np.array([600e-9, 550e-9, 450e-9])
    ratio = np.expm1(c2 / (wavelength * WHITE_BALANCE_KELVIN)) / np.expm1(c2 / (wavelength * kelvin))
    return (ratio / ratio[1]) ** (1 - WHITE_BALANCE)


def _lit_share(cosine: np.ndarray) -> np.ndarray:
    """Mean cosine law over the half of a sphere that the camera sees, the light standing at this cosine from it:
    Lambert's phase function."""
    angle = np.arccos(np.clip(cosine, -1, 1))
    return 2 / (3 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector in the world; degrees, positive azimuth to the subject's left, 0 straight ahead of the face."""
    azimuth, elevation = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
