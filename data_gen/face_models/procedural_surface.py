"""The form of the average head: a lofted skull, sculpting strokes, and an implicit nose, as one smooth map to 3-D.

Millimetres; the origin lies between the eye centres' height (y = 0), the ear openings (z = 0) and the midline (x = 0).
Only the subject's left half (x >= 0) is described; the mesh mirrors it. Numbers are sculpted by hand to published
adult averages (Farkas, "Anthropometry of the Head and Face", 1994), sexes pooled.
"""

import functools

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import map_coordinates

EYE = np.array([32.0, 0.0, 65.0])  # centre of the left eyeball
EYE_RADIUS = 12.9
LID = 1.3  # mm of lid over the eyeball
MOUTH_Y = -70.0

# Sections from the crown to the shoulders. front: y, z; side: y, half width x, z of the widest point; back: y, z;
# pinch: how far the front and back quarters are drawn in (> 0) or squared out (< 0) from an ellipse.
_SECTIONS = np.array([
    # yf     zf    ys     w     zc     yb     zb    cf     cb
    [115.0, -12.0, 115.0, 0.0, -13.0, 115.0, -14.0, 0.00, 0.00],
    [111.5, 16.0, 111.5, 24.0, -13.0, 110.5, -42.0, 0.00, 0.00],
    [103.0, 42.0, 103.0, 44.0, -14.0, 101.0, -68.0, 0.00, 0.00],
    [89.0, 63.5, 89.0, 60.0, -14.0, 87.0, -86.0, -0.01, 0.00],
    [70.0, 78.5, 70.0, 70.0, -14.0, 69.0, -95.0, -0.02, -0.01],
    [50.0, 89.0, 50.0, 75.0, -12.0, 50.0, -98.5, -0.02, -0.01],
    [32.0, 91.5, 32.0, 75.5, -9.0, 32.0, -98.0, -0.02, 0.00],
    [18.0, 92.0, 17.0, 74.0, -6.0, 17.0, -95.0, -0.01, 0.00],
    [4.0, 87.0, 3.0, 72.0, -2.0, 3.0, -90.0, 0.00, 0.01],
    [-12.0, 83.5, -11.0, 70.0, 2.0, -12.0, -83.0, 0.00, 0.03],
    [-28.0, 84.0, -24.5, 68.6, 6.0, -24.0, -76.0, 0.00, 0.06],
    [-45.0, 87.0, -38.0, 66.8, 9.0, -36.0, -70.5, 0.01, 0.08],
    [-60.0, 88.5, -50.0, 64.4, 10.5, -46.0, -67.0, 0.02, 0.09],
    [-74.0, 88.5, -60.5, 61.3, 11.0, -55.0, -65.0, 0.04, 0.10],
    [-88.0, 87.0, -70.0, 58.0, 10.0, -63.0, -64.5, 0.06, 0.10],
    [-101.0, 85.5, -79.0, 54.5, 8.0, -71.0, -64.5, 0.08, 0.09],
    [-110.0, 79.0, -87.0, 52.0, 4.0, -79.0, -65.0, 0.10, 0.07],
    [-115.0, 66.0, -94.0, 50.0, -2.0, -87.0, -66.0, 0.11, 0.05],
    [-119.0, 49.0, -102.0, 49.5, -9.0, -96.0, -67.0, 0.09, 0.03],
    [-128.0, 36.0, -114.0, 51.0, -15.0, -108.0, -68.5, 0.04, 0.02],
    [-146.0, 31.0, -133.0, 53.0, -19.0, -126.0, -71.0, 0.01, 0.01],
    [-170.0, 28.0, -158.0, 60.0, -22.0, -150.0, -76.0, 0.00, 0.00],
    [-196.0, 27.0, -182.0, 82.0, -25.0, -178.0, -83.0, 0.02, 0.02],
    [-218.0, 33.0, -200.0, 122.0, -27.0, -206.0, -90.0, 0.02, 0.02],
    [-240.0, 43.0, -222.0, 160.0, -27.0, -234.0, -95.0, -0.02, 0.00],
])  # fmt: skip

