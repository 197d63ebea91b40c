"""The form of the average head: a lofted skull, sculpting strokes, and an implicit nose, as one smooth map to 3-D.

Millimetres; the origin lies between the eye centres' height (y = 0), the ear openings (z = 0) and the midline (x = 0).
Only the subject's left half (x >= 0) is described; the mesh mirrors it. Numbers were sculpted by hand to published
adult averages (Farkas, "Anthropometry of the Head and Face", 1994), sexes pooled; sections, strokes and nose were then
refined by least squares against the surface of an average scanned head, the neutral of ICT-FaceKit (Copyright (c) 2020
USC Institute for Creative Technologies, MIT licence), and the skull narrowed again to Farkas' widths.
"""

import functools

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import map_coordinates

EYE = np.array([32.0, 0.0, 65.0])  # centre of the left eyeball
EYE_RADIUS = 12.9
LID = 1.3  # mm of lid over the eyeball

# Sections from the crown to the shoulders. front: y, z; side: y, half width x, z of the widest point; back: y, z;
# pinch: how far the front and back quarters are drawn in (> 0) or squared out (< 0) from an ellipse.
_SECTIONS = np.array([
    # yf     zf    ys     w     zc     yb     zb    cf     cb
    [115.0, -6.3, 115.0, 0.0, -13.0, 115.0, -13.8, 0.000, 0.001],
    [107.7, 8.4, 107.2, 19.9, -14.1, 107.6, -40.8, 0.001, -0.004],
    [100.3, 34.1, 101.2, 36.0, -17.3, 99.6, -62.6, 0.024, -0.008],
    [86.3, 56.7, 87.7, 53.4, -19.1, 85.4, -80.3, 0.012, -0.023],
    [68.8, 72.8, 69.6, 66.3, -19.2, 68.7, -92.3, 0.009, -0.025],
    [49.6, 82.0, 49.9, 72.9, -18.0, 50.1, -100.0, -0.006, -0.028],
    [31.1, 88.3, 32.0, 75.2, -14.7, 32.2, -103.4, -0.019, -0.036],
    [18.0, 90.0, 16.5, 74.7, -9.5, 16.9, -103.6, -0.027, -0.049],
    [4.0, 89.4, 3.5, 72.5, -6.1, 2.5, -101.9, -0.034, -0.055],
    [-15.1, 86.5, -10.8, 69.5, 0.8, -13.1, -97.6, -0.020, -0.059],
    [-25.0, 86.1, -25.2, 67.8, 5.5, -25.7, -91.0, -0.031, -0.011],
    [-39.8, 88.3, -38.7, 65.6, 6.0, -38.9, -86.0, -0.037, -0.036],
    [-58.2, 91.4, -50.9, 64.5, 9.0, -48.3, -81.5, -0.007, -0.012],
    [-73.8, 93.3, -60.7, 63.8, 10.1, -56.1, -78.0, 0.018, -0.002],
    [-88.9, 91.2, -70.4, 63.1, 10.4, -63.8, -75.8, 0.022, -0.001],
    [-99.9, 88.5, -79.8, 61.5, 6.4, -71.3, -74.5, 0.028, 0.013],
    [-111.1, 84.7, -88.8, 59.8, -0.4, -79.2, -74.1, 0.054, 0.012],
    [-116.9, 68.0, -93.9, 59.8, -5.8, -86.8, -73.9, 0.074, 0.026],
    [-119.9, 46.5, -102.2, 58.3, -9.0, -95.9, -74.2, 0.097, 0.015],
    [-127.8, 35.9, -114.2, 56.9, -14.7, -107.3, -75.2, 0.107, -0.005],
    [-145.5, 27.0, -132.1, 57.9, -21.4, -125.4, -79.0, 0.054, -0.058],
    [-179.9, 20.8, -146.0, 66.0, -30.0, -146.5, -84.0, 0.015, -0.050],
    [-203.1, 26.2, -163.0, 97.0, -30.0, -177.4, -88.0, 0.040, 0.000],
    [-220.6, 37.9, -182.0, 135.0, -28.0, -205.9, -92.0, -0.023, 0.000],
    [-232.1, 38.1, -210.0, 162.0, -27.3, -234.0, -95.0, -0.013, -0.001],
])  # fmt: skip

