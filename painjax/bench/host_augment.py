"""The usual augmentation of `painjax.data.augment` on the host, in NumPy and Pillow, to be compared with."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def augment(batch: dict[str, Any], config: ConfigDict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Flip, shift and scale (Pillow), colours and noise (NumPy); float32 in 0..1. `config` is `data.augment`."""
    names = [name for name in ("image", "neutral_image", "heatmap") if name in batch]
    made: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in range(len(batch["index"])):
        zoom, down, right = rng.uniform(-1, 1, 3)
        colour = rng.uniform(-1, 1, 6).astype(np.float32)
        for name in names:
            warped = _warp(
                batch[name][row],
                bool(batch["flip"][row]),
                float(zoom * config.scale),
                (float(down), float(right)),
                config.shift,
            )
            made[name].append(warped if name == "heatmap" else _jitter(warped, colour, config, rng))
    return {name: np.stack(pictures) for name, pictures in made.items()}


def _warp(pixels: np.ndarray, flip: bool, zoom: float, places: tuple[float, float], shift: float) -> np.ndarray:
    size, stretch = pixels.shape[0], float(np.exp(zoom))
    mirrored, (down, right) = (-stretch if flip else stretch), (shift * size * place for place in places)
    corner = size / 2
    affine = (mirrored, 0, corner - mirrored * corner + right, 0, stretch, corner - stretch * corner + down)
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    moved = np.asarray(picture.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
    return moved.reshape(pixels.shape).astype(np.float32) / 255


def _jitter(pixels: np.ndarray, draws: np.ndarray, config: ConfigDict, rng: np.random.Generator) -> np.ndarray:
    brightness, contrast, saturation, *tint = draws
    grey = (pixels @ _LUMA)[..., None]
    pixels = grey + (pixels - grey) * (1 + config.saturation * saturation)
    mean = grey.mean()
    pixels = mean + (pixels - mean) * (1 + config.contrast * contrast)
    pixels = pixels * (1 + config.tint * np.array(tint, np.float32)) + config.brightness * brightness
    noise = rng.integers(0, 256, pixels.shape, np.uint8).astype(np.float32)
    return np.clip(pixels + config.noise * (noise - 127.5) / 73.9, 0, 1)