# Strokes: push a Gaussian neighbourhood of a point. (name, x, y, z, sigma x, y, z, push x, y, z); x > 0 is mirrored.
_STROKES = (
    ("forehead eminence", 24, 58, 84, 20, 18, 40, 0.0, 0, 2.0),
    ("temporal line", 54, 40, 58, 12, 26, 18, 0.8, 0, 1.2),
    ("temple hollow", 66, 14, 44, 16, 18, 17, -4.0, 0, -1.6),
    ("brow ridge", 25, 19, 86, 15, 7.5, 18, 0.3, 0, 1.8),
    ("brow tail", 46, 17, 68, 10, 8, 14, 0.8, 0, 3.2),
    ("glabella", 0, 17, 91, 10, 8, 20, 0.0, 0, 1.2),
    ("orbit", 31, 4.5, 78, 13.5, 8.6, 18, 0.0, 0, -10.0),
    ("inner orbit", 17, 5, 80, 6, 7.5, 14, 0.0, 0, -6.5),
    ("orbit rim side", 54, 2, 55, 6, 13, 12, 1.0, 0, -1.5),
    ("tear trough", 22, -12, 78, 7, 5, 14, 0.0, 0, -1.6),
    ("cheekbone", 45, -26, 66, 15, 14, 20, 1.2, 0, 3.6),
    ("zygomatic arch", 66, -14, 30, 10, 13, 26, 0.6, 0, 0.2),
    ("apple of the cheek", 33, -35, 76, 13, 13, 16, 0.4, 0, 3.2),
    ("hollow below cheekbone", 54, -56, 46, 14, 15, 22, -1.0, 0, -0.8),
    ("canine fossa", 19, -30, 82, 7, 10, 12, 0.0, 0, -2.2),
    ("muzzle", 0, -66, 88, 22, 17, 26, 0.0, 0, 3.4),
    ("corner hollow", 32, -74, 78, 7, 10, 14, -0.5, 0, -2.6),
    ("sulcus under lip", 0, -87, 88, 15, 5.5, 16, 0.0, 0, -4.4),
    ("chin boss", 0, -100, 86, 13, 9, 16, 0.0, -0.6, 4.2),
    ("chin side", 15, -104, 80, 9, 8, 16, 1.4, 0, 2.0),
    ("prejowl", 33, -95, 62, 10, 8, 18, -1.5, 0.8, -1.6),
    ("masseter", 59, -62, 22, 9, 18, 14, 1.0, 0, 0.0),
    ("angle of the jaw", 54, -77, 8, 9, 9, 13, 2.0, -1.5, 0.0),
    ("hollow behind the jaw", 54, -72, -16, 10, 20, 10, -6.0, 0, 0.0),
    ("below the jaw", 50, -98, 4, 14, 11, 20, -2.6, 0, 0.0),
    ("mastoid", 58, -36, -22, 10, 14, 12, 1.5, 0, 0.0),
    ("under the jaw", 30, -108, 34, 15, 11, 20, -2.4, 2.5, 0.0),
    ("larynx", 0, -140, 34, 9, 11, 14, 0.0, 0, 2.6),
    ("sternomastoid", 38, -140, 12, 10, 34, 14, 2.0, 0, 2.5),
    ("throat hollow", 0, -182, 30, 10, 12, 14, 0.0, 0, -4.0),
    ("nape", 0, -75, -66, 20, 22, 24, 0.0, 0, 4.0),
)  # fmt: skip


