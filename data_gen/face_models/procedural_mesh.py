"""Skin mesh of the average head: edge loops about eyes and mouth, a triangulation between them, mirrored left to right.

The left half is laid out in a flat chart (fraction of the girth, length along the meridian), which also gives the
texture coordinates. Loops are explicit so that lids and lips have clean rims; the rest is a Delaunay triangulation of
points that lie densest where the face is most curved.
"""

import dataclasses

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial import Delaunay

from data_gen.face_models import procedural_surface as surface

CHART_WIDTH = 265.0  # mm of half girth at the widest part of the face
EYE_LOOP = 28
EYE_OFFSETS = (-2.4, -1.2, 0.0, 1.3, 2.8, 4.5, 6.2, 8.0, 10.5)  # mm outside the lid margin; negative: inside the lids
MOUTH_COLUMNS = 13
INNER_CORNER, OUTER_CORNER = np.array([17.0, -2.4]), np.array([47.0, 0.8])
MOUTH_CORNER = np.array([25.5, -69.7])
BROW = ((11.5, 20.0), (21.0, 24.4), (32.0, 26.2), (43.0, 24.8), (54.0, 18.5))  # inner to outer end; vertices lie there


@dataclasses.dataclass(frozen=True)
class Half:
    """Left half of the skin: vertices (n, 3) mm, chart (n, 2) mm, faces, and the named loops of vertex indices."""

    vertices: np.ndarray
    chart: np.ndarray
    faces: np.ndarray
    eye: np.ndarray  # (len(EYE_OFFSETS), EYE_LOOP): inner corner, upper lid, outer corner, lower lid
    mouth: np.ndarray  # (8, 2 * MOUTH_COLUMNS + 1): midline, upper lip, corner, lower lip, midline; row 0 deep inside


def lid_curve(fraction: np.ndarray, upper: bool) -> np.ndarray:
    """(n, 2) xy of a lid margin at `fraction` of the way from the inner to the outer corner."""
    f = np.asarray(fraction)
    line = INNER_CORNER + f[:, None] * (OUTER_CORNER - INNER_CORNER)
    if upper:
        height = 5.3 * np.sin(np.pi * f**0.92) ** 0.86
    else:
        height = -4.9 * np.sin(np.pi * f**1.10) ** 0.95
    return line + np.stack([np.zeros_like(f), height], -1)


def _eye_margin() -> np.ndarray:
    """(EYE_LOOP, 2): inner corner, upper lid outwards, outer corner, lower lid inwards."""
    f = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, EYE_LOOP // 2 + 1))
    f = 0.45 * f + 0.55 * np.linspace(0, 1, len(f))
    return np.concatenate([lid_curve(f[:-1], True), lid_curve(f[:0:-1], False)])


def _eye_loops() -> np.ndarray:
    margin = _eye_margin()
    centre = 0.5 * (INNER_CORNER + OUTER_CORNER) + [0, 0.4]
    normal = (margin - centre) / np.array([15.0, 9.5]) ** 2
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    loops = []
    for offset in EYE_OFFSETS:
        if offset < 0:  # chart only: the hidden strips live inside the opening
            loops.append(centre + (margin - centre) * (1 + 0.16 * offset))
        else:
            loops.append(margin + offset * normal)
    return np.stack(loops)


