"""Projection: pictures onto the UV atlas of the head that their cameras saw, blended into the person's base skin.

Eyes, teeth, mouth, clothes and scalp keep what the procedural painter gave them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from data_gen import camera as cameras
from data_gen.diffusion import delighting
from data_gen.diffusion.canvas import Canvas
from data_gen.diffusion.sitting import Sitting, camera
from data_gen.textures import Texture, packing
from data_gen.textures.atlas import vertex_normals
from data_gen.textures.noise import smoothstep

DEPTH_MM = 1.5  # a texel so far behind what the camera saw there is still what it saw
JUMP = 5.0  # pixels by which depth differs within three: more than a slope that is trusted
GRAZING = 0.22, 0.50  # cosine to the camera: unseen below, fully trusted above
MARGIN = 0.002, 0.009  # shares of the side, from the nearest pixel that is no skin: painted edges are not exact
FITTED = 40_000  # texels that the light is fitted to: more would not change it
DARK = 1e-3  # linear; below this a ratio of colours says nothing
SHADE = 0.3  # hair's shade is not divided out beyond this
BESIDE_MM = 4.0  # of what is no skin: not trusted either
STRANGE = 0.35, 0.7  # log lightness by which what lies outside the face may differ from its base: else it is no skin


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a camera saw of N texels: `color` (N, 3) float32 linear RGB and `weight` (N,) float32, 0 unseen, 1 plain."""

    color: np.ndarray
    weight: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Skin:
    """What a picture adds to the skin: `color` (N, 3) without light, `weight` (N,) 0..1, and (N, 3) log factor that the
    skin below takes on to match it, `carried`."""

    color: np.ndarray
    weight: np.ndarray
    carried: np.ndarray


def project(
    portrait: np.ndarray,
    sitting: Sitting,
    canvas: Canvas,
    base: Texture,
    neutral: np.ndarray,
    sides: Sequence[tuple[np.ndarray, Sitting]] = (),
) -> np.ndarray | None:
    """(T, T, 3) uint8 sRGB albedo of a person whose portrait was painted; None if it shows no plain skin.

    Args:
      portrait: (S, S, 3) uint8.
      sitting: of the person, of the portrait's size.
      base: their procedural texture.
      neutral: (V, 3) mm, their face at rest.
      sides: pictures from the side with what their cameras saw: they fill in what those before them hardly show.
    """
    below = linear(base.albedo.reshape(-1, 3)[canvas.places])  # [N, 3]
    bare = base.surface[..., 2].reshape(-1)[canvas.places] / np.float32(255)  # neither hair nor cloth
    shade = np.ones(len(neutral), np.float32) if base.shade is None else base.shade  # of hair, on the portrait alone
    front = _skin(portrait, sitting, canvas, below, bare, neutral, np.maximum(canvas.on_texels(shade), SHADE))
    if front is None:
        return None
    color, weight, matched = front.color, front.weight, below * np.exp(front.carried * bare[:, None])
    for picture, beside in sides:
        side = _skin(picture, beside, canvas, _mixed(matched, color, weight), bare, neutral, np.ones_like(bare))
        if side is not None:
            color, weight = _joined(color, weight, side.color, side.weight)
    # what one side hides, the other may show
    color, weight = _joined(color, weight, color[canvas.mirror], weight[canvas.mirror] * np.maximum(canvas.face, bare))
    return _painted(base, canvas, _mixed(matched, color, weight))


def _skin(
    picture: np.ndarray,
    sitting: Sitting,
    canvas: Canvas,
    below: np.ndarray,
    bare: np.ndarray,
    neutral: np.ndarray,
    shade: np.ndarray,
) -> _Skin | None:
    """What a picture shows of a skin that had the colours `below` (N, 3) before; None if it shows no plain skin."""
    view, normals = camera(neutral, canvas.base.topology, len(picture), sitting.yaw), _normals(neutral, canvas)
    seen = look(linear(picture), sitting, view, canvas.on_texels(neutral), normals)
    plain = seen.weight * bare * canvas.plain
    if plain.sum() < 1:
        return None
    color, carried = _delit(seen.color / shade[:, None], below, normals, plain, canvas)
    likeness = smoothstep(*STRANGE[::-1], np.abs(_log_ratio(color, below) @ delighting.LUMINANCE))
    likeness = _shrunk(np.where(seen.weight > 0, likeness, 1), canvas)
    return _Skin(color, seen.weight * np.maximum(canvas.face, bare * canvas.above_jaw * likeness), carried)