@functools.cache
def _loft(rows: int = 321, columns: int = 181) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left half of the bare skull: meridian length Y (rows,), half girth L (rows,), points (rows, columns, 3)."""
    knots = np.arange(len(_SECTIONS), dtype=np.float64)
    t = np.linspace(0, knots[-1], 4 * rows)
    # The pinches are splined without overshoot: where two neighbours are round, so must be all between them.
    splines = [CubicSpline] * 7 + [PchipInterpolator] * 2
    table = [spline(knots, column)(t) for spline, column in zip(splines, _SECTIONS.T, strict=True)]
    meridian = np.concatenate([[0], np.cumsum(np.hypot(np.diff(table[0]), np.diff(table[1])))])
    y_of_row = np.linspace(0, meridian[-1], rows)
    yf, zf, ys, w, zc, yb, zb, cf, cb = (np.interp(y_of_row, meridian, column)[:, None] for column in table)
    a = np.linspace(0, np.pi, columns)[None]
    front = a <= np.pi / 2
    pinch = 1 - np.where(front, cf, cb) * np.sin(2 * a) ** 2
    x = w * np.sin(a) * pinch
    z = zc + np.where(front, zf - zc, zc - zb) * np.cos(a) * pinch
    y = ys + (np.where(front, yf, yb) - ys) * np.cos(a) ** 2
    points = np.stack([x, y, z], -1)
    for row in points:  # equal arc length along each section
        s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(row, axis=0), axis=-1))])
        if s[-1] > 0:
            row[:] = np.stack([np.interp(np.linspace(0, s[-1], columns), s, c) for c in row.T], -1)
    length = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1)
    return y_of_row, length, points


def girth(y: np.ndarray) -> np.ndarray:
    """Half girth L in mm of the section at meridian length `y` from the crown."""
    rows, length, _ = _loft()
    return np.interp(y, rows, length)


def meridian_length() -> float:
    """Length in mm of the front midline from the crown to the lower edge of the neck."""
    return float(_loft()[0][-1])


def skull(s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, 3) points of the bare skull at fraction `s` (0 front, 1 back) of the left half section, at meridian `y`."""
    rows, _, points = _loft()
    place = np.stack([np.asarray(y) / rows[-1] * (len(rows) - 1), np.asarray(s) * (points.shape[1] - 1)])
    return np.stack([map_coordinates(points[..., i], place, order=1, mode="nearest") for i in range(3)], -1)


def front_coordinates(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, meridian) of the skull point seen from the front at (x, y) mm, 0 <= x, by Newton's method."""
    target = np.stack([np.asarray(x, float), np.asarray(y, float)], -1)
    rows, _, points = _loft()
    s = target[:, 0] / 250.0
    meridian = np.interp(-target[:, 1], -points[:, 0, 1], rows)  # exact on the midline
    for _ in range(12):
        miss = skull(s, meridian)[:, :2] - target
        step_s, step_m = 1e-3, 0.5  # wider than the rounding, narrower than the form
        xs, ys = (((skull(s + step_s, meridian) - skull(s - step_s, meridian)) / (2 * step_s))[:, :2]).T
        xm, ym = (((skull(s, meridian + step_m) - skull(s, meridian - step_m)) / (2 * step_m))[:, :2]).T
        determinant = xs * ym - xm * ys
        s = np.clip(s - (ym * miss[:, 0] - xm * miss[:, 1]) / determinant, 0.0, 0.49)
        meridian = meridian - (xs * miss[:, 1] - ys * miss[:, 0]) / determinant
    return np.where(target[:, 0] < 1e-3, 0.0, s), meridian


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between (`low` > `high` turns it round)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _smin(a, b, k):
    """Smooth minimum: the union of two shapes, blended over about `k` mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def _cone(p, a, b, ra, rb):
    """Distance to a capsule from `a` to `b` whose radius runs from ra to rb."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    h = np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(p - a - h[..., None] * (b - a), axis=-1) - (ra + (rb - ra) * h)


def _ellipsoid(p, c, r):
    """Distance (to first order) to an ellipsoid of centre `c` and radii `r`."""
    r = np.asarray(r, float)
    q = (p - np.asarray(c, float)) / r
    k0, k1 = np.linalg.norm(q, axis=-1), np.linalg.norm(q / r, axis=-1)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-9)


_RIDGE = PchipInterpolator(  # midline of the nose: y -> z
    [-62.0, -50.0, -46.0, -42.0, -36.0, -29.0, -14.0, 3.0, 14.0, 24.0],
    [78.0, 84.0, 91.0, 97.0, 102.0, 103.0, 96.5, 88.6, 88.0, 86.0],
)
_FLANK = PchipInterpolator(  # slope of its sides
    [-62.0, -46.0, -34.0, -14.0, 3.0, 24.0], [1.5, 1.5, 1.35, 1.35, 1.15, 0.9]
)


