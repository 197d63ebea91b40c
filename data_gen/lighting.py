"""Light of a scene as the shaders want it: directions in the world, linear colours, ambient from above and below."""

import dataclasses

import numpy as np

from data_gen.camera import Camera
from data_gen.scene import Light

FILL_AZIMUTH, FILL_ELEVATION = 85.0, 5.0  # degrees: beside the key, low
BACK_AZIMUTH, BACK_ELEVATION = 150.0, 35.0  # a weak light behind the head, opposite the key
WHITE_BALANCE_KELVIN = 5500.0
WHITE_BALANCE = 0.6  # share of a light's colour cast that the camera removes


@dataclasses.dataclass(frozen=True)
class Rig:
    """`directions` (3, 3) unit, towards key, fill and back light, world frame; `colors` (3, 3), `above` and `below`
    (3,) linear RGB."""

    directions: np.ndarray
    colors: np.ndarray
    above: np.ndarray
    below: np.ndarray


def rig(light: Light, camera: Camera) -> Rig:
    """A portrait rig: coloured key, neutral fill from the other side, weak back light, ceiling brighter than floor."""
    side = 1.0 if light.key_azimuth >= 0 else -1.0
    directions = [
        _direction(light.key_azimuth, light.key_elevation),
        _direction(light.key_azimuth - side * FILL_AZIMUTH, FILL_ELEVATION),
        _direction(-side * BACK_AZIMUTH, BACK_ELEVATION),
    ]
    tint, white = color_of(light.kelvin), np.ones(3)
    return Rig(
        directions=np.array(directions) @ camera.pose[:3, :3].T,
        colors=np.array([light.key * tint, 0.55 * light.fill * white, 0.35 * light.fill * white]),
        above=0.75 * light.ambient * (0.5 + 0.5 * tint),
        below=0.45 * light.ambient * tint * (1.0, 0.93, 0.86),
    )


def color_of(kelvin: float) -> np.ndarray:
    """(3,) linear RGB of a black body (Planck at 600, 550, 450 nm) after the camera's white balance; green is 1."""
    c2, wavelength = 1.4388e-2, np.array([600e-9, 550e-9, 450e-9])
    ratio = np.expm1(c2 / (wavelength * WHITE_BALANCE_KELVIN)) / np.expm1(c2 / (wavelength * kelvin))
    return (ratio / ratio[1]) ** (1 - WHITE_BALANCE)


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector in the camera's frame; degrees, positive azimuth to the right of the picture, 0 behind the camera."""
    azimuth, elevation = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
