"""Out of doors: a garden and a street, under a sky that matches the light."""

from collections.abc import Callable

import numpy as np

from data_gen.rooms.stage import EYE_HEIGHT, Stage

LEAVES = np.array([[0.13, 0.19, 0.08], [0.16, 0.21, 0.09], [0.10, 0.15, 0.08], [0.19, 0.20, 0.10]], np.float32)
BARK = np.array([0.13, 0.10, 0.08], np.float32)
BRICKS = np.array(
    [[0.42, 0.24, 0.17], [0.52, 0.45, 0.36], [0.60, 0.57, 0.52], [0.36, 0.35, 0.36], [0.55, 0.42, 0.28]], np.float32
)


def _sky(stage: Stage) -> np.ndarray:
    """(rows, columns, 3) paler near the horizon, perhaps with clouds."""
    rise = np.clip(stage.elevation / 27, 0, 1)[:, None, None]
    blue = np.array([0.55, 0.75, 1.05], np.float32) * 1.15
    pale = np.array([0.95, 1.0, 1.05], np.float32) * 1.25
    clear = stage.rng.uniform(0.1, 0.9)
    sky = pale * (1 - clear * rise) + blue * clear * rise
    clouds = np.clip(stage.clouds(9.0, 0.4), 0, 2)[..., None] * np.float32(0.2)
    return (sky + clouds).astype(np.float32)


