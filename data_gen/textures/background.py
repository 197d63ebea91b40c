"""Backgrounds: a room or a view out of doors, far out of focus."""

import numpy as np
import scipy.ndimage

from data_gen.scene import stream

WORK = 48  # painted small and enlarged: nothing in it is sharp


def background(seed: int, size: int) -> np.ndarray:
    """(S, S, 3) uint8 sRGB: a wall with a lamp, a window, furniture; or sky, foliage and ground."""
    rng = stream(seed, "background")
    y, x = np.mgrid[0:WORK, 0:WORK] / (WORK - 1)
    picture = _indoors(rng, x, y) if rng.random() < 0.7 else _outdoors(rng, x, y)
    picture = scipy.ndimage.gaussian_filter(picture, (rng.uniform(1.2, 2.6),) * 2 + (0,))
    picture = scipy.ndimage.zoom(picture, (size / WORK, size / WORK, 1), order=1, grid_mode=True, mode="nearest")
    picture = scipy.ndimage.gaussian_filter(picture, (size / WORK,) * 2 + (0,))
    vignette = 1 - 0.25 * (((np.mgrid[0:size, 0:size] + 0.5) / size - 0.5) ** 2).sum(0)
    grain = rng.normal(0, 0.004, (size, size, 1))
    return np.round(np.clip(picture * vignette[..., None] + grain, 0, 1) * 255).astype(np.uint8)


def _indoors(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wall = rng.uniform(0.35, 0.8) * (1 + rng.uniform(-0.12, 0.12, 3))
    picture = wall * (1 + rng.uniform(-0.25, 0.25) * (x - 0.5) + rng.uniform(-0.1, 0.2) * (0.5 - y))[..., None]
    if rng.random() < 0.5:  # the next wall, round a corner
        picture[x > rng.uniform(0.55, 0.95)] *= rng.uniform(0.7, 0.95)
    if rng.random() < 0.5:  # a window
        left, top, width = rng.uniform(-0.2, 0.8), rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.4)
        inside = (x > left) & (x < left + width) & (y > top) & (y < top + rng.uniform(0.4, 0.7))
        picture[inside] = rng.uniform(0.85, 1.1) * np.array([0.94, 0.98, 1.0])
    for _ in range(rng.integers(2, 7)):  # frames, shelves, curtains, doors
        left, top = rng.uniform(-0.2, 1.0), rng.uniform(-0.1, 0.9)
        inside = (x > left) & (x < left + rng.uniform(0.05, 0.35)) & (y > top) & (y < top + rng.uniform(0.1, 0.8))
        picture[inside] = rng.uniform(0.08, 0.75) * (1 + rng.uniform(-0.25, 0.25, 3))
    if rng.random() < 0.4:  # a lamp
        away = ((x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0, 0.6)) ** 2) / rng.uniform(0.01, 0.04)
        picture = picture + 0.5 * np.exp(-away)[..., None] * np.array([1.0, 0.86, 0.62])
    return picture


def _outdoors(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    horizon = rng.uniform(0.3, 0.7)
    sky = rng.uniform(0.7, 1.0) * np.array([0.80, 0.90, 1.0]) * (1 - 0.15 * y)[..., None]
    leaves = scipy.ndimage.gaussian_filter(rng.normal(0, 1, x.shape), 1.0)
    green = np.array([0.30, 0.40, 0.20]) * rng.uniform(0.5, 1.2) * np.exp(1.2 * leaves)[..., None]
    ground = np.array([0.50, 0.47, 0.42]) * rng.uniform(0.6, 1.2) * np.ones((*x.shape, 1))
    edge = horizon + 0.25 * scipy.ndimage.gaussian_filter(rng.normal(0, 1, x.shape[1]), 3.0)[None, :]
    picture = np.where((y > edge)[..., None], green, sky)
    return np.where((y > max(horizon + 0.2, 0.75))[..., None], ground, picture)
