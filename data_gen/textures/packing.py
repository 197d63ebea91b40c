"""From values per texel to the 8-bit pictures of a `Texture`."""

import dataclasses

import numpy as np

from data_gen import srgb
from data_gen.textures.atlas import Atlas
from data_gen.textures.folds import FOLDS, Patch
from data_gen.textures.noise import smoothstep
from data_gen.textures.wrinkles import Relief

SRGB_STEPS = 4096  # on a square-root scale, which resolves darks as sRGB does: no 8-bit value is missed


def albedo(atlas: Atlas, color: np.ndarray, roughness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, T, 3) uint8 sRGB of linear RGB (N, 3), and (T, T) uint8 of a roughness (N,) in 0..1."""
    texels = np.empty((len(color), 4), np.uint8)
    scaled = np.sqrt(np.clip(color, 0, 1)) * np.float32(SRGB_STEPS - 1) + np.float32(0.5)
    texels[:, :3] = _SRGB[scaled.astype(np.uint16)]
    texels[:, 3] = np.clip(roughness, 0, 1) * np.float32(255) + np.float32(0.5)
    image = atlas.image(texels.view(np.uint32)[:, 0]).view(np.uint8).reshape(atlas.size, atlas.size, 4)
    return image[..., :3], image[..., 3]


def surface(atlas: Atlas, height: np.ndarray, subsurface: np.ndarray) -> np.ndarray:
    """(T, T, 3) uint8: slopes of a height in mm (N,), and subsurface scattering (N,) in 0..1."""
    out = np.empty((atlas.size, atlas.size, 3), np.uint8)
    everything = (slice(0, atlas.size),) * 2
    for channel, slope in enumerate(_slopes(atlas, height, everything)):
        out[..., channel] = _signed(slope)
    out[..., 2] = atlas.image((np.clip(subsurface, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8))
    return out


@dataclasses.dataclass(frozen=True)
class WrinkleFrame:
    """What the wrinkle maps of all people share.

    Attributes:
      box: rows and columns of the atlas within which there are folds.
      second: (rows, columns) float32 in that box, 1 where a texel belongs to the second layer of wrinkles, 0 first.
    """

    box: tuple[slice, slice]
    second: np.ndarray

    @classmethod
    def of(cls, atlas: Atlas, folds: dict[tuple[str, int], Patch]) -> "WrinkleFrame":
        """`folds`: `folds.patches` of the atlas' texels."""
        share = np.zeros((2, len(atlas.positions)), np.float32)
        for (name, _), patch in folds.items():
            share[FOLDS[name].layer, patch.index] += patch.inside
        creased = atlas.image(share.sum(0) > 0)
        rows, columns = np.flatnonzero(creased.any(1)), np.flatnonzero(creased.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        second = smoothstep(0.35, 0.65, share[1] / (share.sum(0) + np.float32(1e-6)))
        return cls(box, second[atlas.source[box]].astype(np.float32))


def wrinkles(atlas: Atlas, frame: WrinkleFrame, relief: Relief) -> np.ndarray:
    """(T, T, 4) uint8: slopes, darkness and layer of wrinkles at full depth."""
    out = np.full((atlas.size, atlas.size, 4), (128, 128, 0, 0), np.uint8)
    first, second = (_slopes(atlas, height, frame.box) for height in relief.height)
    for channel in range(2):
        out[(*frame.box, channel)] = _signed(first[channel] + (second[channel] - first[channel]) * frame.second)
    dark = np.clip(0.5 * relief.dark.sum(0), 0, 1) * np.float32(255)
    out[(*frame.box, 2)] = dark.astype(np.uint8)[atlas.source[frame.box]]
    out[(*frame.box, 3)] = frame.second * np.float32(255)
    return out


def _slopes(atlas: Atlas, height: np.ndarray, box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """How far the normal leans along u and along v for a height in mm: away from the rise. 0 at the picture's edge."""
    relief, per_mm = height.astype(np.float32, copy=False)[atlas.source[box]], atlas.texels_per_mm[box]
    right, up = np.zeros_like(relief), np.zeros_like(relief)
    np.subtract(relief[:, :-2], relief[:, 2:], out=right[:, 1:-1])
    np.subtract(relief[2:], relief[:-2], out=up[1:-1])  # v runs up, rows run down
    return right * per_mm * np.float32(0.5), up * per_mm * np.float32(0.5)


def _signed(slope: np.ndarray) -> np.ndarray:
    """-1..1 -> 0..255, flat at 128, which the shader reads as flat to half a step."""
    return (np.clip(slope, -1, 1) * np.float32(127.5) + np.float32(128)).astype(np.uint8)


_SRGB = np.round(255 * srgb.encoded((np.arange(SRGB_STEPS) / (SRGB_STEPS - 1)) ** 2)).astype(np.uint8)
