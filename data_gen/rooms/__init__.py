"""Rooms: what lies behind a head, painted once for each person and seen from every camera of their session.

`panorama` paints the half of the surroundings that any camera can see, in linear light and out of focus; `behind` looks
at it along a camera's own directions, so that the views of a person show different parts of one place.
"""

import dataclasses

import numpy as np
import scipy.fft
import scipy.ndimage

from data_gen import srgb
from data_gen.lighting import LUMINANCE, color_of
from data_gen.rooms import indoors, outdoors
from data_gen.rooms.stage import AZIMUTH, DENSITY, ELEVATION, Stage
from data_gen.scene import Room, View, stream

PAINTERS = {**indoors.PAINTERS, **outdoors.PAINTERS}
MIDDLE = 0.40  # median light of a room of brightness 1; white is 1
WORKING_SIZE = 256  # pixels a side of the picture that is enlarged: nothing in it is sharp


@dataclasses.dataclass(frozen=True)
class Panorama:
    """(rows, columns, 3) float32 linear light, from `ELEVATION` down and from -`AZIMUTH` to the right."""

    light: np.ndarray


def panorama(identity_seed: int, room: Room) -> Panorama:
    """The surroundings of a session.

    Raises:
      ValueError: if there is no such kind of room.
    """
    if room.kind not in PAINTERS:
        raise ValueError(f"room is {room.kind!r}; expected one of {', '.join(PAINTERS)}.")
    rng = stream(identity_seed, "panorama")
    stage = Stage(rng, room.turn)
    PAINTERS[room.kind](stage)
    reflected = stage.color * color_of(room.kelvin).astype(np.float32)
    luminance = reflected @ np.array(LUMINANCE, np.float32)
    light = reflected * np.float32(MIDDLE * room.brightness / np.median(luminance))
    # what shines itself does not get darker with the room, but a camera that exposes for a dim room sees it brighter
    light += stage.glow * np.float32(room.brightness**0.4)
    return Panorama(_out_of_focus(light, room.blur))


def behind(surroundings: Panorama, view: View, size: int) -> np.ndarray:
    """(S, S, 3) uint8 sRGB: what the camera of a view sees beside the head.

    The camera stands upright, whichever way the head leans; the room is far, so that only directions count.
    """
    working = min(size, WORKING_SIZE)
    half = np.tan(np.radians(view.fov) / 2)
    along = ((np.arange(working) + 0.5) * 2 / working - 1).astype(np.float32) * np.float32(half)
    x, y = along[None, :], -along[:, None]
    pitch = np.radians(view.pitch)
    up, ahead = y * np.cos(pitch) - np.sin(pitch), np.cos(pitch) + y * np.sin(pitch)
    column = (np.degrees(np.arctan2(x, ahead)) - view.yaw + AZIMUTH) * DENSITY - 0.5  # [S, S]
    row = (ELEVATION - np.degrees(np.arctan2(up, np.hypot(x, ahead)))) * DENSITY - 0.5
    picture = _developed(_bilinear(surroundings.light, row, column))
    if working < size:
        picture = scipy.ndimage.zoom(picture, (size / working,) * 2 + (1,), order=1, grid_mode=True, mode="nearest")
    return np.round(picture * 255).astype(np.uint8)


def _bilinear(picture: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    rows, columns, _ = picture.shape
    row, column = np.clip(row, 0, rows - 1.001), np.clip(column, 0, columns - 1.001)
    i, j = row.astype(np.intp), column.astype(np.intp)
    down, right = (row - i)[..., None].astype(np.float32), (column - j)[..., None].astype(np.float32)
    flat, first = picture.reshape(-1, 3), i * columns + j
    top = flat[first] * (1 - right) + flat[first + 1] * right
    bottom = flat[first + columns] * (1 - right) + flat[first + columns + 1] * right
    return top * (1 - down) + bottom * down


def _out_of_focus(light: np.ndarray, degrees: float) -> np.ndarray:
    """Spreads every point over a disc with a soft rim, as an open lens does: bright points become bokeh."""
    radius = degrees * DENSITY / 2
    reach = int(np.ceil(radius)) + 2
    away = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disc = np.clip(radius + 0.5 - away, 0, 1) * (1 + 0.35 * np.clip(away / radius, 0, 1) ** 4)
    padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    shape = [scipy.fft.next_fast_len(n + 2 * reach, real=True) for n in padded.shape[:2]]
    lens = scipy.fft.rfft2((disc / disc.sum()).astype(np.float32), shape)
    spectrum = scipy.fft.rfft2(padded, shape, axes=(0, 1)) * lens[..., None]
    blurred = scipy.fft.irfft2(spectrum, shape, axes=(0, 1))
    return np.ascontiguousarray(blurred[2 * reach : 2 * reach + light.shape[0], 2 * reach : 2 * reach + light.shape[1]])


def _developed(linear: np.ndarray) -> np.ndarray:
    """The curve of `film.FILM`, for a picture that no shader draws."""
    above = np.maximum(linear - 0.6, 0)
    linear = np.minimum(np.maximum(linear, 0), 0.6) + 0.4 * (1 - np.exp(-above / 0.4))
    return srgb.encoded(linear)