def _joined(
    color: np.ndarray, weight: np.ndarray, other: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) known by `weight` (N,) with others, of weight `share`, where the first leave room; and both's."""
    room = (1 - weight) * share
    both = np.maximum(weight + room, 1e-6)
    return _mixed(color, other, room / both), both


def look(portrait: np.ndarray, sitting: Sitting, view: cameras.Camera, points: np.ndarray, normals: np.ndarray) -> Seen:
    """What of surface points (N, 3) mm with unit normals (N, 3) a portrait (S, S, 3), linear, shows."""
    xy, depth = cameras.project(view, points.astype(np.float64))
    at = (xy - 0.5).T[::-1]  # rows, columns; pixel centres at integers
    color = np.stack([_sampled(portrait[..., i], at, order=1) for i in range(3)], -1)
    towards = view.pose[:3, 3] - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    cosine = np.einsum("nd,nd->n", normals, towards)
    # the farthest of the pixels around: over a slope of one pixel a texel is no deeper than that
    behind = scipy.ndimage.grey_dilation(np.where(np.isfinite(sitting.depth), sitting.depth, 0), size=3)
    pixel_mm = 2 * np.tan(np.radians(view.fov) / 2) * behind / view.size
    edge = behind - scipy.ndimage.grey_erosion(sitting.depth, size=3) > JUMP * pixel_mm  # something stands before it
    clear = scipy.ndimage.distance_transform_edt(sitting.skin & ~edge) / view.size  # share of the side to no plain skin
    visible = depth < _sampled(behind, at, order=0) + DEPTH_MM
    weight = visible * smoothstep(*GRAZING, cosine) * smoothstep(*MARGIN, _sampled(clear, at, order=1))
    return Seen(color.astype(np.float32), weight.astype(np.float32))


def linear(srgb: np.ndarray) -> np.ndarray:
    """uint8 sRGB -> float32 linear light 0..1."""
    return _LINEAR[srgb]


def _delit(
    color: np.ndarray, below: np.ndarray, normals: np.ndarray, plain: np.ndarray, canvas: Canvas
) -> tuple[np.ndarray, np.ndarray]:
    """The portrait's colours (N, 3) without its light, and (N, 3) log factor that the base takes on to match them."""
    sample = np.flatnonzero(plain > 0.01)
    sample = sample[:: max(len(sample) // FITTED, 1)]
    coefficients = delighting.fit(color[sample], below[sample], normals[sample], plain[sample])
    mean = np.average(delighting.light(coefficients, normals[sample], np.zeros(3)), axis=0, weights=plain[sample])
    color = color / delighting.light(coefficients, normals, np.maximum(mean, DARK))
    carried = delighting.spread(canvas, _log_ratio(color, below), plain)  # [V, 3]
    carried = canvas.on_texels(carried)  # [N, 3]
    return color * np.exp(-delighting.REMOVED * carried), (1 - delighting.REMOVED) * carried


def _log_ratio(color: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(color, DARK) / np.maximum(below, DARK))


def _normals(neutral: np.ndarray, canvas: Canvas) -> np.ndarray:
    normals = canvas.on_texels(vertex_normals(dataclasses.replace(canvas.base.topology, template=neutral)))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def _shrunk(share: np.ndarray, canvas: Canvas) -> np.ndarray:
    """(N,) shares 0..1, low in a soft margin around where they were low: beside a painted hairline there is no skin."""
    atlas = canvas.base.atlas
    whole = np.ones(len(atlas.positions), np.float32)
    whole[canvas.texels] = share
    side = max(int(BESIDE_MM * np.median(atlas.texels_per_mm)), 1)
    least = scipy.ndimage.minimum_filter(atlas.image(whole), 2 * side + 1)
    return scipy.ndimage.uniform_filter(least, side).reshape(-1)[canvas.places]


def _painted(base: Texture, canvas: Canvas, color: np.ndarray) -> np.ndarray:
    """The base's albedo with the skin texels in new linear colours (N, 3); all others as they are, bit for bit."""
    atlas = canvas.base.atlas
    whole = np.zeros((len(atlas.positions), 3), np.float32)
    whole[canvas.texels] = color
    picture, _ = packing.albedo(atlas, whole, whole[:, 0])
    skin = np.zeros(len(whole), bool)
    skin[canvas.texels] = True
    return np.where(atlas.image(skin)[..., None], picture, base.albedo)


def _sampled(picture: np.ndarray, at: np.ndarray, order: int) -> np.ndarray:
    return scipy.ndimage.map_coordinates(picture, at, order=order, mode="nearest")


def _mixed(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[:, None]


_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