def _foliage(stage: Stage, color: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) leaves: clumps lit from above, in whose depth it is dark."""
    clumps, twigs = stage.clouds(6.0), stage.clouds(1.4)
    lit = stage.clouds(3.0)
    tone = np.exp(0.5 * clumps + 0.35 * twigs + 0.2 * lit - 0.25)[..., None]
    yellow = np.clip(lit, 0, 2)[..., None] * np.array([0.018, 0.02, 0.0], np.float32)
    return (color + yellow) * tone


def _edge(stage: Stage, middle: float, rough: float) -> np.ndarray:
    """(columns,) elevation of a ragged outline."""
    line = stage.clouds(8.0)[0] + 0.4 * stage.clouds(2.0)[0]
    return middle + rough * line


def _ground(stage: Stage, color: np.ndarray, far: float) -> np.ndarray:
    """(rows, columns) bool below the horizon line; painted, lighter with distance."""
    below = np.broadcast_to(stage.elevation[:, None] < far, stage.color.shape[:2])
    distance = EYE_HEIGHT / np.tan(np.radians(np.maximum(-stage.elevation, 0.8)))[:, None]
    patches = np.exp(0.10 * stage.clouds(5.0, 0.25) + 0.05 * stage.clouds(1.5, 0.3))
    tone = (0.8 + 0.35 * np.clip(distance / 12, 0, 1)) * patches
    stage.color[below] = (color * tone[..., None])[below]
    stage.glow[below] = 0
    return below


def garden(stage: Stage) -> None:
    rng = stage.rng
    stage.color[:] = _sky(stage)
    rows = stage.elevation[:, None]
    sky_gaps = stage.clouds(2.2)
    for k, (middle, thin) in enumerate(((rng.uniform(14, 30), 1.5), (rng.uniform(5, 11), 2.6))):  # trees, then hedge
        leaves = _foliage(stage, LEAVES[rng.integers(len(LEAVES))] * (1.5, 1.0)[k])
        edge = _edge(stage, middle, (5.0, 1.6)[k])
        there = (rows < edge) & (sky_gaps < thin)
        stage.color[there] = leaves[there]
    for azimuth in rng.uniform(-65, 65, rng.integers(1, 4)):
        distance = rng.uniform(3, 7)
        stage.paint(stage.upright(azimuth, distance, rng.uniform(0.15, 0.4), 0.0, 5.0), BARK * rng.uniform(0.5, 1.2))
    if rng.random() < 0.4:  # a fence, or a wall
        color = rng.uniform(0.3, 0.9) * np.array([0.5, 0.4, 0.3]) if rng.random() < 0.6 else rng.uniform(0.4, 0.7)
        slats = 0.85 + 0.15 * (np.sin(stage.azimuth * 4) > -0.8)
        fence = (rows < rng.uniform(1, 4)) & (rows > -9)
        stage.color[fence[:, 0]] = (color * slats[:, None] * np.ones(3)).astype(np.float32)
    _ground(stage, LEAVES[rng.integers(2)] * np.float32(1.25), rng.uniform(-6, -3))
    flowers = stage.tint(0.4, 0.8, 0.9)
    stage.sparks(int(rng.integers(0, 90)), 1.0, -10.0, 4.0, flowers * 0.5)
    stage.sparks(int(rng.integers(30, 140)), 26.0, 3.0, 8.0, np.array([1.0, 1.0, 0.9], np.float32))


def street(stage: Stage) -> None:
    rng = stage.rng
    stage.color[:] = _sky(stage)
    d = stage.directions
    half = rng.uniform(5, 9)  # metres from the middle of the street to the houses
    side = np.where(d[..., 0] > 0, 1, -1)
    time = half / np.maximum(np.abs(d[..., 0]), 0.02)
    along, height = d[..., 2] * time, d[..., 1] * time + EYE_HEIGHT
    number = np.floor(along / rng.uniform(8, 13)).astype(int)
    plot = (number * 2 + (side > 0)) % 101
    roof = rng.uniform(8, 22, 101)[plot]
    house = (height < roof) & (height > 0)
    fronts = BRICKS[rng.integers(len(BRICKS), size=101)] * rng.uniform(0.7, 1.3, (101, 1))
    sunny = np.where(side > 0, rng.uniform(0.6, 1.3), rng.uniform(0.6, 1.3))
    haze = np.exp(-np.abs(along) / 90)[..., None]
    walls = fronts[plot] * sunny[..., None]
    storey, bay = rng.uniform(2.9, 3.4), rng.uniform(1.8, 2.8)
    pane = (np.abs(along % bay - bay / 2) < 0.3 * bay) & (np.abs(height % storey - 1.8) < 0.75) & (height > storey)
    panes = rng.uniform(0.05, 0.5, 211)[(np.floor(along / bay) * 7 + np.floor(height / storey) * 31).astype(int) % 211]
    walls = np.where(pane[..., None], panes[..., None] * np.array([0.9, 1.0, 1.1]), walls)
    shop = (height < storey) & (height > 0.3) & (np.abs(along % (2 * bay) - bay) < 0.8 * bay)
    goods = (rng.uniform(0.06, 0.4, (53, 1)) * np.exp(0.15 * rng.standard_normal((53, 3))))[
        (np.floor(along / (2 * bay)) * 3 + side).astype(int) % 53
    ]
    walls = np.where(shop[..., None], goods, walls)
    sign = (height < storey + 0.15) & (height > storey - 0.45) & (plot % 3 > 0)
    signs = rng.uniform(0.08, 0.5, (101, 1)) * np.exp(0.22 * rng.standard_normal((101, 3)))
    walls = np.where(sign[..., None], np.minimum(signs, 1.2)[plot], walls)
    stage.color[house] = (walls * haze + 0.8 * (1 - haze))[house].astype(np.float32)
    road = _ground(stage, np.full(3, rng.uniform(0.2, 0.32), np.float32), 0.0) & (height < 0)
    stage.color[road & (np.abs(d[..., 0]) > 0.75 * np.hypot(d[..., 0], d[..., 2]))] *= 1.35  # pavement
    stage.color[(height < 0) & ~road] = 0.3
    for azimuth in rng.uniform(-65, 65, rng.integers(2, 6)):  # cars
        distance, paint = rng.uniform(6, 14), stage.tint(0.03, 0.5, 0.3)
        stage.paint(stage.upright(azimuth, distance, 4.2, 0.25, 0.95), paint)
        stage.paint(stage.upright(azimuth, distance, 2.2, 0.9, 1.45), np.full(3, 0.12, np.float32))
        ends = stage.upright(azimuth, distance, 4.0, 0.6, 0.75)
        warm = np.array([1.0, 0.9, 0.7], np.float32) if rng.random() < 0.5 else np.array([1.0, 0.08, 0.04], np.float32)
        for column in (ends[1].start, ends[1].stop - 3):
            stage.glow[ends[0], max(column, 0) : max(column, 0) + 2] = 3 * warm
    for azimuth in rng.uniform(-65, 65, rng.integers(1, 5)):  # people
        distance = rng.uniform(4, 12)
        stage.paint(stage.upright(azimuth, distance, 0.42, 0.0, 0.85), stage.tint(0.04, 0.2, 0.3))
        stage.paint(stage.upright(azimuth, distance, 0.5, 0.8, 1.45), stage.tint(0.05, 0.4, 0.35))
        stage.paint(stage.upright(azimuth, distance, 0.2, 1.45, 1.72), np.array([0.35, 0.24, 0.18], np.float32))
    if rng.random() < 0.6:  # a tree by the road
        azimuth = rng.uniform(-60, 60)
        stage.paint(stage.upright(azimuth, 7.0, 0.3, 0.0, 3.0), BARK)
        away = np.hypot(stage.azimuth[None, :] - azimuth, 1.2 * (stage.elevation[:, None] - 22))
        crown = away < 16 + 2.5 * stage.clouds(3.0)
        stage.color[crown] = _foliage(stage, LEAVES[rng.integers(len(LEAVES))])[crown]
    stage.sparks(int(rng.integers(10, 40)), 8.0, -5.0, 8.0, np.array([1.0, 0.85, 0.6], np.float32))


PAINTERS: dict[str, Callable[[Stage], None]] = {"garden": garden, "street": street}