# Strokes: push a Gaussian neighbourhood of a point. (name, x, y, z, sigma x, y, z, push x, y, z); x > 0 is mirrored.
_STROKES = (
    ("forehead eminence", 25.3, 57.8, 83.8, 19.5, 17.9, 40.0, 1.21, 0.00, 2.14),
    ("temporal line", 54.1, 39.9, 57.9, 12.7, 26.1, 17.9, 0.86, -0.67, 0.93),
    ("temple hollow", 67.1, 15.0, 39.4, 16.7, 17.9, 21.9, -3.50, -0.15, -0.93),
    ("brow ridge", 25.6, 20.3, 85.7, 14.7, 8.4, 18.0, 0.64, 0.27, 2.26),
    ("brow tail", 46.9, 14.6, 67.7, 11.1, 7.8, 14.6, 1.59, -0.44, 4.08),
    ("glabella", 0.0, 16.9, 91.0, 10.0, 8.0, 20.0, 0.00, 0.31, -0.54),
    ("orbit", 30.7, 3.3, 78.1, 13.3, 9.2, 18.4, -0.14, -0.01, -10.10),
    ("inner orbit", 15.7, 3.1, 80.6, 5.9, 6.6, 14.3, -0.58, -0.03, -7.05),
    ("orbit rim side", 54.9, 1.6, 55.2, 6.6, 12.8, 11.9, 0.61, -0.42, -2.97),
    ("tear trough", 22.5, -12.5, 78.0, 7.0, 5.7, 14.0, -0.02, -0.10, -2.09),
    ("cheekbone", 48.6, -26.7, 61.7, 16.0, 13.7, 19.1, 3.06, -0.33, 2.87),
    ("zygomatic arch", 65.3, -14.3, 31.4, 9.4, 13.3, 25.9, 1.52, 0.56, 1.86),
    ("apple of the cheek", 32.9, -35.0, 76.3, 12.9, 13.3, 16.0, -0.55, -1.28, 0.13),
    ("hollow below cheekbone", 54.4, -56.0, 46.2, 14.0, 15.6, 21.4, 0.94, -0.54, 1.02),
    ("canine fossa", 18.5, -29.6, 82.2, 6.7, 9.8, 12.0, 0.95, -0.03, 0.05),
    ("muzzle", 0.0, -65.6, 88.4, 21.2, 17.1, 26.1, 0.00, 0.46, 5.42),
    ("corner hollow", 30.0, -73.1, 78.6, 6.1, 11.2, 14.1, 0.24, -0.37, -1.30),
    ("sulcus under lip", 0.0, -86.4, 87.8, 15.1, 5.7, 15.9, 0.00, 0.02, -3.87),
    ("chin boss", 0.0, -98.9, 86.2, 12.6, 8.6, 16.0, 0.00, -0.35, 3.70),
    ("chin side", 14.8, -104.1, 79.9, 8.8, 8.0, 15.9, 1.07, -0.29, 0.66),
    ("prejowl", 33.1, -95.4, 61.8, 10.2, 8.2, 18.1, -0.17, -0.74, -0.79),
    ("masseter", 59.0, -62.1, 22.4, 9.0, 18.1, 14.7, 0.01, 0.30, 1.20),
    ("angle of the jaw", 53.1, -76.7, 8.0, 8.2, 8.5, 14.0, 0.92, -0.97, 0.15),
    ("hollow behind the jaw", 53.9, -70.2, -6.7, 10.4, 18.3, 10.9, -5.00, 0.23, -0.03),
    ("below the jaw", 51.1, -96.0, 9.9, 14.9, 12.6, 13.3, -4.61, 1.61, -0.38),
    ("mastoid", 57.9, -36.1, -23.0, 10.0, 14.2, 13.3, 1.98, -0.20, -0.42),
    ("under the jaw", 29.6, -108.3, 33.2, 15.1, 11.1, 19.7, -1.23, 0.92, 0.23),
    ("larynx", 0.0, -139.5, 33.8, 10.1, 12.2, 14.5, 0.00, -0.69, 4.09),
    ("sternomastoid", 38.6, -140.1, 11.2, 10.0, 33.9, 14.4, 1.17, 0.34, -0.15),
    ("throat hollow", 0.0, -184.2, 29.6, 10.6, 12.2, 14.2, 0.00, -0.59, -4.70),
    ("nape", 0.0, -74.8, -66.1, 20.5, 22.3, 24.1, 0.00, -0.62, -0.87),
    ("jowl line", 44.2, -84.0, 43.9, 9.3, 9.1, 13.7, 0.35, -0.35, -0.22),
    ("lower eyelid plane", 33.6, -16.1, 78.3, 9.8, 7.4, 11.9, -0.32, -0.36, -2.08),
    ("brow over the lid", 33.0, 11.9, 82.0, 12.0, 4.0, 14.0, 0.09, -0.12, 0.10),
    ("beside the nose", 22.1, -42.4, 84.4, 6.4, 9.3, 12.0, -0.81, -0.55, -2.11),
    ("upper lip plane", 10.0, -56.0, 92.1, 9.1, 4.5, 11.9, -0.03, 0.56, 2.06),
    ("philtrum column", 3.7, -55.3, 93.7, 3.0, 5.1, 10.1, 0.16, 0.39, 1.69),
    ("corner cushion", 33.0, -66.8, 78.0, 5.9, 7.8, 12.0, 0.48, -0.37, 0.29),
    ("mentolabial side", 18.1, -88.0, 84.0, 8.0, 5.2, 12.0, -0.22, -0.08, -0.55),
    ("temple front", 55.7, 26.2, 58.4, 9.9, 10.0, 13.9, -0.12, -0.48, -0.59),
    ("clavicle", 45.1, -205.9, 25.2, 24.9, 7.9, 20.0, 0.16, 0.35, 1.17),
    ("throat side", 21.8, -130.0, 30.0, 10.1, 14.0, 13.8, -0.06, -0.27, 0.21),
    ("trapezius", 61.3, -159.6, -40.9, 20.7, 18.9, 20.8, 1.53, 4.23, -0.43),
    ("jaw body", 48.5, -88.7, 20.8, 10.4, 10.6, 13.4, -1.17, 0.85, 0.00),
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
    [77.7, 98.2, 100.1, 97.1, 100.4, 110.4, 102.0, 88.4, 82.7, 86.0],
)
_FLANK = PchipInterpolator(  # slope of its sides
    [-62.0, -46.0, -34.0, -14.0, 3.0, 24.0], [1.5, 1.34, 1.77, 1.71, 1.15, 0.9]
)


