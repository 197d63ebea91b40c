"""Indoors: a box with four walls, lit by its ceiling and windows, and what people put into it."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_gen.rooms.stage import EYE_HEIGHT, Stage

WOOD = np.array([0.27, 0.19, 0.125], np.float32)
METAL = np.array([0.42, 0.43, 0.45], np.float32)
DAYLIGHT = np.array([0.92, 1.0, 1.10], np.float32)
LAMPLIGHT = np.array([1.15, 0.85, 0.50], np.float32)
LEAF = np.array([0.09, 0.13, 0.065], np.float32)


@dataclasses.dataclass(frozen=True)
class Box:
    """Where each direction of the stage meets the room.

    Attributes:
      surface: (rows, columns) 0..3 walls, 4 floor, 5 ceiling.
      along: (rows, columns) metres along the wall, from the room's middle.
      height: (rows, columns) metres above the floor.
      corner: (rows, columns) metres to the nearest edge of the surface.
      length: (4,) metres, of each wall.
    """

    surface: np.ndarray
    along: np.ndarray
    height: np.ndarray
    corner: np.ndarray
    length: tuple[float, ...]


def build(stage: Stage, width: float, depth: float, ceiling: float, wall: np.ndarray, floor: np.ndarray) -> Box:
    """Walls, floor and ceiling of a room in metres, shaded by their corners and by a light that fades downward."""
    rng = stage.rng
    place = np.array([rng.uniform(-0.2, 0.2) * width, EYE_HEIGHT, rng.uniform(-0.2, 0.2) * depth], np.float32)
    low, high = np.array([[-width / 2, 0, -depth / 2], [width / 2, ceiling, depth / 2]], np.float32)
    d = np.where(np.abs(stage.directions) < 1e-4, np.float32(1e-4), stage.directions)
    times = np.where(d > 0, (high - place) / d, (low - place) / d)  # [rows, columns, 3]: to the planes of each axis
    axis = times.argmin(-1)
    points = place + d * times.min(-1, keepdims=True)
    positive = np.take_along_axis(d, axis[..., None], -1)[..., 0] > 0
    surface = np.where(axis == 0, positive, np.where(axis == 2, 2 + positive, 4 + positive))
    x, y, z = np.moveaxis(points, -1, 0).astype(np.float32)
    to_edge = np.sort(np.minimum(points - low, high - points), -1)[..., 1].astype(np.float32)  # the first is 0
    box = Box(surface, np.where(axis == 0, z, x), y, to_edge, (depth, depth, width, width))

    colors = np.stack([*(wall * rng.uniform(0.85, 1.1, (4, 1))), floor, 1.1 * wall + 0.1]).astype(np.float32)
    fading = 0.72 + 0.28 * y / ceiling
    away = 1 / (1 + 0.03 * (times.min(-1)) ** 2)
    shade = fading * away * (1 - 0.42 * np.exp(-to_edge / 0.22))
    stage.color[:] = colors[surface] * shade[..., None].astype(np.float32)
    board = (surface < 4) & (y < 0.11)
    stage.color[board] *= 0.6
    return box


def on_wall(box: Box, wall: int, left: float, right: float, bottom: float, top: float) -> np.ndarray:
    """(rows, columns) bool: a rectangle on a wall, metres."""
    inside = (box.surface == wall) & (box.along > left) & (box.along < right)
    return inside & (box.height > bottom) & (box.height < top)


def window(stage: Stage, box: Box, wall: int, at: float, width: float, bright: float, blinds: bool) -> None:
    """A window with a frame, daylight in it, and a paler wall around it; perhaps with blinds half down."""
    bottom, top = 0.9, 2.2
    pane = on_wall(box, wall, at - width / 2, at + width / 2, bottom, top)
    frame = on_wall(box, wall, at - width / 2 - 0.09, at + width / 2 + 0.09, bottom - 0.09, top + 0.09)
    stage.color[frame & ~pane] = 0.75
    sky = bright * (0.55 + 0.45 * np.clip((box.height - bottom) / (top - bottom) * 1.6, 0, 1))
    if blinds:
        sky = sky * (0.55 + 0.45 * (np.sin(box.height * 2 * np.pi / 0.16) > -0.3))
    mullion = np.abs(box.along - at) < 0.04
    stage.color[pane] = 0.0
    outside = np.where(mullion, 0.1, sky)[..., None].astype(np.float32) * DAYLIGHT
    stage.glow[pane] = outside[pane]
    far = np.hypot(box.along - at, (box.height - 1.5) * 1.2)
    stage.color[box.surface == wall] *= (1 + 0.5 * np.exp(-((far / 1.4) ** 2)))[box.surface == wall][:, None]


def door(stage: Stage, box: Box, wall: int, at: float, color: np.ndarray) -> None:
    stage.color[on_wall(box, wall, at - 0.56, at + 0.56, 0.0, 2.14)] *= 0.7
    leaf = on_wall(box, wall, at - 0.46, at + 0.46, 0.0, 2.05)
    stage.color[leaf] = color * (0.8 + 0.2 * box.height[leaf] / 2)[:, None]
    if stage.rng.random() < 0.5:
        stage.color[on_wall(box, wall, at + 0.1, at + 0.3, 1.2, 1.8)] = stage.tint(0.3, 0.6, 0.1)


def curtain(stage: Stage, box: Box, wall: int, left: float, right: float, color: np.ndarray, top: float = 2.35) -> None:
    """Cloth in folds from floor to rail."""
    cloth = on_wall(box, wall, left, right, 0.05, top)
    along = box.along[cloth]
    folds = 0.75 + 0.25 * np.sin(along * 2 * np.pi / 0.21 + 1.5 * np.sin(along * 7))
    stage.color[cloth] = color * folds[:, None].astype(np.float32)
    stage.glow[cloth] *= 0


def picture(stage: Stage, box: Box, wall: int, at: float) -> None:
    width, height, middle = stage.rng.uniform(0.3, 0.7), stage.rng.uniform(0.3, 0.6), stage.rng.uniform(1.45, 1.7)
    half, rise = width / 2, height / 2
    stage.color[on_wall(box, wall, at - half - 0.04, at + half + 0.04, middle - rise - 0.04, middle + rise + 0.04)] = (
        WOOD * stage.rng.uniform(0.3, 1.6)
    )
    inside = on_wall(box, wall, at - half, at + half, middle - rise, middle + rise)
    stage.color[inside] = stage.tint(0.35, 0.7, 0.25)
    lower = on_wall(box, wall, at - half, at + half, middle - rise, middle - rise * stage.rng.uniform(-0.4, 0.5))
    stage.color[lower] = stage.tint(0.12, 0.4, 0.4)


def shelf(stage: Stage, box: Box, wall: int, left: float, right: float, top: float, strength: float) -> None:
    """A case of shelves with backs of books or folders."""
    rng = stage.rng
    case = on_wall(box, wall, left, right, 0.0, top)
    stage.color[case] = WOOD * rng.uniform(0.5, 1.6)
    row = np.floor(box.height / 0.36)
    books = case & (box.height % 0.36 > 0.03)
    books &= (box.along > left + 0.04) & (box.along < right - 0.04)
    heights, widths = rng.uniform(0.2, 0.33, 997), rng.uniform(0.04, 0.09)
    cell = (np.floor((box.along - left) / widths) + 61 * row).astype(int) % 997
    books &= box.height % 0.36 < heights[cell]
    colors = rng.uniform(0.08, 0.5, (997, 1)) * np.exp(strength * 0.6 * rng.standard_normal((997, 3)))
    stage.color[books] = colors[cell[books]].astype(np.float32)
    stage.color[case & ~books] *= 0.5
    stage.glow[case] = 0


def ceiling_lights(stage: Stage, box: Box, spacing: float, bright: float) -> None:
    """Panels of light in the ceiling, and their shine on what is below."""
    up = box.surface == 5
    d = stage.directions
    rise = np.maximum(d[..., 1], 0.02)
    along, across = d[..., 2] / rise * 1.4, d[..., 0] / rise * 1.4
    panel = up & (np.abs(along % spacing - spacing / 2) < 0.3) & (np.abs(across % (2 * spacing) - spacing) < 0.6)
    stage.glow[panel] = bright * np.array([1.0, 1.0, 0.96], np.float32)
    stage.color[up] *= 1.15


def lamp(stage: Stage, azimuth: float, bright: float) -> None:
    """A standard lamp: shade, stem, and a warm pool of light around it."""
    rng = stage.rng
    distance, top = rng.uniform(1.6, 2.6), rng.uniform(1.3, 1.65)
    stage.paint(stage.upright(azimuth, distance, 0.03, 0.0, top), METAL * 0.4)
    shade = stage.upright(azimuth, distance, rng.uniform(0.28, 0.4), top - 0.26, top)
    stage.paint(shade, LAMPLIGHT * 0.1)
    stage.glow[shade] = bright * LAMPLIGHT
    middle = np.degrees(np.arctan2(top - EYE_HEIGHT, distance))
    far = (stage.azimuth[None, :] - azimuth) ** 2 + 1.4 * (stage.elevation[:, None] - middle) ** 2
    stage.color *= (1 + 1.8 * np.exp(-far / 260))[..., None] * (
        1 + np.exp(-far / 260)[..., None] * (LAMPLIGHT - 1) * 0.4
    )


def plant(stage: Stage, azimuth: float) -> None:
    distance, tall = stage.rng.uniform(1.5, 2.5), stage.rng.uniform(0.9, 1.6)
    stage.paint(stage.upright(azimuth, distance, 0.3, 0.0, 0.35), stage.tint(0.2, 0.6, 0.2))
    rows, columns = stage.upright(azimuth, distance, 0.75, 0.3, tall)
    leaves = stage.clouds(2.0)[rows, columns]
    if leaves.size:
        down, across = np.mgrid[-1 : 1 : leaves.shape[0] * 1j, -1 : 1 : leaves.shape[1] * 1j]
        there = leaves > 2.2 * np.hypot(across, 0.8 * down) - 1.4
        stage.color[rows, columns][there] = LEAF * np.exp(0.6 * leaves[there])[:, None]
        stage.glow[rows, columns][there] = 0


def hospital_room(stage: Stage) -> None:
    rng = stage.rng
    wall = rng.uniform(0.5, 0.72) * np.array([[1, 0.98, 0.93], [0.92, 1, 0.96], [0.93, 0.97, 1.02]])[rng.integers(3)]
    box = build(stage, rng.uniform(3.6, 5), rng.uniform(4, 6), 2.7, wall, np.array([0.34, 0.35, 0.36]))
    accent = stage.tint(0.25, 0.5, 0.22)
    for side in range(4):
        if rng.random() < 0.5:
            stage.color[(box.surface == side) & (box.height < 0.95)] *= accent / accent.max() * 0.85
        rail = (box.surface == side) & (np.abs(box.height - 0.95) < 0.06)
        stage.color[rail] = WOOD * 1.5 if rng.random() < 0.5 else accent
    cloth = stage.tint(0.3, 0.6, 0.25)
    window(stage, box, 0, rng.uniform(-1, 1), rng.uniform(1.2, 2.2), rng.uniform(0.9, 1.8), rng.random() < 0.6)
    door(stage, box, 1, rng.uniform(-1, 1), WOOD * rng.uniform(1.2, 2.2))
    curtain(stage, box, 2, *(np.sort(rng.uniform(-1.8, 1.8, 2)) + (-0.4, 0.4)), cloth)
    for side in range(1, 4):
        at = rng.uniform(-1, 1)
        panel = on_wall(box, side, at - 0.9, at + 0.9, 1.35, 1.55)
        stage.color[panel] = 0.6 * accent + 0.25
        stage.color[on_wall(box, side, at - 0.4, at + 0.1, 1.40, 1.5)] = 0.12
        if rng.random() < 0.5:
            picture(stage, box, side, rng.uniform(-1.5, 1.5))
    curtain(stage, box, 3, *(lambda c: (c, c + rng.uniform(0.5, 1.0)))(rng.uniform(-2, 1.2)), cloth)
    if rng.random() < 0.8:  # a monitor on its stand, with coloured traces
        azimuth, distance = rng.uniform(-50, 50), rng.uniform(1.6, 2.6)
        stage.paint(stage.upright(azimuth, distance, 0.05, 0.0, 1.3), METAL)
        stage.paint(stage.upright(azimuth, distance, 0.48, 1.25, 1.6), np.float32(0.55) * np.ones(3, np.float32))
        screen = stage.upright(azimuth, distance, 0.42, 1.29, 1.57)
        stage.paint(screen, np.full(3, 0.02, np.float32))
        rows, columns = screen
        for k, glow in enumerate(((0.1, 0.9, 0.25), (0.2, 0.7, 0.95), (0.95, 0.75, 0.15))):
            row = rows.start + (k + 1) * (rows.stop - rows.start) // 4
            stage.glow[row : row + 1, columns] = glow
    if rng.random() < 0.6:  # a drip stand
        azimuth, distance = rng.uniform(-50, 50), rng.uniform(1.2, 2.0)
        stage.paint(stage.upright(azimuth, distance, 0.025, 0.0, 2.0), 1.3 * METAL)
        stage.paint(stage.upright(azimuth + 3, distance, 0.12, 1.65, 1.9), np.array([0.62, 0.65, 0.66], np.float32))
    ceiling_lights(stage, box, 1.2, 1.3)


def living_room(stage: Stage) -> None:
    rng = stage.rng
    wall = (
        rng.uniform(0.3, 0.62)
        * np.array([[1, 0.92, 0.8], [0.95, 0.96, 0.9], [0.86, 0.93, 0.98], [1, 0.85, 0.76]])[rng.integers(4)]
    )
    box = build(stage, rng.uniform(4, 6), rng.uniform(4.5, 6.5), 2.6, wall, WOOD * rng.uniform(0.7, 1.3))
    cloth = stage.tint(0.2, 0.6, 0.4)
    at, width = rng.uniform(-1, 1), rng.uniform(1.2, 2.0)
    window(stage, box, 0, at, width, rng.uniform(0.7, 1.4), False)
    curtain(stage, box, 0, at - width / 2 - 0.45, at - width / 2 + 0.1, cloth)
    curtain(stage, box, 0, at + width / 2 - 0.1, at + width / 2 + 0.45, cloth)
    start = rng.uniform(-2, 0.5)
    shelf(stage, box, 1, start, start + rng.uniform(1.0, 2.2), rng.choice([1.44, 1.8, 2.16]), 0.5)
    door(stage, box, 2, rng.uniform(-1.5, 1.5), WOOD * rng.uniform(0.8, 2.4))
    for side, middle in ((1, -1.5), (2, 0.9), (2, -1.2), (3, -1.0), (3, 0.4)):
        picture(stage, box, side, middle + rng.uniform(-0.3, 0.3))
    sofa, azimuth = stage.tint(0.08, 0.4, 0.4), rng.uniform(-50, 50)
    stage.paint(stage.upright(azimuth, 2.2, 1.9, 0.2, 0.85), sofa)
    stage.paint(stage.upright(azimuth - 10, 2.1, 0.45, 0.45, 0.82), stage.tint(0.2, 0.6, 0.5))
    plant(stage, rng.uniform(-55, 55))
    lamp(stage, rng.uniform(-50, 50), rng.uniform(0.9, 1.6))
    if rng.random() < 0.35:  # a string of small lights
        stage.sparks(26, rng.uniform(8, 16), rng.uniform(0, 6), 9.0, LAMPLIGHT)


def office(stage: Stage) -> None:
    rng = stage.rng
    wall = rng.uniform(0.45, 0.68) * np.array([[1, 1, 0.98], [0.94, 0.98, 1.02], [0.98, 0.95, 0.9]])[rng.integers(3)]
    box = build(stage, rng.uniform(4.5, 7), rng.uniform(5, 8), 2.8, wall, stage.tint(0.12, 0.3, 0.15))
    for at in (-1.9, 0.0, 1.9):
        window(stage, box, 0, at, 1.6, rng.uniform(0.9, 1.3), True)
    for side in (1, 3):
        start = rng.uniform(-2.5, 0.5)
        shelf(stage, box, side, start, start + rng.uniform(1.2, 2.4), rng.choice([1.08, 1.8, 2.16]), 0.35)
    at = rng.uniform(-1.5, 1.5)
    board = on_wall(box, 2, at - 1.0, at + 1.0, 1.0, 2.1)
    stage.color[board] = 0.82
    for _ in range(5):
        left, low = at + rng.uniform(-0.9, 0.5), rng.uniform(1.1, 1.9)
        stage.color[on_wall(box, 2, left, left + rng.uniform(0.15, 0.5), low, low + 0.05)] = stage.tint(0.1, 0.4, 0.6)
    door(stage, box, 3, rng.uniform(1.0, 2.0), WOOD * rng.uniform(0.8, 2.2))
    picture(stage, box, 2, at + 1.7)
    for azimuth in np.array([-42, 0, 42]) + rng.uniform(-14, 14, 3):  # screens on desks
        distance = rng.uniform(1.8, 3.2)
        stage.paint(stage.upright(azimuth, distance, 1.5, 0.0, 0.75), WOOD * rng.uniform(1.0, 2.2))
        stage.paint(stage.upright(azimuth, distance, 0.6, 0.85, 1.22), np.full(3, 0.03, np.float32))
        screen = stage.upright(azimuth, distance, 0.56, 0.88, 1.2)
        stage.glow[screen] = rng.uniform(0.15, 0.6) * stage.tint(0.8, 1.0, 0.2)
    if rng.random() < 0.6:
        plant(stage, rng.uniform(-55, 55))
    ceiling_lights(stage, box, 1.3, 1.4)


def corridor(stage: Stage) -> None:
    rng = stage.rng
    wall = stage.tint(0.5, 0.7, 0.12)
    box = build(stage, rng.uniform(2.4, 3.2), rng.uniform(12, 20), 2.6, wall, stage.tint(0.25, 0.4, 0.12))
    accent = stage.tint(0.2, 0.5, 0.3)
    for side in (0, 1):
        stage.color[(box.surface == side) & (box.height < 1.0)] *= 0.55 + 0.45 * accent / accent.max()
        stage.color[(box.surface == side) & (np.abs(box.height - 0.95) < 0.07)] = WOOD * 1.6
        for at in np.arange(-9, 9, 2.6) + rng.uniform(-0.6, 0.6):
            door(stage, box, side, at, WOOD * 1.9 if rng.random() < 0.7 else accent)
        for at in np.arange(-7.7, 9, 5.2):
            picture(stage, box, side, at + rng.uniform(-0.4, 0.4))
    for side in (2, 3):  # the far end: glass doors with light behind
        pane = on_wall(box, side, -0.8, 0.8, 0.1, 2.1)
        stage.glow[pane] = rng.uniform(0.5, 1.1) * DAYLIGHT
        stage.color[pane] = 0.1
    sign = rng.uniform(-40, 40)
    stage.glow[stage.upright(sign, 4.0, 0.4, 2.2, 2.38)] = np.array([0.1, 0.8, 0.35], np.float32)
    ceiling_lights(stage, box, 1.6, 1.6)
    floor = box.surface == 4
    shine = np.maximum(np.cos(stage.directions[..., 2] * 40), 0) * np.exp(-np.abs(stage.directions[..., 0]) * 3)
    stage.color[floor] *= (1 + 0.5 * shine[floor])[:, None].astype(np.float32)


PAINTERS: dict[str, Callable[[Stage], None]] = {
    "hospital_room": hospital_room,
    "living_room": living_room,
    "office": office,
    "corridor": corridor,
}