def _nose(p: np.ndarray) -> np.ndarray:
    """Signed distance (about) to the nose, x >= 0."""
    flank = _FLANK(p[:, 1])
    tent = _RIDGE(p[:, 1]) - flank * (np.sqrt(p[:, 0] ** 2 + 5.0**2) - 5.0)
    d = (p[:, 2] - tent) / np.sqrt(1 + flank**2)
    d = _smin(d, _ellipsoid(p, (1.8, -36.8, 99.5), (8.6, 7.4, 10.0)), 5.0)  # tip, with its faint double dome
    d = _smin(d, _cone(p, (0, -42.5, 100.5), (0, -47.2, 89.0), 3.2, 3.8), 3.5)  # columella
    wing = _smin(
        _ellipsoid(p, (11.4, -40.8, 90.0), (6.0, 6.8, 9.5)), _cone(p, (13, -40.0, 87), (6, -36.5, 98), 4.4, 5.8), 4.0
    )
    d = _smin(d, wing, 4.0)
    nostril = _cone(p, (6.6, -50.5, 92.0), (4.6, -43.5, 100.0), 3.0, 2.2)
    return -_smin(-d, nostril, 1.6)


def sculpt(p: np.ndarray) -> np.ndarray:
    """Skull points -> skin of the average face, without lips and lids (n, 3)."""
    q = p.copy()
    for _, x, y, z, sx, sy, sz, dx, dy, dz in _STROKES:
        w = _gauss(p, (x, y, z), (sx, sy, sz))
        if x and not dx:  # what reaches over the midline from the other side
            w = w + _gauss(p, (-x, y, z), (sx, sy, sz))
        q += w[:, None] * np.array([dx, dy, dz], float)
    q[:, 0] = np.where(p[:, 0] < 1e-6, 0.0, q[:, 0])
    q = _with_eye_bulge(q)
    return _with_nose(q)


def _gauss(p, centre, sigma):
    return np.exp(-0.5 * (((p - np.asarray(centre, float)) / np.asarray(sigma, float)) ** 2).sum(-1))


def eye_shell(x: np.ndarray, y: np.ndarray, lid: float = LID) -> np.ndarray:
    """z of the shell that the lids slide on: a sphere, continued smoothly beyond its rim towards the corners.

    Its sections at constant x are circles about the eye's horizontal axis, so that turning about it stays on the shell.
    """
    radius2 = _soft_positive((EYE_RADIUS + lid) ** 2 - (x - EYE[0]) ** 2, 40.0)
    return EYE[2] + np.sqrt(_soft_positive(radius2 - (y - EYE[1]) ** 2, 6.0))


def _soft_positive(a, softness):
    return 0.5 * (a + np.sqrt(a**2 + softness**2))


def _with_eye_bulge(q):
    """Lays the lids over the eyeball where it stands out of the socket."""
    d = np.hypot(q[:, 0] - EYE[0], q[:, 1] - EYE[1])
    near = (q[:, 2] > 40) & (d < 22)
    shell = eye_shell(q[near, 0], q[near, 1])
    fade = np.clip((d[near] - 11) / 7, 0, 1)
    shell = shell - 25 * fade**2
    q[near, 2] = -_smin(-q[near, 2], -shell, 3.5)
    return q


def _with_nose(q):
    """Lays the skin over the nose."""
    near = (np.abs(q[:, 0]) < 26) & (q[:, 1] < 24) & (q[:, 1] > -62) & (q[:, 2] > 60)
    ground = q[near]
    # Rays come from the front, and from below under the tip: the nostrils are seen from there.
    rise = 0.62 * smoothstep(ground[:, 1], -37, -46) * smoothstep(ground[:, 1], -61, -50)
    ray = np.stack([0 * rise, -rise, 1 + 0 * rise], -1)
    height = np.full(len(ground), 36.0)
    for _ in range(90):  # sphere tracing towards the face: the first surface met is the skin
        p = ground + height[:, None] * ray
        height -= np.clip(_smin(_nose(p), 0.85 * height, 4.0), 0.0, None) * 0.6
    q[near] = ground + height[:, None] * ray
    return q
