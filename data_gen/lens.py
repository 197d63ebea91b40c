"""What a camera does to a picture after the light is through: focus, exposure, white balance, vignette, noise.

All of it is slight, for the labels stay those of the scene: a digital camera on automatic, not a filter.
"""

import functools

import numpy as np
from PIL import Image, ImageFilter

from data_gen import srgb
from data_gen.scene import Lens

MIDDLE_GREY = 0.18  # linear; where `Lens.noise` is measured
CURVE_AT_MIDDLE_GREY = 1.195  # slope of the sRGB curve there
READ_NOISE = 0.25  # share of the noise at middle grey that is there in the dark too
GRAIN = 0.4  # weight of the pixels beside: a sensor's colours are interpolated, so that its noise is no salt and pepper


def develop(picture: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    """A finished picture as the lens and the sensor would have it.

    Args:
      picture: (S, S, 3) uint8 sRGB.
      lens: how strong each effect is.
      rng: of this frame, for the noise.

    Returns:
      (S, S, 3) uint8 sRGB; the same picture where the lens has no effect at all.
    """
    size = len(picture)
    if lens.defocus:
        blur = ImageFilter.GaussianBlur(lens.defocus / 1000 * size)
        picture = np.asarray(Image.fromarray(picture).filter(blur))
    gain = 2.0 ** (lens.exposure + np.array([lens.warmth / 2, lens.tint, -lens.warmth / 2]))
    light = np.empty((3, size, size), np.float32)  # colour by colour: numpy is fast on what lies side by side
    for channel in range(3):
        np.take(_LINEAR * np.float32(gain[channel]), picture[..., channel], out=light[channel], mode="clip")
    if lens.vignette:
        light *= 1 - np.float32(lens.vignette) * _corners(size)
    if lens.noise:
        light += _shot_noise(light[1], lens.noise, rng)
    return np.stack([_encoded(channel) for channel in light], -1)


def _shot_noise(light: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """(S, S) noise whose variance grows with the light, as that of counted photons does. It is alike in the three
    colours, for noise of colour is what cameras take out."""
    n = len(light)
    white = rng.standard_normal((n + 1, n + 1), np.float32)
    grain = white[1:, 1:] + np.float32(GRAIN) * (white[1:, :-1] + white[:-1, 1:])
    grain /= np.float32(np.sqrt(1 + 2 * GRAIN**2))
    photons = np.float32((1 - READ_NOISE**2) / MIDDLE_GREY) * light
    return np.float32(strength / CURVE_AT_MIDDLE_GREY) * np.sqrt(np.float32(READ_NOISE**2) + photons) * grain


@functools.cache
def _corners(size: int) -> np.ndarray:
    """(S, S) 0 in the middle, 1 in the corners: squared distance."""
    along = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1) ** 2
    return (along[:, None] + along[None, :]) / 2


def _encoded(light: np.ndarray) -> np.ndarray:
    """Linear -> 8-bit sRGB, through a table fine enough for the dark end."""
    index = np.sqrt(np.clip(light, 0, 1)) * np.float32(len(_CURVE) - 1) + np.float32(0.5)
    return np.take(_CURVE, index.astype(np.uint16), mode="clip")


_LINEAR = srgb.decoded(np.arange(256) / 255).astype(np.float32)
_CURVE = np.round(255 * srgb.encoded(np.linspace(0, 1, 4096) ** 2)).astype(np.uint8)  # evenly in the square root
