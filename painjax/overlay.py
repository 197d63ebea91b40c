"""Pictures of what a model sees: heat laid over a face."""

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

COLOURS = "inferno"  # perceptually even, and readable for colour-blind eyes


def heat_picture(heat: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Heat 0..1 in colours, black where there is none."""
    return (matplotlib.colormaps[COLOURS](np.clip(heat, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def lay_over(
    image: UInt8[np.ndarray, "H W 3"], heat: Float[np.ndarray, "H W"], *, opacity: float = 0.75
) -> UInt8[np.ndarray, "H W 3"]:
    """The image in grey under the heat (0..1): the hotter, the more it hides; where nothing is, the face shows."""
    heat = np.clip(heat, 0, 1)
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float64)[..., None]  # [H, W, 1]
    cover = opacity * np.sqrt(heat)[..., None]  # the root keeps faint heat visible
    return (grey * (1 - cover) + heat_picture(heat) * cover).round().astype(np.uint8)


def spread(values: Float[np.ndarray, "P"], size: int) -> Float[np.ndarray, "S S"]:
    """One value for each patch of a square grid -> a smooth map of `size` pixels whose largest value is 1."""
    side = round(len(values) ** 0.5)
    if side * side != len(values):
        raise ValueError(f"{len(values)} patches are no square grid.")
    grid = np.asarray(values, np.float32).reshape(side, side)
    grid = grid / max(float(grid.max()), 1e-12)
    smooth = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, np.float64), 0, 1)