def lip_lines(q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y of the upper border of the lips, of where they meet, and of the lower border; q: 0 midline, 1 corner."""
    corner = MOUTH_CORNER[1]
    bow = 9.3 * (1 - q**2.6) + 0.8 * np.exp(-(((q - 0.25) / 0.12) ** 2)) - 0.6 * np.exp(-((q / 0.1) ** 2))
    upper = corner + bow
    meet = (
        corner
        + 0.9 * (1 - q**2)
        - 0.7 * np.exp(-((q / 0.22) ** 2))
        + 0.35 * np.exp(-(((q - 0.45) / 0.2) ** 2)) * (1 - q)
    )
    lower = corner - 8.5 * np.sqrt(np.clip(1 - q**2.0, 0, 1)) ** 1.15 + 0.5 * np.exp(-((q / 0.2) ** 2))
    return upper, meet, lower


def _mouth_loops() -> tuple[np.ndarray, np.ndarray]:
    """Chart-side xy of the 8 mouth loops (8, n, 2) and q of each column (n,)."""
    k = MOUTH_COLUMNS
    q = np.sin(np.linspace(0, np.pi / 2, k + 1)[:-1] * 0.96) ** 0.95
    q = np.concatenate([q, [1.0], q[::-1]])
    sign = np.concatenate([np.ones(k), [0.0], -np.ones(k)])
    upper, meet, lower = lip_lines(q)
    x = MOUTH_CORNER[0] * q
    border = np.stack([x + 0.9 * (q == 1), np.where(sign > 0, upper, np.where(sign < 0, lower, MOUTH_CORNER[1]))], -1)
    gape = border[:, 1] - meet  # the slit is opened a little in the chart; it is shut in space
    line = np.stack([x, meet + 0.24 * gape], -1)
    middle = 0.5 * (border + line)
    inner1 = np.stack([x * 0.98 - 0.3 * (q == 1), meet + 0.16 * gape], -1)
    inner2 = np.stack([x * 0.96 - 0.6 * (q == 1), meet + 0.07 * gape], -1)
    centre = np.array([0.0, MOUTH_CORNER[1]])
    normal = (border - centre) / np.array([27.0, 12.0]) ** 2
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[[0, -1], 0] = 0
    outside = [border + o * normal for o in (1.8, 4.0, 6.8)]
    return np.stack([inner2, inner1, line, middle, border, *outside]), q


def _lip_relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the skin about the mouth comes forward towards the vermilion, and the philtrum."""
    across = np.clip(1 - (x / 30.0) ** 2, 0, None) ** 0.9
    upper = 2.2 * np.exp(-(((y + 63.0) / 5.0) ** 2)) * across
    lower = 1.0 * np.exp(-(((y + 77.0) / 5.5) ** 2)) * across
    groove = np.exp(-((x / 2.6) ** 2)) - 0.75 * np.exp(-(((x - 5.0) / 2.2) ** 2))
    return upper + lower - 1.4 * groove * np.exp(-(((y + 57.0) / 5.5) ** 2))


def _to_space(chart: np.ndarray) -> np.ndarray:
    """Chart -> skin of the average face."""
    p = surface.sculpt(surface.skull(chart[:, 0] / CHART_WIDTH, chart[:, 1]))
    near = (p[:, 2] > 50) & (np.abs(p[:, 1] + 68) < 30)
    p[near, 2] += _lip_relief(p[near, 0], p[near, 1])
    return p


def _to_chart(xy: np.ndarray) -> np.ndarray:
    """Chart of places on the front of the bare skull, as seen from the front."""
    s, y = surface.front_coordinates(xy[:, 0], xy[:, 1])
    return np.stack([s * CHART_WIDTH, y], -1)


def _background() -> np.ndarray:
    """Points of the chart away from the loops, denser towards the middle of the face."""
    columns = [0.0]  # mm along the girth
    while columns[-1] < CHART_WIDTH:
        x = columns[-1]
        columns.append(x + (3.2 if x < 42 else 3.2 + 0.075 * (x - 42)))
    columns = np.array(columns) * CHART_WIDTH / columns[-1]
    spacing = PchipInterpolator(  # height y -> mm between rows
        [-300, -122, -118, -80, -52, -25, 20, 30, 60, 118], [26, 8, 4.4, 3.6, 3.0, 3.1, 3.4, 5, 8, 9]
    )
    meridian = np.linspace(0, surface.meridian_length(), 2000)
    height = surface.skull(np.zeros_like(meridian), meridian)[:, 1]
    rows, y = [], 9.0
    while y < meridian[-1] - 8:
        rows.append(y)
        y += float(spacing(np.interp(y, meridian, height)))
    rows = [*rows, meridian[-1]]
    points = []
    for j, y in enumerate(rows):
        gap = y - rows[j - 1] if j else 8.0
        edge = j in (0, len(rows) - 1)
        shift = 0.5 if j % 2 and not edge else 0.0  # odd rows stand half a step aside, so that triangles are even
        across = np.interp(np.arange(len(columns)) + shift, np.arange(len(columns)), columns)
        if shift:
            across = np.concatenate([[0.0], across[:-1], [CHART_WIDTH]])
        for i, x in enumerate(across):
            stride = 1 if gap > 6 or x < 62 else 2 if x < 120 else 4 if gap < 4 else 2
            thin = y < 45 and i % max(1, round(22 / y)) and i != len(across) - 1  # sections shrink towards the crown
            if (edge or (j // 2 if shift else j) % stride == 0) and not thin:
                points.append((x, y))
    points = np.array(points)
    nose = [
        (0.0 if i == 0 else (i - 0.5 * (j % 2) * (i > 0)) * 2.15, -28.0 - 1.85 * j)
        for j in range(14)
        for i in range(11)
    ]
    nose = _to_chart(np.array(nose))
    lower, upper = nose.min(0) - 1.4, nose.max(0) + 1.2
    inside = ((points > lower) & (points < upper)).all(-1)
    points = np.concatenate([points[~inside], nose])
    for place in _to_chart(np.array(BROW)):
        points[np.linalg.norm(points - place, axis=1).argmin()] = place
    return points


def _outside(points: np.ndarray, loop: np.ndarray, gap: float) -> np.ndarray:
    """Which points lie outside a closed loop and at least `gap` from it."""
    ahead = np.roll(loop, -1, 0)
    px, py = points[:, None, 0], points[:, None, 1]
    crosses = (loop[:, 1] > py) != (ahead[:, 1] > py)  # [n, k]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = loop[:, 0] + (py - loop[:, 1]) / (ahead[:, 1] - loop[:, 1]) * (ahead[:, 0] - loop[:, 0])
    inside = (crosses & (px < at)).sum(1) % 2 == 1
    edge = ahead - loop
    along = ((points[:, None] - loop) * edge).sum(-1) / (edge**2).sum(-1)
    nearest = loop + np.clip(along, 0, 1)[..., None] * edge
    return ~inside & (np.linalg.norm(points[:, None] - nearest, axis=-1).min(1) >= gap)


def _strips(loops: np.ndarray, closed: bool) -> np.ndarray:
    """Triangles between successive loops of vertex indices (k, n)."""
    ahead = np.roll(loops, -1, 1)
    a, b, c, d = loops[:-1], loops[1:], np.roll(loops[1:], -1, 1), ahead[:-1]
    if not closed:
        a, b, c, d = (e[:, :-1] for e in (a, b, c, d))
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def half() -> Half:
    """Builds the left half; vertices with x = 0 are shared with the right one."""
    eye_xy, (mouth_xy, q) = _eye_loops(), _mouth_loops()
    eye_chart = _to_chart(eye_xy.reshape(-1, 2)).reshape(eye_xy.shape)
    mouth_chart = _to_chart(mouth_xy.reshape(-1, 2)).reshape(mouth_xy.shape)
    points = _background()
    points = points[_outside(points, eye_chart[-1], 1.6)]
    mirrored = np.concatenate([mouth_chart[-1], mouth_chart[-1, -2:0:-1] * [-1, 1]])
    points = points[_outside(points, mirrored, 1.6)]
    eye = np.arange(eye_chart[..., 0].size).reshape(eye_chart.shape[:2])
    mouth = eye.size + np.arange(mouth_chart[..., 0].size).reshape(mouth_chart.shape[:2])
    first = eye.size + mouth.size
    chart = np.concatenate([eye_chart.reshape(-1, 2), mouth_chart.reshape(-1, 2), points])

    outer = np.concatenate([eye[-1], mouth[-1], np.arange(first, len(chart))])
    triangles = _alike(outer[Delaunay(chart[outer]).simplices], chart)
    centre = chart[triangles].mean(1)
    triangles = triangles[_outside(centre, eye_chart[-1], 0.0) & _outside(centre, mirrored, 0.0)]
    crown = len(chart)
    top = first + np.flatnonzero(points[:, 1] == points[:, 1].min())
    top = top[np.argsort(chart[top, 0])]
    chart = np.concatenate([chart, [[0.0, 0.0]]])
    fan = np.stack([np.full(len(top) - 1, crown), top[:-1], top[1:]], -1)
    groups = (triangles, fan, _strips(eye, True), _strips(mouth, False))
    faces = np.concatenate([_oriented(group, chart) for group in groups])

    vertices = _to_space(chart)
    vertices = _shape_lids(vertices, eye, eye_xy)
    vertices = _shape_lips(vertices, mouth, q)
    on_midline = (chart[:, 0] < 1e-6) | (chart[:, 0] > CHART_WIDTH - 1e-6)
    on_midline[crown] = True
    on_midline[mouth[:, [0, -1]]] = True
    vertices[on_midline, 0] = 0.0
    return Half(vertices, chart, faces, eye, mouth)


def _alike(faces: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Winds every triangle of a triangulation of the chart the same way."""
    a, b, c = (chart[faces[:, i]] for i in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return np.where((area > 0)[:, None], faces[:, ::-1], faces)


def _oriented(faces: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Turns a consistently wound group counter-clockwise as seen from outside; the chart's y runs down the head."""
    a, b, c = (chart[faces[:, i]] for i in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return faces[:, ::-1] if area.sum() > 0 else faces


def _shape_lids(vertices: np.ndarray, eye: np.ndarray, eye_xy: np.ndarray) -> np.ndarray:
    """Lid margins on the eyeball, their thickness, and the strip that goes under the lids."""
    v = vertices.copy()
    margin = EYE_OFFSETS.index(0.0)
    ring = eye_xy[margin]
    medial = np.exp(-(((ring[:, 0] - INNER_CORNER[0]) / 4.5) ** 2))
    v[eye[margin]] = np.stack([ring[:, 0], ring[:, 1], surface.eye_shell(*ring.T) + 5.5 * medial], -1)
    crease = np.sin(np.pi * np.clip((ring[:, 0] - 15) / 33, 0, 1)) ** 0.7 * (np.arange(len(ring)) < len(ring) // 2)
    for loop, fold in ((margin + 3, -0.2), (margin + 4, -1.1), (margin + 5, 0.5)):  # the fold of the upper lid
        v[eye[loop], 2] += fold * crease
    ray = v[eye[margin]] - surface.EYE
    distance = np.linalg.norm(ray, axis=-1, keepdims=True)
    column = np.abs(len(ring) // 2 - np.arange(len(ring)))  # the strips narrow to nothing at the corners
    from_corner = np.minimum(column, len(ring) // 2 - column)[:, None]
    open_ = np.clip(from_corner / 3.0, 0, 1)
    side = np.where(np.arange(len(ring)) < len(ring) // 2, 1.0, -1.0)[:, None] * np.array([0.0, 1.0, 0.0])
    v[eye[margin - 1]] = surface.EYE + ray / distance * np.minimum(distance - 0.6, surface.EYE_RADIUS + 0.15)
    v[eye[margin - 2]] = v[eye[margin - 1]] - (0.4 + 0.8 * open_) * ray / distance + 1.2 * open_ * side
    return v


def _shape_lips(vertices: np.ndarray, mouth: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Vermilion, the line where the lips touch, and the strip that turns into the mouth."""
    v = vertices.copy()
    k = MOUTH_COLUMNS
    sign = np.concatenate([np.ones(k), [0.0], -np.ones(k)])
    _, meet, _ = lip_lines(q)
    x, open_ = MOUTH_CORNER[0] * q, np.clip(1 - q**2, 0, None)
    border_z = v[mouth[4], 2]
    line_z = 0.5 * (border_z + border_z[::-1]) - 1.6 - 1.2 * open_**0.5
    v[mouth[2]] = np.stack([x, meet + 0.02 * sign * open_**0.25, line_z], -1)
    swell = np.where(sign > 0, 2.3, 2.8) * open_**0.7
    v[mouth[3]] = 0.5 * (v[mouth[2]] + v[mouth[4]]) + np.stack([0 * x, 0 * x, swell], -1)
    v[mouth[1]] = v[mouth[2]] + np.stack([-0.02 * x, -0.35 * sign * open_**0.5, -2.8 + 0 * x], -1)
    v[mouth[0]] = v[mouth[2]] + np.stack([-0.06 * x, 2.6 * sign * open_**0.5, -5.2 + 0 * x], -1)
    return v