def _nose(p: np.ndarray) -> np.ndarray:
    """Signed distance (about) to the nose, x >= 0."""
    flank = _FLANK(p[:, 1])
    tent = _RIDGE(p[:, 1]) - flank * (np.sqrt(p[:, 0] ** 2 + 5.0**2) - 5.0)
    d = (p[:, 2] - tent) / np.sqrt(1 + flank**2)
    d = _smin(d, _ellipsoid(p, (1.6, -33.6, 102.0), (10.1, 9.5, 10.9)), 5.0)  # tip, with its faint double dome
    d = _smin(d, _cone(p, (0, -41.8, 97.5), (0, -48.6, 91.8), 3.2, 3.9), 3.5)  # columella
    wing = _smin(
        _ellipsoid(p, (12.0, -38.6, 90.0), (5.6, 6.4, 8.5)),
        _cone(p, (11.1, -38.4, 83.1), (4.7, -37.4, 97.8), 4.0, 5.5),
        4.0,
    )
    d = _smin(d, wing, 7.0)
    return d


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
    return _with_nostrils(_with_nose(q))


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
    q[near, 2] = -_smin(-q[near, 2], -shell, 7.0)
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


NOSTRIL = np.array([6.3, -45.7, 98.4])  # middle of the left opening
_NOSTRIL_AXES = np.array([  # rows: across, along, and inwards
    [0.93, 0.05, 0.36], [-0.31, -0.42, 0.85], [-0.19, 0.91, -0.38],
])  # fmt: skip
_NOSTRIL_SIZE = (3.1, 3.0, 6.0)  # mm: half width, half length, depth


def _with_nostrils(q):
    """Presses the openings into the underside of the nose."""
    across, along, inwards = ((q - NOSTRIL) @ _NOSTRIL_AXES.T).T
    r = np.sqrt((across / _NOSTRIL_SIZE[0]) ** 2 + (along / _NOSTRIL_SIZE[1]) ** 2 + (inwards / 4.0) ** 2)
    return q + _NOSTRIL_SIZE[2] * smoothstep(r, 1.25, 0.55)[:, None] * _NOSTRIL_AXES[2]
